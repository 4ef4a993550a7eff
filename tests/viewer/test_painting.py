"""Detections and hand-made objects in one plane."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from napari.layers import Labels
from viewer_samples import squares

from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.viewer.approved import kept_of
from napari_maskrcnn.viewer.layers import LabelsPlane, Plane
from napari_maskrcnn.viewer.ledger import Edits
from napari_maskrcnn.viewer.painting import (
    PlaneRecord,
    Repaint,
    giving_way,
    with_free_ids,
)

SHAPE = (40, 60)


def record_of(scores: list[float], *, first_id: int = 1) -> PlaneRecord:
    target = LabelsPlane(Labels(np.zeros(SHAPE, np.uint16)), Plane((0, 1)))
    taken = np.arange(1, first_id, dtype=np.int64)
    return PlaneRecord(target, with_free_ids(squares(scores), taken))


def test_free_ids_are_the_smallest_and_keep_their_order() -> None:
    taken = np.array([1, 3, 4, 100], np.int64)
    assert with_free_ids(squares([0.9] * 4), taken).ids.tolist() == [2, 5, 6, 7]
    assert with_free_ids(squares([]), taken).ids.size == 0


def test_ids_beyond_65535_widen_the_layer() -> None:
    record = record_of([0.9, 0.8, 0.7], first_id=65_534)
    repaint = Repaint(record, Edits())
    repaint.show(Recipe())
    repaint.commit()
    pixels = record.target.pixels
    assert pixels.dtype == np.int32
    assert np.unique(pixels).tolist() == [0, 65_534, 65_535, 65_536]


@pytest.mark.parametrize(("columns", "gives_way"), [(4, False), (5, True)])
def test_a_detection_gives_way_when_more_than_half_covered(
    columns: int, gives_way: bool
) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[:, 2 : 2 + columns] = True
    assert giving_way(squares([0.9, 0.8]), mask).tolist() == [gives_way, False]


def test_a_detection_under_a_smaller_edit_keeps_the_rest() -> None:
    record = record_of([0.9])
    record.target.pixels[2:4, 2:10] = 70
    repaint = Repaint(record, Edits(frozenset({70})))
    repaint.show(Recipe())
    repaint.commit()
    ids, areas = np.unique(record.target.pixels, return_counts=True)
    assert dict(zip(ids.tolist(), areas.tolist(), strict=True)) == {
        0: SHAPE[0] * SHAPE[1] - 64,
        1: 48,
        70: 16,
    }
    # The brush did the cutting, so the object is still the network's.
    assert record.ledger.edits(record.target.pixels).changed == {70}


def test_a_commit_without_a_picture_does_nothing() -> None:
    assert not Repaint(record_of([0.9]), Edits()).commit()


def approve(record: PlaneRecord, *ids: int) -> None:
    layer = record.target.layer
    marked = [index in ids for index in record.instances.ids]
    layer.features = pd.DataFrame(
        {
            "index": record.instances.ids,
            "class": "nucleus",
            "score": record.instances.scores,
            "reviewed": marked,
        }
    )


def repaint(record: PlaneRecord, recipe: Recipe) -> set[int]:
    change = Repaint(record, kept_of(record))
    change.show(recipe)
    change.commit()
    return set(np.unique(record.target.pixels).tolist()) - {0}


def test_approved_objects_stay_below_the_threshold() -> None:
    record = record_of([0.9, 0.4, 0.3])
    assert repaint(record, Recipe(score_threshold=0.2)) == {1, 2, 3}
    approve(record, 2)
    before = record.target.pixels == 2
    assert repaint(record, Recipe(score_threshold=0.8)) == {1, 2}
    np.testing.assert_array_equal(record.target.pixels == 2, before)
    approve(record)
    assert repaint(record, Recipe(score_threshold=0.8)) == {1}


def test_new_predictions_give_way_to_approved_objects() -> None:
    record = record_of([0.9, 0.8])
    repaint(record, Recipe())
    approve(record, 1)
    record.instances = with_free_ids(squares([0.7, 0.6]), np.array([1, 2]))
    record.ledger.new_run()
    before = record.target.pixels == 1
    assert repaint(record, Recipe()) == {1, 4}
    np.testing.assert_array_equal(record.target.pixels == 1, before)


def test_predictions_give_way_where_everything_is_right() -> None:
    record = record_of([0.9, 0.8, 0.4])
    repaint(record, Recipe())
    region = {"plane": [], "box": [0, 0, 40, 24]}
    record.target.layer.metadata = {"napari-maskrcnn": {"regions": [region]}}
    record.instances = with_free_ids(squares([0.7, 0.6, 0.5]), np.array([1, 2, 3]))
    record.ledger.new_run()
    # 1 and 2 lie in the region, where nothing is added; 3 is the network's.
    assert repaint(record, Recipe()) == {1, 2, 6}
