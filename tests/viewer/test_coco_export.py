"""What an export writes, says, and refuses; without a viewer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from napari_maskrcnn.core.coco import Category, read_coco
from napari_maskrcnn.core.images import read_image, write_array
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.viewer.coco_layers import read_layers
from napari_maskrcnn.viewer.coco_writer import request_for
from napari_maskrcnn.viewer.export import examine, export
from napari_maskrcnn.viewer.export_parts import Part, Picture, part_of_data
from napari_maskrcnn.viewer.export_request import Request, coco_path

if TYPE_CHECKING:
    from pathlib import Path


def labels(*, hole: bool = False, parts: bool = False) -> np.ndarray:
    image = np.zeros((20, 30), np.uint16)
    image[2:9, 2:9] = 1
    image[2:9, 12:19] = 4
    if hole:
        image[4:6, 4:6] = 0
    if parts:
        image[15, 25] = 4
    return image


def part(name: str = "cells", data: np.ndarray | None = None, **more: Any) -> Part:
    data = labels() if data is None else data
    features = more.pop("features", pd.DataFrame())
    return Part(name, data, features, **more)


def picture(name: str = "cells", dtype: str = "uint8", planes: int = 0) -> Picture:
    shape = (planes, 20, 30) if planes else (20, 30)
    return Picture(name, np.arange(np.prod(shape)).reshape(shape).astype(dtype))


def run(path: Path, *parts: Part, **options: Any) -> Any:
    return exhaust(export(Request(path, parts, **options)))


def look(path: Path, *parts: Part, **options: Any) -> Any:
    before = sorted(path.parent.iterdir())
    report = exhaust(examine(Request(path, parts, **options)))
    assert sorted(path.parent.iterdir()) == before
    return report


def test_the_check_says_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.coco.json"
    features = pd.DataFrame(
        {"index": [1, 4], "class": ["cell", "nucleus"], "reviewed": [True, False]}
    )
    data = np.stack([labels(hole=True), np.zeros_like(labels())])
    stack = part(
        data=data,
        features=features.assign(plane=0),
        metadata={"regions": [{"plane": [1], "box": [0, 0, 20, 30]}]},
        picture=picture(planes=2),
    )
    before = look(path, stack, pictures="png")
    assert before.lines() == [
        "2 objects in 2 images (1 polygons, 1 RLE)",
        "1 cell, 1 nucleus",
        "1 object reviewed, 1 whole plane approved",
        "a.coco.json and 2 image files",
    ]
    assert (
        before.remarks
        == (
            "cells: uint8 values are scaled to 8 bits between two percentiles",
            "1 image without an object",
        )[1:]
    )
    after = run(path, stack, pictures="png")
    assert after == before
    assert {file.name for file in after.files} == {
        "a.coco.json", "cells_t0000.png", "cells_t0001.png",
    }  # fmt: skip
    assert all(file.is_file() for file in after.files)


def test_what_a_reader_may_not_expect_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.coco.json"
    many = np.zeros((20, 300), np.uint16)
    for number in range(1, 6):
        many[2:12, 50 * number : 50 * number + 10] = number
        many[5:7, 50 * number + 4] = 0
    report = look(path, part("many", many), part(data=labels(parts=True)),
                  mode="polygon")  # fmt: skip
    text = "\n".join(report.remarks)
    assert "many: its image is in no file; other programs will not find it" in text
    assert "many.png, label 1: 1 hole of 2 pixels; filled" in text
    assert "and 3 more like that" in text
    assert "cells.png, label 4: 2 separate parts; written as polygons" in text
    unnamed = part(metadata={"class_names": ["a", "b"]})
    (line, *_) = look(path, unnamed).remarks
    assert line == "cells: 2 objects have no class; written as 'object'"
    assert not look(path, part(metadata={"class_names": ["a"]})).classes.get("object")


@pytest.mark.parametrize(("pictures", "dtype"), [("png", "uint8"), ("tiff", "uint16")])
def test_images_are_written_as_they_are(
    tmp_path: Path, pictures: Any, dtype: str
) -> None:
    path = tmp_path / "new" / "a.coco.json"
    colour = Picture("rgb", np.zeros((20, 30, 4), dtype) + np.arange(4).astype(dtype))
    plain = picture("plain", dtype)
    one, two = part("one", picture=plain), part("two", picture=colour)
    run(path, one, two, pictures=pictures)
    first, second = read_coco(path).images
    assert first.path is not None
    assert second.path is not None
    np.testing.assert_array_equal(read_image(first.path), plain.data)
    np.testing.assert_array_equal(read_image(second.path), colour.data[..., :3])


def test_scaled_values_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.coco.json"
    report = look(path, part(picture=picture(dtype="float32")), pictures="tiff")
    assert report.remarks == (
        "cells: float32 values are scaled to 16 bits between two percentiles",
    )


def test_images_may_stay_where_they_are(tmp_path: Path) -> None:
    inner = tmp_path / "images"
    inner.mkdir()
    write_array(inner / "cells.tif", picture().data)
    there = Picture("cells", picture().data, inner / "cells.tif")
    report = run(tmp_path / "a.coco.json", part(picture=there))
    assert report.remarks == ()
    assert str(read_coco(tmp_path / "a.coco.json").images[0].file_name) == (
        "images/cells.tif"
    )
    (tmp_path / "other").mkdir()
    report = run(tmp_path / "other" / "a.coco.json", part(picture=there))
    assert "lies outside the folder" in report.remarks[0]


def test_appending_and_replacing(tmp_path: Path) -> None:
    path = tmp_path / "a.coco.json"
    categories = {"categories": [Category(7, "object")]}
    run(path, part(metadata=categories))
    first = json.loads(path.read_text())
    run(path, part("more"), append=True)
    both = json.loads(path.read_text())
    assert both["annotations"][:2] == first["annotations"]
    assert [image["file_name"] for image in both["images"]] == ["cells.png", "more.png"]
    assert [category["id"] for category in both["categories"]] == [7]
    with pytest.raises(ValueError, match=r"'more\.png' is there twice"):
        look(path, part("more"), append=True)
    report = look(path, part("more"))
    assert "a.coco.json is there and will be replaced" in report.remarks
    path.write_text("[]")
    with pytest.raises(ValueError, match="not a COCO object"):
        look(path, part("more"), append=True)
    run(path, part("more"))
    assert len(read_coco(path).images) == 1


def test_a_part_may_be_set_apart(tmp_path: Path) -> None:
    parts = [part(f"p{number}") for number in range(10)]
    report = run(tmp_path / "a.json", *parts, validation=0.2, seed=3)
    train, val = report.files
    assert (train.name, val.name) == ("a_train.coco.json", "a_val.coco.json")
    assert [len(read_coco(file).images) for file in (train, val)] == [8, 2]
    assert (report.images, report.objects) == (10, 20)
    assert read_coco(train).categories == read_coco(val).categories
    with pytest.raises(ValueError, match="a split needs two images"):
        look(tmp_path / "b.json", part(), validation=0.2)


def test_files_of_others_are_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.coco.json"
    (tmp_path / "cells.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"cells\.png is there already"):
        run(path, part(picture=picture()), pictures="png")
    assert (tmp_path / "cells.png").read_bytes() == b"mine"
    assert not path.exists()
    # The image's own file is left alone, and named.
    data = picture().data
    write_array(tmp_path / "own.png", data)
    own = Picture("own", data + 1, tmp_path / "own.png")
    report = run(path, part(picture=own), pictures="png")
    assert report.remarks == ("own.png is there already, and stays as it is",)
    np.testing.assert_array_equal(read_image(tmp_path / "own.png"), data)
    # An export may be repeated.
    other = tmp_path / "b.coco.json"
    run(other, part("b", picture=picture("b")), pictures="png")
    report = run(other, part("b", picture=picture("b")), pictures="png")
    assert "1 image files of the last export are replaced" in report.remarks


def test_what_does_not_fit_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.coco.json"
    shared = picture()
    cases: list[tuple[tuple[Part, ...], dict[str, Any], str]] = [
        ((), {}, "Tick a layer"),
        ((part("a", picture=picture("x")), part("b", picture=picture("x"))),
         {"pictures": "png"}, r"two images would be written as x\.png"),
        ((part("a", picture=shared), part("b", labels()[1:], picture=shared)), {},
         "differ in shape"),
        ((part(picture=picture(planes=3)),), {"pictures": "png"}, "has the shape"),
        ((part(data=labels().astype(np.int16) - 1),), {}, "negative"),
    ]  # fmt: skip
    for parts, options, words in cases:
        with pytest.raises(ValueError, match=words):
            look(path, *parts, **options)
    with pytest.raises(ValueError, match="has 4 axes"):
        part_of_data(np.zeros((2, 2, 5, 5), int), {"name": "film"})
    with pytest.raises(ValueError, match="is a folder"):
        coco_path(str(tmp_path))
    with pytest.raises(ValueError, match="Choose a file"):
        coco_path("  ")
    assert coco_path(str(tmp_path / "x.y")).name == "x.y.coco.json"
    assert coco_path(str(tmp_path / "x.JSON")).name == "x.JSON"


def test_a_stopped_export_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.coco.json"
    path.write_text('{"images": [], "annotations": [], "categories": []}')
    before = path.read_text()
    stack = part(data=np.stack([labels()] * 4), picture=picture(planes=4))
    work = export(Request(path, (stack,), pictures="png"))
    while not (tmp_path / "cells_t0001.png").exists():
        next(work)
    work.close()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == before


def test_names_are_made_fit_for_files(tmp_path: Path) -> None:
    for name, stem in {
        "a/b\\c": "a_b_c", "exp 1.5 um": "exp 1.5 um", "x.TIF": "x", "..": "image",
        'q?:"*|<>': "q_______",
    }.items():  # fmt: skip
        assert part(name).stem == stem
        run(tmp_path / "n.coco.json", part(name, picture=picture(name)), pictures="png")


def test_layers_without_a_viewer_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.coco.json"
    layers = [
        (picture().data, {"name": "cells"}, "image"),
        (labels(), {"name": "cells instances", "metadata": None}, "labels"),
    ]
    report = exhaust(export(request_for(path, layers)))
    assert [file.name for file in report.files] == ["a.coco.json", "cells.png"]
    opened, problems = read_layers(path)
    assert problems == []
    np.testing.assert_array_equal(opened[0][0], picture().data)
    np.testing.assert_array_equal(opened[1][0], labels())
