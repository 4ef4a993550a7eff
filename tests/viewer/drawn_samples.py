"""Instances without masks, made by hand."""

from __future__ import annotations

import numpy as np

from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.skeletons import Skeleton

NAMES = ("head", "neck", "left_hand", "right_hand")
BONES = ((0, 1), (1, 2), (1, 3))


def boxes_only(scores: list[float], shape: tuple[int, int] = (60, 80)) -> Instances:
    """Return boxes of 15 x 10 in rows of four, cats and dogs in turn."""
    count = len(scores)
    number = np.arange(count)
    y, x = 2 + 14 * (number // 4), 3 + 18 * (number % 4)
    return Instances(
        image_shape=shape,
        boxes=np.stack([x, y, x + 15, y + 10], axis=1).astype(np.float32),
        class_ids=1 + number % 2,
        scores=np.array(scores, np.float32),
        masks=(),
        offsets=np.stack([y, x], axis=1),
        ids=1 + number,
        class_names=("cat", "dog"),
        has_masks=False,
    )


def persons(scores: list[float], shape: tuple[int, int] = (60, 80)) -> Instances:
    """Return persons of four keypoints, the last of which is not sure."""
    found = boxes_only(scores, shape)
    corners = found.boxes[:, None, :2]
    inside = np.array([[3, 2], [3, 4], [1, 8], [9, 8]], np.float32)
    keypoints = np.zeros((len(scores), 4, 3), np.float32)
    keypoints[..., :2] = corners + inside
    keypoints[..., 2] = [5, 5, 5, 1]
    return Instances(
        image_shape=shape,
        boxes=found.boxes,
        class_ids=np.ones(len(scores), np.int64),
        scores=found.scores,
        masks=(),
        offsets=found.offsets,
        ids=found.ids,
        class_names=("person",),
        has_masks=False,
        keypoints=keypoints,
        skeleton=Skeleton(NAMES, BONES),
    )
