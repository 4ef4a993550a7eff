"""Out and back: label images, overlapping instances, other people's files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from coco_examples import full_mask, label_images, overlapping, rings
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_maskrcnn.core.coco import (
    CocoImage,
    CocoObjects,
    corrected,
    read_coco,
    write_coco,
)
from napari_maskrcnn.core.instances import Instances

DATA = Path(__file__).parents[3].parent / "shared" / "data"
MODES = ("auto", "rle", "polygon")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("coco")


@given(label_image=label_images, mode=st.sampled_from(MODES))
@settings(max_examples=300)
def test_any_label_image_comes_back(
    folder: Path, label_image: np.ndarray, mode: str
) -> None:
    path = folder / "a.json"
    summary = write_coco(path, [CocoImage("a.png", label_image)], mode=mode)
    dataset = read_coco(path)
    (image,) = dataset.images
    back = image.to_label_image()
    assert back.dtype == label_image.dtype
    if any("hole" in fault.what for fault in summary.faults):
        assert mode == "polygon"
        assert ((back == label_image) | (label_image == 0) | (back > 0)).all()
    else:
        assert np.array_equal(back, label_image)
    assert {fault.done for fault in dataset.faults} <= {"read without its image"}


@pytest.mark.parametrize("mode", ["auto", "rle"])
def test_more_than_65535_objects(tmp_path: Path, mode: str) -> None:
    label_image = np.zeros((600, 600), np.int32)
    label_image[::2, ::2] = np.arange(1, 90_001).reshape(300, 300)
    write_coco(tmp_path / "a.json", [CocoImage("a.png", label_image)], mode=mode)
    (image,) = read_coco(tmp_path / "a.json").images
    assert np.array_equal(image.to_label_image(), label_image)


@pytest.mark.parametrize("mode", ["auto", "rle"])
def test_overlapping_instances_come_back_whole(tmp_path: Path, mode: str) -> None:
    instances = overlapping()
    assert instances.areas.sum() > (instances.to_label_image() > 0).sum()
    write_coco(tmp_path / "a.json", [CocoImage("a.png", instances)], mode=mode)
    (image,) = read_coco(tmp_path / "a.json").images
    back = image.to_instances()
    assert back.class_names == instances.class_names
    assert back.ids.tolist() == instances.ids.tolist()
    assert back.class_ids.tolist() == instances.class_ids.tolist()
    assert back.scores.tolist() == instances.scores.tolist()
    for i in range(len(back)):
        assert np.array_equal(full_mask(back, i), full_mask(instances, i))


def test_untouched_objects_keep_their_overlaps() -> None:
    instances = overlapping(count=14)
    painted = instances.to_label_image()
    edited, deleted = painted[painted > 0][[0, -1]]
    label_image = painted.copy()
    label_image[label_image == deleted] = 0
    y, x = np.argwhere(label_image == edited)[0]
    label_image[y, x] = 0
    label_image[-1, -1] = 5000
    objects = corrected(label_image, instances)
    by_id = dict(zip(objects.ids.tolist(), objects.runs.crops(), strict=True))
    assert set(by_id) == {*instances.ids.tolist(), 5000} - {deleted}
    for i, label in enumerate(instances.ids.tolist()):
        if label == deleted:
            continue
        place = objects.ids.tolist().index(label)
        expected = label_image == edited if label == edited else full_mask(instances, i)
        x0, y0, x1, y1 = objects.runs.boxes()[place]
        mask = np.zeros_like(expected)
        mask[y0:y1, x0:x1] = objects.runs.crops()[place] > 0
        assert np.array_equal(mask, expected)
        assert objects.class_ids[place] == instances.class_ids[i]
        assert objects.scores[place] == instances.scores[i]
    assert np.isnan(objects.scores[objects.ids.tolist().index(5000)])
    with pytest.raises(ValueError, match="shape"):
        corrected(label_image[1:], instances)


def test_object_hidden_by_others_is_kept() -> None:
    label_image = np.zeros((9, 9), np.uint8)
    label_image[2:5, 2:5] = 1
    one = Instances.from_label_image(label_image)
    both = Instances(
        (9, 9),
        np.concatenate([one.boxes, one.boxes]),
        np.array([1, 1]),
        np.array([0.9, 0.8], np.float32),
        one.masks * 2,
        np.concatenate([one.offsets, one.offsets]),
        np.array([1, 2]),
        ("object",),
    )
    objects = corrected(both.to_label_image(), both)
    assert objects.ids.tolist() == [1, 2]
    assert objects.runs.areas().tolist() == [9, 9]


def test_columns_come_back(tmp_path: Path) -> None:
    label_image = rings(5)
    objects = CocoObjects.from_label_image(
        label_image,
        class_names=("a", "b"),
        class_ids=[1, 2, 1, 2, 1],
        scores=[0.5, np.nan, 0.25, np.nan, 1],
        track_ids=[0, 7, 0, 0, 9],
        reviewed=[True, False, True, False, False],
        crowd=[False, False, False, True, False],
    )
    write_coco(tmp_path / "a.json", [CocoImage("a.png", objects)])
    back = read_coco(tmp_path / "a.json").images[0].to_objects()
    for name in ("class_ids", "track_ids", "reviewed", "crowd", "ids", "boxes"):
        assert np.array_equal(getattr(back, name), getattr(objects, name)), name
    assert np.array_equal(back.scores, objects.scores, equal_nan=True)
    assert back.class_names == ("a", "b")
    table = back.features()
    assert table["class"].tolist() == ["a", "b", "a", "b", "a"]
    assert table["area"].tolist() == np.bincount(label_image.ravel())[1:].tolist()
    document = json.loads((tmp_path / "a.json").read_text())
    annotations = document["annotations"]
    assert "counts" in annotations[3]["segmentation"]  # COCO wants crowds as RLE
    assert annotations[1]["attributes"] == {"track_id": 7}  # what CVAT reads
    assert [annotation["id"] for annotation in annotations] == [1, 2, 3, 4, 5]
    assert 4 not in back.to_label_image()
    assert 4 in back.to_label_image(crowd=True)
    assert len(back.to_instances()) == 4
    with pytest.raises(ValueError, match="scores"):
        CocoObjects.from_label_image(label_image, scores=[1.0])
    with pytest.raises(ValueError, match="class ids"):
        CocoObjects.from_label_image(label_image, class_ids=[1, 1, 1, 1, 3])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name",
    [
        "coco/instances_val2017_8.json",
        "fruits_nuts/instances.json",
        "coco_keypoints/person_keypoints_1.json",
    ],
)
def test_files_of_others_keep_masks_categories_and_crowds(
    tmp_path: Path, name: str, mode: str
) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    if not (DATA / name).exists():
        pytest.skip(f"needs {name}, which is not part of the project")
    dataset = read_coco(DATA / name)
    assert all(image.path is not None for image in dataset.images)
    path = tmp_path / "a.json"
    summary = write_coco(
        path,
        dataset.images,
        mode=mode,
        categories=dataset.categories,
        extra=dataset.extra,
    )
    before, after = coco.COCO(str(DATA / name)), coco.COCO(str(path))
    assert after.dataset["categories"] == before.dataset["categories"]
    assert sorted(after.imgs) == sorted(before.imgs)
    assert sorted(after.anns) == sorted(before.anns)
    filled = sum("hole" in fault.what for fault in summary.faults)
    reported = {fault.where for fault in dataset.faults}
    different = 0
    for annotation_id, old in before.anns.items():
        new = after.anns[annotation_id]
        for key in ("image_id", "category_id", "iscrowd", "keypoints"):
            assert new.get(key) == old.get(key)
        mask = after.annToMask(new)
        as_it_was = mode == "auto" and f"annotation {annotation_id}" not in reported
        for key in ("area", "bbox", "segmentation") if as_it_was else ():
            assert new[key] == old[key]
        assert as_it_was or new["area"] == mask.sum()
        different += not np.array_equal(mask, before.annToMask(old))
    assert different == filled
    assert mode == "polygon" or not filled
