"""What is written, and that it is written whole."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from coco_examples import overlapping, rings

from napari_maskrcnn.core.coco import (
    Category,
    CocoError,
    CocoImage,
    CocoObjects,
    Source,
    check,
    plane_images,
    read_coco,
    split,
    write_coco,
    write_planes,
)
from napari_maskrcnn.core.coco.runs import Runs
from napari_maskrcnn.core.images import read_image

if TYPE_CHECKING:
    from pathlib import Path


def load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_document(tmp_path: Path) -> None:
    path = tmp_path / "a.coco.json"
    label_image = np.zeros((20, 30), np.uint16)
    label_image[2:6, 3:9] = 5
    summary = write_coco(path, [CocoImage("a.png", label_image, Source("a.tif"))])
    assert load(path) == {
        "info": {},
        "licenses": [],
        "images": [
            {
                "id": 1,
                "file_name": "a.png",
                "width": 30,
                "height": 20,
                "source": {"path": "a.tif", "dtype": "uint16"},
            }
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "segmentation": [[3, 2, 9, 2, 9, 6, 3, 6]],
                "area": 24,
                "bbox": [3, 2, 6, 4],
                "iscrowd": 0,
                "label_id": 5,
            }
        ],
        "categories": [{"id": 1, "name": "object", "supercategory": ""}],
    }
    assert "1 objects in 1 images" in str(summary)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.coco.json"]


def test_modes_of_objects_with_holes_and_parts(tmp_path: Path) -> None:
    label_image = np.zeros((20, 20), np.uint8)
    label_image[1:8, 1:8] = 1
    label_image[3:5, 3:5] = 0
    label_image[10:12, 10:12] = label_image[14:16, 14:16] = 2
    label_image[18, 18] = 3
    image = CocoImage("a.png", label_image)
    path = tmp_path / "a.json"
    auto = write_coco(path, [image])
    assert (auto.polygons, auto.rles, auto.faults) == (2, 1, ())
    everything = write_coco(path, [image], mode="rle")
    assert (everything.polygons, everything.rles) == (0, 3)
    strict = write_coco(path, [image], mode="polygon")
    assert (strict.polygons, strict.rles) == (3, 0)
    assert [str(fault) for fault in strict.faults] == [
        "a.png, label 1: 1 hole of 4 pixels; filled: a polygon holds none",
        "a.png, label 2: 2 separate parts; written as polygons of one object",
    ]
    assert [a["area"] for a in load(path)["annotations"]] == [49, 8, 1]
    with pytest.raises(ValueError, match="'svg'"):
        write_coco(path, [image], mode="svg")  # type: ignore[arg-type]


def test_append_renumbers_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    before = {
        "info": {"year": 2017},
        "images": [{"id": 40, "file_name": "x/old.png", "width": 9, "height": 9}],
        "annotations": [{"id": 17, "image_id": 40, "category_id": 90, "odd": [1]}],
        "categories": [{"id": 90, "name": "brush"}, {"id": 7, "name": "cell"}],
        "more": 1,
    }
    path.write_text(json.dumps(before))
    write_coco(path, [CocoImage("new.png", overlapping())], append=True)
    after = load(path)
    assert after["images"][0] == before["images"][0]
    assert after["annotations"][0] == before["annotations"][0]
    assert after["categories"][:2] == before["categories"]
    assert (after["info"], after["more"]) == ({"year": 2017}, 1)
    assert after["images"][1]["id"] == 41
    assert [a["id"] for a in after["annotations"][1:]] == list(range(18, 30))
    assert after["categories"][2] == {"id": 91, "name": "nucleus", "supercategory": ""}
    assert {a["category_id"] for a in after["annotations"][1:]} == {7, 91}
    with pytest.raises(CocoError, match=r"new\.png"):
        write_coco(path, [CocoImage("new.png", rings(1))], append=True)
    assert load(path) == after
    path.write_text('{"images": 3}')
    with pytest.raises(CocoError, match="'images'"):
        write_coco(path, [CocoImage("b.png", rings(1))], append=True)


def test_sparse_categories_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    kept = [Category(80, "nucleus", "organelle", {"color": "red"}), Category(3, "lens")]
    write_coco(path, [CocoImage("a.png", overlapping())], categories=kept)
    assert load(path)["categories"] == [
        {"id": 80, "name": "nucleus", "supercategory": "organelle", "color": "red"},
        {"id": 3, "name": "lens", "supercategory": ""},
        {"id": 81, "name": "cell", "supercategory": ""},
    ]


def test_several_images(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    images = (CocoImage(f"{name}.png", rings(3)) for name in "abc")  # one at a time
    summary = write_coco(path, images)
    assert (summary.images, summary.annotations) == (3, 9)
    document = load(path)
    assert [image["id"] for image in document["images"]] == [1, 2, 3]
    assert len({annotation["id"] for annotation in document["annotations"]}) == 9


def test_file_names(tmp_path: Path) -> None:
    inside = tmp_path / "images" / "a.png"
    outside = tmp_path.parent / "b.png"
    path = tmp_path / "x.json"
    images = [CocoImage(name, rings(1)) for name in (inside, outside, "c/a.tif")]
    summary = write_coco(path, images)
    names = [image["file_name"] for image in load(path)["images"]]
    assert names == ["images/a.png", "b.png", "c/a.tif"]
    assert "CVAT" in str(summary.faults[0])
    for bad in ("../a.png", "", "a/../../b.png"):
        with pytest.raises(CocoError, match="leads out"):
            write_coco(path, [CocoImage(bad, rings(1))])
    with pytest.raises(CocoError, match=r"'a\.png' is there twice"):
        write_coco(path, [CocoImage("a.png", rings(1))] * 2)
    assert [image["file_name"] for image in load(path)["images"]] == names


def test_an_object_without_a_pixel_is_reported(tmp_path: Path) -> None:
    instances = overlapping()
    for mask in instances.masks[:1]:
        mask[:] = 0
    path = tmp_path / "a.json"
    summary = write_coco(path, [CocoImage("a.png", instances)])
    assert summary.boxes == 1
    assert f"label {instances.ids[0]}" in str(summary.faults[0])
    first = load(path)["annotations"][0]
    assert first["segmentation"] == []
    assert first["area"] == first["bbox"][2] * first["bbox"][3] > 0
    objects = read_coco(path).images[0].to_objects()
    assert len(objects) == len(instances)
    assert "1 objects have a box" in objects.to_instances().warnings[0]
    filled = objects.to_label_image(fill_boxes=True)
    assert (filled == instances.ids[0]).any()


def test_extra_keys_must_be_json(tmp_path: Path) -> None:
    image = CocoImage("a.png", rings(1), extra={"a": {1, 2}})
    with pytest.raises(CocoError, match="set"):
        write_coco(tmp_path / "a.json", [image])
    assert not list(tmp_path.iterdir())


def test_a_killed_export_leaves_the_file_before(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_coco(path, [CocoImage("a.png", rings())])
    before = path.read_bytes()
    script = (
        "import sys, numpy as np\n"
        "from napari_maskrcnn.core.coco import CocoImage, write_coco\n"
        "labels = np.zeros((600, 600), np.int32)\n"
        "labels[::2, ::2] = np.arange(1, 90001).reshape(300, 300)\n"
        "image = CocoImage('a.png', labels).to_objects()\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    write_coco(sys.argv[1], [CocoImage('b.png', image)], mode='rle')\n"
        "    print('done', flush=True)\n"
    )
    for delay in (0.0, 0.3, 0.6, 0.9):
        path.write_bytes(before)
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        process.kill()
        finished = "done" in process.communicate()[0]
        document = load(path)  # whole, whenever it was killed
        assert finished or path.read_bytes() == before or len(document["images"]) == 1
        assert len(document["annotations"]) in (100, 90_000)


def test_a_failing_disk_leaves_the_file_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_coco(path, [CocoImage("a.png", rings())])
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no room left on the disk"):
        write_coco(path, [CocoImage("b.png", rings())])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_stack_goes_out_and_comes_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.stack([np.roll(rings(20), shift, axis=1) for shift in range(3)])
    stack = rng.integers(200, 4000, labels.shape).astype(np.uint16)
    images = plane_images("cells.tif", labels)
    assert [image.file_name for image in images] == [
        f"cells_t000{index}.png" for index in range(3)
    ]
    progress = list(write_planes(tmp_path, stack, images))
    assert [(step.done, step.total) for step in progress] == [(1, 3), (2, 3), (3, 3)]
    path = tmp_path / "a.json"
    summary = write_coco(path, images)
    assert not summary.faults
    assert check(path) == ()
    document = load(path)
    assert [image["frame_id"] for image in document["images"]] == [0, 1, 2]
    assert {image["video_id"] for image in document["images"]} == {1}
    assert document["videos"] == [{"id": 1, "name": "cells.tif"}]
    back = read_coco(path)
    for index, image in enumerate(back.images):
        assert image.source == Source("cells.tif", "t", index, "uint16")
        assert np.array_equal(image.to_label_image(), labels[index])
        objects = image.to_objects()
        assert objects.track_ids.tolist() == objects.ids.tolist()
        plane = read_image(tmp_path / image.file_name)
        assert (plane.dtype, plane.shape) == (np.uint8, labels.shape[1:])
        assert plane.std() > 50


def test_planes_of_16_bits_keep_their_values(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 65535, (2, 9, 8)).astype(np.uint16)
    images = plane_images("a", np.ones((2, 9, 8), int), axis="z", suffix=".tif")
    for _ in write_planes(tmp_path, stack, images, bits=16):
        pass
    for index in range(2):
        plane = read_image(tmp_path / f"a_z000{index}.tif")
        assert np.array_equal(plane, stack[index])
    floats = np.linspace(0, 1, 144, dtype=np.float32).reshape(2, 9, 8)
    floats[0, 0, 0] = np.nan
    for _ in write_planes(tmp_path, floats, images, bits=16):
        pass
    assert read_image(tmp_path / "a_z0001.tif").max() == 65535
    with pytest.raises(ValueError, match="TIFF"):
        list(write_planes(tmp_path, stack, plane_images("a", stack), bits=16))
    with pytest.raises(ValueError, match="3 planes, but 2"):
        list(write_planes(tmp_path, np.zeros((3, 9, 8)), images))
    for bad in (np.zeros((3, 3), int), np.zeros((1, 3, 3, 3), int)):
        with pytest.raises(ValueError, match="stack of label images"):
            plane_images("a", bad)
    with pytest.raises(ValueError, match="axis"):
        plane_images("a", stack, axis="time")


def test_split_keeps_stacks_together() -> None:
    labels = np.zeros((5, 4, 4), int)
    images = [
        *plane_images("a.tif", labels),
        *plane_images("b.tif", labels),
        *(CocoImage(f"{number}.png", labels[0]) for number in range(8)),
    ]
    train, validation = split(images, validation=0.3, seed=1)
    assert len(train) + len(validation) == len(images)
    for part in (train, validation):
        stacks = [image.source.path for image in part if image.source]
        assert all(stacks.count(name) == 5 for name in stacks)
    again = split(reversed(images), validation=0.3, seed=1)
    assert {i.file_name for i in again[0]} == {i.file_name for i in train}
    with pytest.raises(ValueError, match=r"1\.5"):
        split(images, validation=1.5)
    with pytest.raises(ValueError, match="got 1"):
        split(images[:5])


def test_objects_of_an_image_too_large(tmp_path: Path) -> None:
    none = np.zeros(0, np.int64)
    objects = CocoObjects.from_label_image(np.zeros((1, 1), int))
    large = replace(objects, runs=Runs((70_000, 70_000), 0, none, none, none))
    with pytest.raises(CocoError, match=r"big\.tif.*tiles"):
        write_coco(tmp_path / "a.json", [CocoImage("big.tif", large)])


def test_gaps_in_a_networks_classes_are_not_listed(tmp_path: Path) -> None:
    names = ("person", "N/A", "car", "N/A")
    label_image = np.array([[1, 0, 2]], np.uint8)
    objects = CocoObjects.from_label_image(
        label_image, class_names=names, class_ids=np.array([3, 1])
    )
    path = tmp_path / "a.json"
    write_coco(path, [CocoImage("a.png", objects)])
    document = json.loads(path.read_text())
    listed = [(row["id"], row["name"]) for row in document["categories"]]
    assert listed == [(1, "person"), (3, "car")]
    assert [row["category_id"] for row in document["annotations"]] == [3, 1]
