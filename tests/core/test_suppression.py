"""Suppression across classes: one object found as two, and two that are two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_maskrcnn.core.instances import FULL, Instances
from napari_maskrcnn.core.recipe import TWIN_THRESHOLD, Recipe
from napari_maskrcnn.core.suppression import (
    BOX_AGREEMENT,
    BOX_AGREEMENT_ALONE,
    across_classes,
)

SIDE = 40
NAMES = ("horse", "rider", "dog")


def found(
    boxes: list[tuple[int, int, int, int]],
    class_ids: list[int],
    scores: list[float],
    masks: list[np.ndarray] | None = None,
) -> Instances:
    """Objects that fill their boxes (x0, y0, x1, y1), or have the masks given."""
    table = np.array(boxes, np.float32).reshape(-1, 4)
    if masks is None:
        masks = [np.ones((y1 - y0, x1 - x0), bool) for x0, y0, x1, y1 in boxes]
    return Instances(
        image_shape=(SIDE, SIDE),
        boxes=table,
        class_ids=np.array(class_ids, np.int64),
        scores=np.array(scores, np.float32),
        masks=tuple((mask * FULL).astype(np.uint8) for mask in masks),
        offsets=table[:, 1::-1].astype(np.int64),
        ids=np.arange(1, len(boxes) + 1, dtype=np.int64),
        class_names=NAMES,
    )


def plain(instances: Instances, threshold: float) -> list[int]:
    """The rule as a person would write it: every pair, whole images of masks."""

    def painted(place: int) -> np.ndarray:
        canvas = np.zeros((SIDE, SIDE), bool)
        y, x = instances.offsets[place]
        mask = instances.mask(place)
        canvas[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
        return canvas

    def iou(a: np.ndarray, b: np.ndarray) -> float:
        return (a & b).sum() / max(1, (a | b).sum())

    def filled(place: int) -> np.ndarray:
        canvas = np.zeros((SIDE, SIDE), bool)
        x0, y0, x1, y1 = instances.boxes[place].astype(int)
        canvas[y0:y1, x0:x1] = True
        return canvas

    kept: list[int] = []
    for place in sorted(
        range(len(instances)), key=lambda place: -instances.scores[place]
    ):
        for other in kept:
            if instances.class_ids[other] == instances.class_ids[place]:
                continue
            boxes = iou(filled(place), filled(other))
            if not instances.has_masks and boxes >= BOX_AGREEMENT_ALONE:
                break
            if (
                instances.has_masks
                and boxes >= BOX_AGREEMENT
                and iou(painted(place), painted(other)) >= threshold
            ):
                break
        else:
            kept.append(place)
    return sorted(kept)


# Boxes near each other, some with a hole, so that boxes and masks agree or do not.
objects = st.lists(
    st.tuples(
        st.integers(0, 6), st.integers(0, 2), st.sampled_from([10, 11, 20, 21, 30]),
        st.sampled_from([10, 11, 12]), st.sampled_from([0.2, 0.5, 0.7, 0.9]),
        st.integers(1, 3), st.integers(0, 4),
    ),
    max_size=14,
)  # fmt: skip


@given(objects, st.floats(0.3, 1), st.booleans())
def test_every_pair_is_judged(
    drawn: list[tuple[int, int, int, int, float, int, int]],
    threshold: float,
    has_masks: bool,
) -> None:
    masks = []
    for _, _, width, height, _, _, hole in drawn:
        mask = np.ones((height, width), bool)
        mask[:, : hole * 2] = False
        masks.append(mask)
    instances = found(
        [(x, y, x + w, y + h) for x, y, w, h, *_ in drawn],
        [item[5] for item in drawn],
        [item[4] for item in drawn],
        masks,
    )
    if not has_masks:
        instances = replace(instances, masks=(), has_masks=False)
    assert across_classes(instances, threshold).tolist() == plain(instances, threshold)


def test_an_object_found_as_two_classes_is_one() -> None:
    twice = found([(0, 0, 20, 20), (1, 0, 20, 20)], [1, 3], [0.6, 0.9])
    assert twice.filter(twin_threshold=0.7).names == ["dog"]
    assert len(twice.filter(nms_threshold=0.2)) == 2
    assert Recipe(score_threshold=0.5).apply(twice).names == ["dog"]


def test_a_rider_and_the_horse_stay_two() -> None:
    """They fill the same box: the rider its upper half, the horse the lower."""
    upper, lower = np.zeros((2, 30, 20), bool)
    upper[:16] = True
    lower[12:] = True
    upper[-1, 0] = lower[0, 0] = True
    pair = found([(5, 5, 25, 35)] * 2, [1, 2], [0.9, 0.8], [lower, upper])
    assert len(Recipe(score_threshold=0.5).apply(pair)) == 2
    # Boxes alone say that they are one.
    bare = replace(pair, masks=(), has_masks=False)
    assert bare.filter(twin_threshold=TWIN_THRESHOLD).names == ["horse"]


def test_masks_are_compared_at_the_threshold_in_use() -> None:
    soft = np.zeros((20, 20))
    soft[:] = 0.3
    soft[:4] = 1
    pair = found([(0, 0, 20, 20)] * 2, [1, 2], [0.9, 0.8], [soft, np.ones((20, 20))])
    assert len(pair.filter(twin_threshold=0.7, mask_threshold=0.5)) == 2
    assert len(pair.filter(twin_threshold=0.7, mask_threshold=0.2)) == 1


def test_one_class_is_left_alone() -> None:
    same = found([(0, 0, 20, 20)] * 2, [2, 2], [0.9, 0.8])
    assert len(same.filter(twin_threshold=0.7)) == 2
    assert len(same[:0].filter(twin_threshold=0.7)) == 0
    with pytest.raises(ValueError, match="twin_threshold"):
        same.filter(twin_threshold=2)
