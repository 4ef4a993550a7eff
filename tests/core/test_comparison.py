"""Comparing files: what matches, and what a missing prediction costs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_maskrcnn.core.coco import CocoImage, write_coco
from napari_maskrcnn.core.comparison import compare
from napari_maskrcnn.core.images import write_array
from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    folder = tmp_path / "truth"
    folder.mkdir()
    for name, labels in label_images().items():
        write_array(folder / f"{name}.png", labels)
    return folder


def label_images() -> dict[str, NDArray[np.uint16]]:
    return {
        name: nuclei_field((64, 72), 8, seed=seed)[1] for seed, name in enumerate("abc")
    }


@pytest.mark.parametrize("ending", ["_labels.tif", ".tif"])
def test_label_images_are_matched_by_stem(
    truth: Path, tmp_path: Path, ending: str
) -> None:
    guesses = tmp_path / "guesses"
    guesses.mkdir()
    for name, labels in label_images().items():
        write_array(guesses / f"{name}{ending}", labels)
    if ending == "_labels.tif":
        # What else lies in a folder of results does not count.
        write_array(guesses / "a_overlay.png", np.zeros((64, 72, 3), np.uint8))
    (guesses / ".hidden.tif").write_text("no image")
    result = compare(truth, guesses)
    assert result.missing == ()
    assert result.evaluations["all"].ap(0.5) == 1
    assert [image.name for image in result.evaluations["all"].images] == list("abc")


def test_an_image_without_a_prediction_counts_as_nothing_found(
    truth: Path, tmp_path: Path
) -> None:
    guesses = tmp_path / "guesses"
    guesses.mkdir()
    labels = label_images()
    for name in "ab":
        write_array(guesses / f"{name}.tif", labels[name])
    result = compare(truth, guesses)
    assert result.missing == ("c",)
    assert result.evaluations["all"].ap(0.5) == pytest.approx(2 / 3)
    assert "1 images have no prediction" in result.to_text()


def test_coco_files_and_label_images_can_be_compared(
    truth: Path, tmp_path: Path
) -> None:
    labels = label_images()
    images = [
        CocoImage(f"{name}.png", replace(Instances.from_label_image(labels[name])))
        for name in "ab"
    ]
    path = tmp_path / "out" / "annotations.coco.json"
    path.parent.mkdir()
    write_coco(path, images)
    for predicted in (path, path.parent):
        result = compare(truth, predicted)
        assert result.missing == ("c",)
        assert result.evaluations["all"].ap(0.5) == pytest.approx(2 / 3)


def test_groups_get_figures_of_their_own(truth: Path, tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("id,modality\na,light\nb,dark\nc,light\nz,other\n")
    result = compare(truth, truth, groups=table)
    assert list(result.evaluations) == ["all", "dark", "light"]
    assert [i.name for i in result.evaluations["light"].images] == ["a", "c"]
    assert "[dark]" in result.to_text()
    result.write(tmp_path / "figures.json")
    written = json.loads((tmp_path / "figures.json").read_text())
    assert list(written) == ["all", "dark", "light"]
    table.write_text("name,kind\na,light\n")
    with pytest.raises(ValueError, match="must have the columns id and modality"):
        compare(truth, truth, groups=table)


def test_what_cannot_be_compared_is_refused(truth: Path, tmp_path: Path) -> None:
    guesses = tmp_path / "guesses"
    guesses.mkdir()
    with pytest.raises(ValueError, match="no label image in"):
        compare(truth, guesses)
    write_array(guesses / "z.tif", np.zeros((64, 72), np.uint8))
    with pytest.raises(ValueError, match=r"no name in .* has a match"):
        compare(truth, guesses)
    write_array(guesses / "a.tif", np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match="64"):
        compare(truth, guesses)
    with pytest.raises(ValueError, match="neither a folder nor a file"):
        compare(truth, tmp_path / "nothing")
