"""The order of painting, and several tables of objects on one image."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from coco_examples import label_images, overlapping, rings
from hypothesis import given

from napari_maskrcnn.core.coco import (
    CocoImage,
    CocoObjects,
    corrected,
    joined,
    parted,
    read_coco,
    write_coco,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_overlapping_objects_are_painted_as_they_were(tmp_path: Path) -> None:
    for seed in range(5):
        instances = overlapping(count=14, seed=seed)
        path = tmp_path / "a.json"
        write_coco(path, [CocoImage("a.png", instances)])
        (image,) = read_coco(path).images
        painted = instances.to_label_image()
        assert np.array_equal(image.to_label_image(), painted)
        # What was read is corrected as the prediction is.
        again = corrected(painted, image.to_objects())
        assert again.runs.areas().sum() == instances.areas.sum()
        assert np.array_equal(again.to_label_image(), painted)


def test_an_order_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_coco(path, [CocoImage("a.png", overlapping(2))])
    document = json.loads(path.read_text())
    document["annotations"][0]["z_order"] = "on top"
    path.write_text(json.dumps(document))
    dataset = read_coco(path)
    assert any("z_order is 'on top'" in fault.what for fault in dataset.faults)
    assert dataset.images[0].to_objects().orders[0] == 0


@given(label_images)
def test_tables_of_one_image_come_apart_again(label_image: np.ndarray) -> None:
    tables = {
        "cells": CocoObjects.from_label_image(label_image, class_names=("cell",)),
        "nuclei": CocoObjects.from_label_image(
            label_image[::-1].copy(), class_names=("x", "nucleus")
        ),
    }
    both = joined(list(tables.items()))
    assert len(np.unique(both.ids)) == len(both) == 2 * len(tables["cells"])
    apart = parted(both)
    if not len(both):
        return
    assert list(apart) == ["cells", "nuclei"]
    assert np.array_equal(apart["cells"].to_label_image(), label_image)
    assert np.array_equal(apart["nuclei"].to_label_image(), label_image[::-1])
    assert all(extra == {} for extra in apart["cells"].extras)


def test_one_table_stays_as_it_is_and_shapes_must_agree() -> None:
    one = CocoObjects.from_label_image(rings(4))
    assert joined([("a", one)]) is one
    assert list(parted(one)) == [""]
    with pytest.raises(ValueError, match="one shape"):
        joined([("a", one), ("b", CocoObjects.from_label_image(rings(4)[1:]))])
    with pytest.raises(ValueError, match="no table"):
        joined([])


def test_hostile_tables_are_read_by_their_own_ids() -> None:
    objects = CocoObjects.from_label_image(rings(4))
    for value in (3, {}, {"name": ""}, {"name": 3, "label": 1}, {"name": "a"},
                  {"name": "a", "label": -1}):  # fmt: skip
        odd = replace(objects, extras=({"layer": value},) * 4)
        assert list(parted(odd)) == [""]
    twice = replace(objects, extras=({"layer": {"name": "a", "label": 9}},) * 4)
    assert parted(twice)["a"].ids.tolist() == [1, 2, 3, 4]


def test_new_objects_take_no_id_that_another_one_had(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    first = CocoObjects.from_label_image(rings(3))
    second = replace(first, annotation_ids=np.array([0, 4, 1], dtype=np.int64))
    images = [CocoImage("a.png", first), CocoImage("b.png", second, id=1)]
    write_coco(path, images)
    rows = json.loads(path.read_text())
    assert [row["id"] for row in rows["annotations"]] == [5, 6, 7, 8, 4, 1]
    assert [row["id"] for row in rows["images"]] == [2, 1]


def test_what_cannot_be_seen_is_kept_unless_its_place_was_changed() -> None:
    label_image = np.zeros((12, 12), np.uint8)
    label_image[2:5, 2:5] = 1
    label_image[7:10, 7:10] = 2
    objects = CocoObjects.from_label_image(label_image, crowd=[False, True])
    shown = objects.to_label_image()
    assert not (shown == 2).any()
    edited = shown.copy()
    edited[0, 11] = 2  # a person takes the id that nobody can see
    kept = corrected(edited, objects)
    assert kept.crowd.tolist() == [False, False, True]
    assert kept.ids.tolist() == [1, 2, 3]
    assert kept.runs.areas().tolist() == [9, 1, 9]
    edited[7:10, 7:10] = 5
    assert corrected(edited, objects).ids.tolist() == [1, 2, 5]
