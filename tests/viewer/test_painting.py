"""Detections and hand-made objects in one plane."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from viewer_samples import squares

from napari_maskrcnn.core.recipe import Recipe
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
