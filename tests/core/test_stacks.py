"""Stacks in files: which files are stacks, and what is written for them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from imageio import v3 as imageio

from napari_maskrcnn.core.batch import FileResult, segment_files
from napari_maskrcnn.core.coco import read_coco
from napari_maskrcnn.core.images import read_image
from napari_maskrcnn.core.progress import Progress, exhaust
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.core.stacks import is_stack

if TYPE_CHECKING:
    from napari_maskrcnn.core.detector import Detector

RECIPE = Recipe(model="tiny", object_size=24, score_threshold=0.3, device="cpu")


def frames(count: int) -> Any:
    field = nuclei_field((64, 96), 8)[0]
    return np.stack([np.roll(field, 7 * t, axis=1) for t in range(count)])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((64, 96), False),
        ((64, 96, 3), False),
        ((3, 64, 96), False),
        ((8, 64, 96), False),
        ((9, 64, 96), True),
        ((5, 64, 96, 3), True),
        ((5, 2, 64, 96), True),
    ],
)
def test_the_shape_decides_where_the_file_says_nothing(
    shape: tuple[int, ...], expected: bool
) -> None:
    assert is_stack(Path("a.png"), np.zeros(shape, np.uint8)) is expected


def test_a_person_and_the_file_itself_go_before_the_shape(tmp_path: Path) -> None:
    few = np.zeros((5, 64, 96), np.uint8)
    path = tmp_path / "few.tif"
    tifffile.imwrite(path, few, photometric="minisblack")
    assert not is_stack(path, few)
    assert is_stack(path, few, stack=True)
    tifffile.imwrite(path, few, imagej=True, metadata={"axes": "TYX"})
    assert is_stack(path, few)
    assert not is_stack(path, few, stack=False)
    tifffile.imwrite(path, few, imagej=True, metadata={"axes": "CYX"})
    assert not is_stack(path, few)
    assert is_stack(Path("a.gif"), few)
    with pytest.raises(ValueError, match=r"a\.png is no stack .* \(64, 96\)"):
        is_stack(Path("a.png"), few[0], stack=True)
    with pytest.raises(ValueError, match="two axes of planes"):
        is_stack(Path("a.png"), np.zeros((2, 20, 20, 20)))


@pytest.mark.parametrize("count", [3, 9])
def test_a_stack_gives_all_its_frames(
    detector: Detector, tmp_path: Path, count: int
) -> None:
    video = frames(count)
    path, out = tmp_path / "film.tif", tmp_path / "out"
    tifffile.imwrite(path, video, photometric="minisblack")
    messages = []
    result = None
    for event in segment_files(detector, [path], out, RECIPE, stack=True):
        if isinstance(event, Progress):
            messages.append(event.message)
        elif isinstance(event, FileResult):
            result = event
    assert result is not None
    assert messages[0] == f"film.tif: Frame 1 of {count}"
    assert any(f"Frame {count} of {count}, " in text for text in messages)
    assert {entry.name for entry in out.iterdir()} == {
        "film_labels.tif", "film_objects.csv", "film_overlay.tif",
        "annotations.coco.json", "recipe.json",
    }  # fmt: skip
    labels = read_image(out / "film_labels.tif")
    assert labels.shape == video.shape
    assert labels.dtype == np.uint16
    assert read_image(out / "film_overlay.tif").shape == (*video.shape, 3)
    with (out / "film_objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["index"] for row in rows}) == len(rows)
    coco = read_coco(out / "annotations.coco.json").images
    assert len(coco) == count
    for t, image in enumerate(video):
        alone = RECIPE.apply(detector.detect(image, object_size=24))
        assert len(alone)
        np.testing.assert_array_equal(labels[t] > 0, alone.to_label_image() > 0)
        ids = [int(row["index"]) for row in rows if row["frame"] == str(t)]
        assert len(ids) == len(alone)
        assert set(np.unique(labels[t]).tolist()) - {0} <= set(ids)
        source = coco[t].source
        assert source is not None
        assert (source.index, source.axis) == (t, "t")
        assert len(coco[t].to_objects()) == np.count_nonzero(alone.areas)


def test_a_gif_of_colour_frames(detector: Detector, tmp_path: Path) -> None:
    grey = (frames(3) / frames(3).max() * 255).astype(np.uint8)
    path, out = tmp_path / "film.gif", tmp_path / "out"
    imageio.imwrite(path, np.stack([grey, grey // 2, grey // 3], axis=-1))
    (result,) = exhaust(segment_files(detector, [path], out, RECIPE))
    assert result.error == ""
    assert len(result.frames) == 3
    assert read_image(out / "film_labels.tif").shape == grey.shape


def test_stopping_in_a_stack_leaves_nothing(detector: Detector, tmp_path: Path) -> None:
    path, out = tmp_path / "film.tif", tmp_path / "out"
    tifffile.imwrite(path, frames(9))
    work = segment_files(detector, [path], out, RECIPE)
    while "Frame 4" not in next(work).message:  # type: ignore[union-attr]
        pass
    work.close()
    assert list(out.iterdir()) == []


def test_the_size_is_measured_on_the_first_frames_only(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_maskrcnn.core import encode_image as module

    calls: list[int] = []
    estimate = module.estimate_object_size

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return estimate(*arguments)

    monkeypatch.setattr(module, "estimate_object_size", counted)
    monkeypatch.setattr(detector, "score_threshold", 0.0)
    path = tmp_path / "film.tif"
    tifffile.imwrite(path, frames(9))
    recipe = Recipe(score_threshold=0.3, device="cpu")
    (result,) = exhaust(segment_files(detector, [path], tmp_path / "out", recipe))
    assert result.error == ""
    assert 1 <= len(calls) < 9
