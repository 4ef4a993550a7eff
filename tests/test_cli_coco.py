"""``napari-maskrcnn convert`` and ``check``, in this process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_maskrcnn.core.images import read_image, write_array

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]


def label_image(dtype: str = "uint16") -> np.ndarray:
    image = np.zeros((30, 40), dtype)
    image[2:12, 2:12] = 3
    image[5:8, 5:8] = 0
    image[15:25, 20:33] = 7
    return image


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    folder = tmp_path / "labels"
    folder.mkdir()
    write_array(folder / "a_labels.tif", label_image())
    write_array(folder / "b.tif", label_image("int32") * 30_000)
    return folder


@pytest.mark.parametrize("mode", ["auto", "rle"])
def test_label_images_go_out_and_come_back(
    labels: Path, tmp_path: Path, run: Run, mode: str
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    write_array(images / "a.png", np.zeros((30, 40), np.uint8))
    path = tmp_path / "all.coco.json"
    code, text, errors = run("convert", labels, path, "--images", images,
                             "--mode", mode)  # fmt: skip
    assert (code, errors) == (0, "")
    assert "4 objects in 2 images" in text
    rows = json.loads(path.read_text())["images"]
    assert [row["file_name"] for row in rows] == ["images/a.png", "labels/b.tif"]
    assert run("check", path)[:2] == (0, "No fault found\n")
    back = tmp_path / "back"
    code, text, errors = run("convert", path, back)
    assert code == 0
    assert "Wrote 2 label images" in text
    assert errors == ""
    for source, target in (("a_labels.tif", "a_labels.tif"), ("b.tif", "b_labels.tif")):
        before, after = read_image(labels / source), read_image(back / target)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)


def test_images_elsewhere_are_named_by_their_name_alone(
    labels: Path, tmp_path: Path, run: Run
) -> None:
    path = tmp_path / "coco" / "all.json"
    path.parent.mkdir()
    assert run("convert", labels, path)[0] == 0
    rows = json.loads(path.read_text())["images"]
    assert [row["file_name"] for row in rows] == ["a_labels.tif", "b.tif"]


def test_one_label_image_and_polygons(labels: Path, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "one.json"
    code, text, errors = run("convert", labels / "a_labels.tif", path,
                             "--mode", "polygon")  # fmt: skip
    assert code == 0
    assert "2 polygons, 0 RLE" in text
    assert errors.splitlines() == [
        "labels/a_labels.tif, label 3: 1 hole of 9 pixels; filled: a polygon holds none"
    ]


def test_overlaps_are_said(tmp_path: Path, run: Run) -> None:
    square = [[0, 0, 4, 0, 4, 4, 0, 4]]
    row = {"image_id": 1, "category_id": 1, "iscrowd": 0, "area": 16,
           "bbox": [0, 0, 4, 4], "segmentation": square}  # fmt: skip
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}],
        "annotations": [{**row, "id": 1}, {**row, "id": 2}],
        "categories": [{"id": 1, "name": "x"}],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    code, _, errors = run("convert", path, tmp_path / "out")
    assert code == 0
    assert "objects overlap on 16 pixels; one has each pixel" in errors


def test_names_never_lead_out_of_the_folder(tmp_path: Path, run: Run) -> None:
    document = {
        "images": [{"id": 1, "file_name": "../../x.png", "width": 9, "height": 9}],
        "annotations": [],
        "categories": [],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    assert run("convert", path, tmp_path / "deep" / "out")[0] == 0
    assert [p.name for p in (tmp_path / "deep" / "out").iterdir()] == ["x_labels.tif"]
    assert not (tmp_path / "x_labels.tif").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("[]", "the top level is a list, not a COCO object"),
        ("{", "not JSON"),
        ('{"images": 3, "annotations": []}', "'images' is 3, no list"),
    ],
)
def test_bad_files_end_in_one_line(
    tmp_path: Path, run: Run, content: str | None, message: str
) -> None:
    path = tmp_path / "bad.json"
    if content is not None:
        path.write_text(content)
    code, _, errors = run("convert", path, tmp_path / "out")
    assert code == 1
    assert errors.startswith("napari-maskrcnn: ")
    assert len(errors.splitlines()) == 1
    assert content is None or message in errors
    assert not list(tmp_path.glob("out/*"))


def test_bad_label_images_end_in_one_line(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "a.json"
    folder = tmp_path / "empty"
    folder.mkdir()
    write_array(tmp_path / "float.tif", np.zeros((4, 5), np.float32))
    for source, words in (
        (folder, "there is no label image"),
        (tmp_path / "float.tif", "is no label image: it has shape (4, 5)"),
        (tmp_path / "none.tif", "no such image file"),
    ):
        code, _, errors = run("convert", source, out)
        assert code == 1
        assert words in errors
        assert len(errors.splitlines()) == 1
        assert not out.exists()


def test_check_lists_every_fault(labels: Path, tmp_path: Path, run: Run) -> None:
    path = labels / "all.json"
    run("convert", labels, path)
    code, text, _ = run("check", path)
    assert (code, text) == (0, "No fault found\n")
    document = json.loads(path.read_text())
    document["annotations"][1]["category_id"] = "?"
    document["annotations"][2].pop("bbox")
    document["images"][0]["file_name"] = "gone.png"
    path.write_text(json.dumps(document))
    code, text, _ = run("check", path)
    assert code == 1
    lines = text.splitlines()
    assert lines[-1] == "3 faults"
    for words in ("annotation 2", "annotation 3", "gone.png"):
        assert any(words in line for line in lines[:-1])
    code, text, errors = run("check", tmp_path / "none.json")
    assert code == 1
    assert len(errors.splitlines()) == 1
