"""Keypoints and boxes without masks: out and back, and what can be wrong with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from person_file import person_file

from napari_maskrcnn.core.coco import (
    CocoError,
    CocoImage,
    CocoObjects,
    check,
    coco_keypoints,
    joined,
    read_coco,
    write_coco,
)
from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.skeletons import COCO_PERSON, Skeleton

DATA = Path(__file__).parents[3].parent / "shared" / "data"
PERSON = DATA / "coco_keypoints" / "person_keypoints_1.json"
OURS = {"label_id", "source"}


def write_file(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "persons.json"
    path.write_text(json.dumps(document))
    return path


def there_and_back(path: Path, out: Path) -> dict[str, Any]:
    """Read a file, write it, and return what was written."""
    dataset = read_coco(path)
    write_coco(out, dataset.images, categories=dataset.categories, extra=dataset.extra)
    written: dict[str, Any] = json.loads(out.read_text())
    return written


def without_ours(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in OURS}


def assert_equal(path: Path, written: dict[str, Any]) -> None:
    """Every category, image and annotation is as in the file, our own keys apart."""
    given = json.loads(path.read_text())
    assert written["categories"] == given["categories"]
    for key in ("images", "annotations"):
        assert [without_ours(row) for row in written[key]] == given[key]
    assert given["annotations"]


def test_a_file_of_keypoints_comes_back_number_by_number(tmp_path: Path) -> None:
    path = write_file(tmp_path, person_file())
    (image,) = read_coco(path).images
    objects = image.to_objects()
    assert [x is not None for x in objects.keypoints] == [True, True, True, False]
    assert objects.skeletons["person"].bones == ((0, 1), (1, 2), (1, 3))
    written = there_and_back(path, tmp_path / "out.json")
    assert_equal(path, written)
    assert [row.get("num_keypoints") for row in written["annotations"]] == [
        3,
        4,
        0,
        None,
    ]


def test_the_person_of_coco_comes_back(tmp_path: Path) -> None:
    if not PERSON.exists():
        pytest.skip(f"needs {PERSON.name}, which is not part of the project")
    assert_equal(PERSON, there_and_back(PERSON, tmp_path / "out.json"))


def test_boxes_without_masks_are_objects_and_no_fault(tmp_path: Path) -> None:
    document = person_file()
    path = write_file(tmp_path, document)
    assert [fault for fault in check(path) if "annotation" in fault.where] == []
    objects = read_coco(path).images[0].to_objects()
    assert (objects.runs.areas() > 0).tolist() == [True, False, False, False]
    summary = write_coco(tmp_path / "out.json", read_coco(path).images)
    assert (summary.polygons, summary.boxes, summary.faults) == (1, 3, ())


def test_what_was_changed_is_not_written_as_it_was(tmp_path: Path) -> None:
    (image,) = read_coco(write_file(tmp_path, person_file())).images
    objects = image.to_objects()
    moved = replace(
        objects, boxes=objects.boxes + 1, extents=(None,) * len(objects.ids)
    )
    write_coco(tmp_path / "out.json", [replace(image, objects=moved)])
    rows = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert rows[1]["bbox"] == pytest.approx([31.3, 6.7, 20.2, 30.1])
    assert rows[0]["area"] == objects.runs.areas()[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"keypoints": [1, 2, 2]}, "has 3 numbers, 12 for 4 keypoints; read without"),
        ({"keypoints": [1, 2]}, "has 2 numbers, 12 for 4 keypoints; read without"),
        ({"keypoints": "here"}, "keypoints is 'here', no list of numbers"),
        ({"keypoints": [None] * 12}, "no list of numbers; read without keypoints"),
        ({"keypoints": [1e300] * 12}, "lie out of every image; read without"),
        (
            {"keypoints": [1, 2, 3] * 4, "num_keypoints": 4},
            "visibility 3 of keypoint 1 is not 0, 1 or 2 (and 3 more); taken as 2",
        ),
        ({"num_keypoints": 9}, "num_keypoints is 9, not 3; counted in the keypoints"),
    ],
)
def test_faults_of_keypoints(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    document = person_file()
    document["annotations"][0] |= changes
    (fault,) = [
        fault
        for fault in check(write_file(tmp_path, document))
        if not fault.what.startswith("file_name")
    ]
    assert fault.where == "annotation 11"
    assert words in str(fault)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"keypoints": 5}, "keypoints is 5, no list of names; ignored"),
        ({"skeleton": 5}, "skeleton is 5, no list; read without bones"),
        ({"skeleton": [[0, 1]]}, "no pair of 1 to 4; this bone is left out"),
        ({"skeleton": [[1, 2, 3]]}, "no pair of 1 to 4; this bone is left out"),
    ],
)
def test_faults_of_skeletons(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    document = person_file()
    document["categories"][0] |= changes
    assert any(words in str(f) for f in check(write_file(tmp_path, document)))


def test_keypoints_without_names_are_numbered(tmp_path: Path) -> None:
    document = person_file()
    del document["categories"][0]["keypoints"], document["categories"][0]["skeleton"]
    path = write_file(tmp_path, document)
    assert any(
        "does not name its 4 keypoints; they are numbered" in str(f)
        for f in check(path)
    )
    written = there_and_back(path, tmp_path / "out.json")
    assert written["categories"][0]["keypoints"][0] == "keypoint 1"
    given = document["annotations"][0]["keypoints"]
    assert written["annotations"][0]["keypoints"] == given


def keypoint_instances() -> Instances:
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 40, (2, 17, 3)).astype(np.float32)
    keypoints[..., 2] = 5
    keypoints[0, 3, 2], keypoints[0, 4, 2] = 1.9, np.nan
    return Instances(
        image_shape=(40, 60),
        boxes=np.array([[1, 2, 20.5, 30], [5, 5, 25, 35]], np.float32),
        class_ids=np.array([1, 1]),
        scores=np.array([0.9, 0.6], np.float32),
        masks=(),
        offsets=np.array([[2, 1], [5, 5]]),
        ids=np.array([1, 2]),
        class_names=("person",),
        has_masks=False,
        keypoints=keypoints,
        skeleton=COCO_PERSON,
    )


def test_what_a_network_found_becomes_coco(tmp_path: Path) -> None:
    instances = keypoint_instances()
    summary = write_coco(tmp_path / "a.json", [CocoImage("a.png", instances)])
    assert (summary.boxes, summary.polygons, summary.faults) == (2, 0, ())
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["categories"][0]["keypoints"] == list(COCO_PERSON.names)
    assert document["categories"][0]["skeleton"][0] == [16, 14]
    first, second = document["annotations"]
    assert first["bbox"] == [1, 2, 19.5, 28]
    assert first["area"] == 19.5 * 28
    assert first["segmentation"] == []
    assert second["num_keypoints"] == 17
    assert first["num_keypoints"] == 16
    assert first["keypoints"][2::3] == [2, 2, 2, 1, 0] + [2] * 12
    assert first["keypoints"][12:14] == [0, 0]
    places = np.array(second["keypoints"]).reshape(17, 3)[:, :2]
    assert places == pytest.approx(instances.keypoints[1, :, :2], abs=1e-3)  # type: ignore[index]


def test_the_threshold_of_visibility() -> None:
    given = np.array([[3, 4, 1.99], [3, 4, 2.0], [3, 4, -5]], np.float32)
    assert coco_keypoints(given)[:, 2].tolist() == [1, 2, 1]
    assert coco_keypoints(given, threshold=-9)[:, 2].tolist() == [2, 2, 2]


def test_keypoints_follow_selecting_and_joining(tmp_path: Path) -> None:
    (image,) = read_coco(write_file(tmp_path, person_file())).images
    objects = image.to_objects()
    assert objects.select(np.array([1])).keypoints[0] is objects.keypoints[1]
    both = joined([("a", objects), ("b", objects.select(np.array([1])))])
    assert both.keypoints[-1] is objects.keypoints[1]
    other = replace(objects, skeletons={"person": Skeleton(("a", "b", "c", "d"))})
    with pytest.raises(ValueError, match="keypoints of 'person' otherwise"):
        joined([("a", objects), ("b", other)])


def test_other_keypoints_of_the_same_class_are_not_appended(tmp_path: Path) -> None:
    path = write_file(tmp_path, person_file())
    with pytest.raises(CocoError, match="category 'person' has other keypoints"):
        write_coco(path, [CocoImage("b.png", keypoint_instances())], append=True)


def test_objects_of_another_length_are_refused() -> None:
    objects = CocoObjects.from_label_image(np.ones((2, 2), int))
    with pytest.raises(ValueError, match="keypoints has not one entry"):
        replace(objects, keypoints=(None, None))
