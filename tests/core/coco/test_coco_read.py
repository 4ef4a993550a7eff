"""Files as they are found: what is put right, what is skipped, and that it is said."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from coco_examples import rings

from napari_maskrcnn.core.coco import (
    CocoDataset,
    CocoError,
    CocoImage,
    check,
    read_coco,
    write_coco,
)
from napari_maskrcnn.core.images import write_array

if TYPE_CHECKING:
    from pathlib import Path

SQUARE = [[2, 1, 6, 1, 6, 4, 2, 4]]  # 12 pixels: rows 1-3, columns 2-5
PLAIN: dict[str, Any] = {
    "info": {},
    "licenses": [],
    "images": [{"id": 1, "file_name": "a.png", "width": 10, "height": 8}],
    "annotations": [
        {
            "id": 5,
            "image_id": 1,
            "category_id": 7,
            "segmentation": SQUARE,
            "bbox": [2, 1, 4, 3],
            "area": 12,
            "iscrowd": 0,
        }
    ],
    "categories": [{"id": 7, "name": "cell", "supercategory": ""}],
}


def read(folder: Path, document: Any) -> CocoDataset:
    path = folder / "a.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    write_array(folder / "a.png", np.zeros((8, 10), np.uint8))
    return read_coco(path)


def with_annotation(**changes: Any) -> dict[str, Any]:
    document = copy.deepcopy(PLAIN)
    document["annotations"][0].update(changes)
    for key, value in changes.items():
        if value is ...:
            del document["annotations"][0][key]
    return document


def mask(dataset: CocoDataset) -> np.ndarray:
    return dataset.images[0].to_label_image()


SQUARE_MASK = np.zeros((8, 10), int)
SQUARE_MASK[1:4, 2:6] = 1
SQUARE_COUNTS = [17, 3, 5, 3, 5, 3, 5, 3, 36]


def test_a_plain_file_has_no_fault(tmp_path: Path) -> None:
    dataset = read(tmp_path, PLAIN)
    assert dataset.faults == ()
    assert np.array_equal(mask(dataset), SQUARE_MASK)
    assert dataset.images[0].path == tmp_path.resolve() / "a.png"
    assert check(tmp_path / "a.json") == ()
    objects = dataset.images[0].to_objects()
    assert objects.annotation_ids.tolist() == [5]
    assert objects.boxes.tolist() == [[2, 1, 6, 4]]
    assert np.isnan(objects.scores).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"area": ...}, "annotation 5: area is None; counted in the mask"),
        ({"area": float("nan")}, "area is nan"),
        ({"bbox": ...}, "bbox is None; taken from the mask"),
        ({"bbox": [0, 0, 9, 9]}, "bbox [0, 0, 9, 9] is not that of the mask"),
        ({"bbox": [2, 1, -4, 3]}, "bbox is"),
        ({"iscrowd": ...}, "iscrowd is None; taken as 0"),
        ({"iscrowd": "no"}, "iscrowd is 'no'"),
        ({"score": float("inf")}, "score is inf; read without a score"),
        ({"track_id": "x"}, "track_id is 'x'"),
        ({"segmentation": SQUARE[0]}, "a bare list; read as one polygon"),
        ({"segmentation": [SQUARE]}, "nested too deep"),
        ({"segmentation": [[2, 1], [6, 1], [6, 4], [2, 4]]}, "list of points"),
        ({"segmentation": [[1, 1, 5, 5], *SQUARE]}, "a polygon of 4 numbers"),
        ({"segmentation": [[1] * 7, *SQUARE]}, "a polygon of 7 numbers"),
        ({"segmentation": [[1, 2, None, 3, 4, 5], *SQUARE]}, "no list of numbers"),
        ({"segmentation": [[float("nan")] * 6, *SQUARE]}, "no list of numbers"),
        ({"segmentation": [[1e99] * 6, *SQUARE]}, "pixels away"),
        ({"segmentation": {"counts": SQUARE_COUNTS}}, "no size; that of the image"),
        ({"label_id": 0}, "label_id is missing"),
        ({"id": ...}, "annotations[0]: id None is no id"),
        ({"id": 0}, "annotations[0]: id 0 is no id"),
    ],
)
def test_what_is_put_right(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    dataset = read(tmp_path, with_annotation(**changes))
    assert np.array_equal(mask(dataset), SQUARE_MASK)
    assert len(dataset.faults) == 1
    assert words in str(dataset.faults[0])


@pytest.mark.parametrize(
    "segmentation",
    [
        [[str(value) for value in SQUARE[0]]],
        {"size": [8, 10], "counts": SQUARE_COUNTS},
        {"size": ["8", 10.0], "counts": [float(c) for c in SQUARE_COUNTS]},
        {"size": [8, 10], "counts": "a03500000o0"},
    ],
)
def test_kinds_of_segmentation(tmp_path: Path, segmentation: Any) -> None:
    dataset = read(tmp_path, with_annotation(segmentation=segmentation, iscrowd=1))
    assert dataset.faults == ()
    assert mask(dataset).sum() == 0  # a crowd region is no object
    objects = dataset.images[0].to_objects()
    assert objects.crowd.tolist() == [True]
    assert np.array_equal(objects.to_label_image(crowd=True), SQUARE_MASK)
    assert len(objects.to_instances()) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_id": 9}, "annotation 5: image_id 9 is no image; skipped"),
        ({"image_id": ...}, "image_id None is no image"),
        ({"category_id": "x"}, "category_id is 'x'; skipped"),
        ({"segmentation": 5}, "segmentation is 5; skipped"),
        ({"segmentation": [[1, 1, 5, 5]]}, "no usable polygon; skipped"),
        (
            {"segmentation": {"size": [10, 8], "counts": SQUARE_COUNTS}},
            "segmentation size is [10, 8], not [8, 10] (height and width swapped)",
        ),
        (
            {"segmentation": {"size": [8, 10], "counts": [80, 1]}},
            "cover 81 pixels of 80",
        ),
        ({"segmentation": {"size": [8, 10], "counts": [90, -10]}}, "negative run"),
        ({"segmentation": {"size": [8, 10], "counts": [0.5, 79.5]}}, "counts are [0.5"),
        ({"segmentation": {"size": [8, 10], "counts": "zz"}}, "no compressed RLE"),
        ({"segmentation": {"size": [8, 10], "counts": None}}, "counts are None"),
        ({"segmentation": [], "bbox": None}, "bbox is None, and no mask; skipped"),
    ],
)
def test_what_is_skipped(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    dataset = read(tmp_path, with_annotation(**changes))
    assert len(dataset.images[0].to_objects()) == 0
    assert words in str(dataset.faults[-1])


def test_box_only_annotations(tmp_path: Path) -> None:
    dataset = read(tmp_path, with_annotation(segmentation=[]))
    assert dataset.faults == ()
    objects = dataset.images[0].to_objects()
    assert objects.boxes.tolist() == [[2, 1, 6, 4]]
    assert not objects.to_label_image().any()
    assert np.array_equal(objects.to_label_image(fill_boxes=True), SQUARE_MASK)


def test_outside_of_the_image_is_clipped(tmp_path: Path) -> None:
    far = [[-3, -3, 15, -3, 15, 3, -3, 3]]
    dataset = read(tmp_path, with_annotation(segmentation=far, bbox=[0, 0, 10, 3]))
    assert "reaches 5 pixels out of the image; clipped" in str(dataset.faults[0])
    assert mask(dataset)[:3].all()
    assert not mask(dataset)[3:].any()


def test_duplicate_ids(tmp_path: Path) -> None:
    document = copy.deepcopy(PLAIN)
    for key in ("annotations", "images", "categories"):
        document[key] *= 2
    dataset = read(tmp_path, document)
    words = [str(fault) for fault in dataset.faults]
    assert any("annotations[1]: id 5 is there twice" in text for text in words)
    assert any("images[1]: has an id that is there twice" in text for text in words)
    assert any("category 7: is there twice" in text for text in words)
    objects = dataset.images[0].to_objects()
    assert objects.annotation_ids.tolist() == [5, 0]
    write_coco(tmp_path / "b.json", dataset.images)
    again = json.loads((tmp_path / "b.json").read_text())["annotations"]
    assert [annotation["id"] for annotation in again] == [5, 6]


def test_categories(tmp_path: Path) -> None:
    document = with_annotation(category_id=90)
    document["categories"] = [
        {"id": 3, "name": "a"},
        {"id": 5, "name": "a"},
        {"id": 0, "name": None},
        {"name": "b"},
        7,
    ]
    dataset = read(tmp_path, document)
    assert [(c.id, c.name) for c in dataset.categories] == [
        (3, "a"),
        (5, "a (5)"),
        (0, "category 0"),
        (90, "category 90"),
    ]
    text = "\n".join(map(str, dataset.faults))
    for words in (
        "is there twice",
        "name is None",
        "below 1",
        "[3]",
        "[4]",
        "not listed",
    ):
        assert words in text
    objects = dataset.images[0].to_objects()
    assert objects.features()["class"].tolist() == ["category 90"]
    del document["categories"]
    assert "categories" in str(read(tmp_path, document).faults[0])


def test_overlapping_objects_are_painted_large_first(tmp_path: Path) -> None:
    document = copy.deepcopy(PLAIN)
    inner = {**document["annotations"][0], "id": 6, "bbox": [3, 2, 1, 1], "area": 1}
    inner["segmentation"] = [[3, 2, 4, 2, 4, 3, 3, 3]]
    document["annotations"].insert(0, inner)
    dataset = read(tmp_path, document)
    expected = SQUARE_MASK * 2
    expected[2, 3] = 1
    assert np.array_equal(mask(dataset), expected)
    assert dataset.images[0].to_objects().runs.overlap() == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "top level is a list"),
        ("3", "top level is a int"),
        ("{}", "'images' is None"),
        ('{"images": [], "annotations": {}}', "'annotations' is {}"),
        ("[" * 200_000, "nested too deep"),
        ('{"images": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_no_coco_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(CocoError, match=words):
        read(tmp_path, text)
    (fault,) = check(tmp_path / "a.json")
    assert fault.done == "not read"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CocoError, match="not JSON"):
        read_coco(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(PLAIN).encode())
    assert len(read_coco(tmp_path / "a.json").images) == 1
    with pytest.raises(FileNotFoundError):
        read_coco(tmp_path / "b.json")


def named(folder: Path, name: Any) -> CocoDataset:
    document = copy.deepcopy(PLAIN)
    document["images"][0]["file_name"] = name
    return read(folder, document)


def test_file_names_never_lead_outside(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "sub").mkdir()
    write_array(secret, np.zeros((8, 10), np.uint8))
    (folder / "link.png").symlink_to(secret)
    (folder / "out").symlink_to(tmp_path)
    for name in (
        "../secret.png",
        str(secret),
        "sub/../../secret.png",
        "..\\secret.png",
        "C:\\secret.png",
        "link.png",
        "out/secret.png",
        "secret.png\x00",
        "x" * 5000,
        ".",
        "..",
    ):
        dataset = named(folder, name)
        assert dataset.images[0].path is None, name
        assert "read without its image" in str(dataset.faults[0])


def test_file_names_are_found_inside(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write_array(tmp_path / "sub" / "b.tif", np.zeros((8, 10), np.uint8))
    for name, found, words in (
        ("sub/b.tif", "sub/b.tif", None),
        ("sub\\b.tif", "sub/b.tif", None),
        ("sub/b.jpg", "sub/b.tif", "of the same stem"),
        ("other/a.png", "a.png", "of that name"),
        ("/data/a.png", "a.png", "leads out of the folder"),
        ("C:\\data\\a.png", "a.png", "leads out of the folder"),
        ("a.jpg", "a.png", "of the same stem"),
    ):
        dataset = named(tmp_path, name)
        assert dataset.images[0].path == tmp_path.resolve() / found
        assert words is None or words in str(dataset.faults[0])
    write_array(tmp_path / "sub" / "a.tif", np.zeros((8, 10), np.uint8))
    assert named(tmp_path, "a.jpg").images[0].path is None  # two of that stem
    assert "file_name is 3" in str(named(tmp_path, 3).faults[0])


def test_images_in_another_folder(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_array(tmp_path / "images" / "a.png", np.zeros((8, 10), np.uint8))
    (tmp_path / "a.json").write_text(json.dumps(PLAIN))
    dataset = read_coco(tmp_path / "a.json", folder=tmp_path / "images")
    assert dataset.images[0].path == tmp_path.resolve() / "images" / "a.png"
    missing = read_coco(tmp_path / "a.json", folder=tmp_path / "nothing")
    assert missing.images[0].path is None


def test_sizes(tmp_path: Path) -> None:
    document = copy.deepcopy(PLAIN)
    del document["images"][0]["width"]
    dataset = read(tmp_path, document)
    assert "8 x 10 from the image file" in str(dataset.faults[0])
    assert np.array_equal(mask(dataset), SQUARE_MASK)
    document["images"][0]["file_name"] = "b.png"
    dataset = read(tmp_path, document)
    assert dataset.images == ()
    (words,) = [str(f) for f in dataset.faults if f.where == "annotation 5"]
    assert words == "annotation 5: image 1 is skipped; skipped, too"
    document["images"][0] = {**PLAIN["images"][0], "width": 2**40}
    assert "more pixels than COCO holds" in str(read(tmp_path, document).faults[0])


def test_check_compares_with_the_image_files(tmp_path: Path) -> None:
    read(tmp_path, PLAIN)
    write_array(tmp_path / "a.png", np.zeros((10, 8), np.uint8))
    (fault,) = check(tmp_path / "a.json")
    assert "the file has 10 x 8 pixels, COCO 8 x 10" in str(fault)
    (tmp_path / "a.png").write_text("no image")
    (fault,) = check(tmp_path / "a.json")
    assert "no readable image" in str(fault)


def test_ids_that_are_text(tmp_path: Path) -> None:
    document = with_annotation(image_id="A-1")
    document["images"][0]["id"] = "A-1"
    dataset = read(tmp_path, document)
    assert np.array_equal(mask(dataset), SQUARE_MASK)
    assert dataset.images[0].id is None
    document = with_annotation(image_id="1")
    assert np.array_equal(mask(read(tmp_path, document)), SQUARE_MASK)


def test_unknown_keys_survive(tmp_path: Path) -> None:
    document = with_annotation(keypoints=[1, 2, 2], num_keypoints=1)
    document["images"][0]["coco_url"] = "http://example.org/a.png"
    document["categories"][0]["keypoints"] = ["nose"]
    dataset = read(tmp_path, document)
    write_coco(
        tmp_path / "b.json",
        dataset.images,
        categories=dataset.categories,
        extra=dataset.extra,
    )
    again = json.loads((tmp_path / "b.json").read_text())
    for key, rows in document.items():
        if key not in ("info", "licenses"):
            for old, new in zip(rows, again[key], strict=True):
                assert old.items() <= new.items()


def test_source_of_others_is_ignored(tmp_path: Path) -> None:
    document = copy.deepcopy(PLAIN)
    for source in ("web", {"path": 3, "index": "x", "dtype": "float32"}, {"dtype": []}):
        document["images"][0]["source"] = source
        assert np.array_equal(mask(read(tmp_path, document)), SQUARE_MASK)


def test_a_dtype_too_small_for_the_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_coco(path, [CocoImage("a.png", rings(3).astype(np.uint8))])
    document = json.loads(path.read_text())
    document["annotations"][0]["label_id"] = 70_000
    path.write_text(json.dumps(document))
    (image,) = read_coco(path).images
    assert image.to_label_image().max() == 70_000
    with pytest.raises(ValueError, match="70000"):
        image.to_objects().to_label_image(np.uint8)
