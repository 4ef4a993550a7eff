"""Many images: each result is on disk at once, and one failure stops nothing."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_maskrcnn.core.batch import (
    FileResult,
    find_images,
    overlay,
    segment_files,
)
from napari_maskrcnn.core.coco import read_coco
from napari_maskrcnn.core.images import image_plane, read_image, write_array
from napari_maskrcnn.core.progress import Progress, exhaust
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from pathlib import Path

    from napari_maskrcnn.core.detector import Detector

RECIPE = Recipe(model="tiny", object_size=24, score_threshold=0.3, device="cpu")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "in" / name for name in ("a.png", "b.png", "c.tif")]
    paths[0].parent.mkdir()
    for seed, path in enumerate(paths):
        write_array(path, nuclei_field((64, 96), 8, seed=seed)[0])
    return paths


def test_all_files_agree_with_each_other(
    detector: Detector, files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    results = exhaust(segment_files(detector, files, out, RECIPE))
    # With the thresholds that were used, the model's own where none was given.
    used = replace(RECIPE, nms_threshold=detector.nms_threshold)
    assert Recipe.read(out / "recipe.json") == used
    coco = {image.file_name: image for image in read_coco(
        out / "annotations.coco.json").images}  # fmt: skip
    for path, result in zip(files, results, strict=True):
        assert result.path == path
        assert result.object_size == 24
        image = read_image(path)
        expected = RECIPE.apply(detector.detect(image, object_size=24))
        label_image = read_image(out / f"{path.stem}_labels.tif")
        np.testing.assert_array_equal(label_image, expected.to_label_image())
        np.testing.assert_array_equal(label_image, result.instances.to_label_image())
        with (out / f"{path.stem}_objects.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["index"]) for row in rows] == expected.ids.tolist()
        assert [int(row["area"]) for row in rows] == expected.areas.tolist()
        scores = [float(row["score"]) for row in rows]
        assert scores == pytest.approx(expected.scores.tolist(), abs=1e-4)
        back = coco[path.name].to_instances()
        assert back.image_shape == image.shape
        assert sorted(back.areas.tolist()) == sorted(a for a in expected.areas if a)


def test_results_are_on_disk_as_soon_as_they_are_there(
    detector: Detector, files: list[Path], tmp_path: Path
) -> None:
    files[1].write_text("This is a text.")
    out = tmp_path / "out"
    done = []
    for event in segment_files(detector, files, out, RECIPE):
        if isinstance(event, FileResult):
            done.append(event)
            written = (out / f"{event.path.stem}_labels.tif").is_file()
            assert written == (event.instances is not None) == (not event.error)
        else:
            assert isinstance(event, Progress)
            assert event == Progress(len(done), 3, files[len(done)].name)
    assert [bool(result.error) for result in done] == [False, True, False]
    assert "could not be read" in done[1].error
    assert len(read_coco(out / "annotations.coco.json").images) == 2


def test_stopping_leaves_whole_files_only(
    detector: Detector, files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    work = segment_files(detector, files, out, RECIPE)
    while not isinstance(next(work), FileResult):
        pass
    next(work)
    work.close()
    assert sorted(entry.name for entry in out.iterdir()) == [
        "a_labels.tif", "a_objects.csv", "a_overlay.png",
    ]  # fmt: skip


def test_images_are_found(files: list[Path], tmp_path: Path) -> None:
    folder = files[0].parent
    (folder / ".hidden.png").touch()
    (folder / "notes.txt").touch()
    assert find_images([folder]) == files
    # A file that was named is tried whatever its ending.
    assert find_images([folder / "notes.txt"]) == [folder / "notes.txt"]
    with pytest.raises(FileNotFoundError, match=r"no such image file: .*x\.png"):
        find_images([folder / "x.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no image in the folder"):
        find_images([tmp_path / "empty"])
    (folder / "a.tif").touch()
    with pytest.raises(ValueError, match="two images are named 'a'"):
        find_images([folder])


def test_an_overlay_colours_the_objects_only() -> None:
    image, label_image = nuclei_field((64, 96), 8)
    plane = image_plane(image)
    drawn = overlay(plane, label_image)
    assert drawn.shape == (64, 96, 3)
    assert drawn.dtype == np.uint8
    ground = label_image == 0
    assert np.abs(drawn[ground] / 255 - plane[ground]).max() < 0.01
    coloured = np.ptp(drawn, axis=2) > 0
    assert coloured[~ground].mean() > 0.9
    nothing = overlay(plane, np.zeros_like(label_image))
    assert np.abs(nothing / 255 - plane).max() < 0.01
