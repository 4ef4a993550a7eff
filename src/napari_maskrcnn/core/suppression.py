"""Which of several finds of one object are left out: within a class, and across."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .instances import Instances

    Crop = tuple[int, int, NDArray[np.bool_]]

# Two finds of different classes are compared where their boxes agree like this. Within
# a class half of it is enough, but there two things seldom fill the same box.
BOX_AGREEMENT = 0.8
# Without masks to compare, boxes must say it alone.
BOX_AGREEMENT_ALONE = 0.9


def within_classes(instances: Instances, threshold: float) -> NDArray[np.int64]:
    """Return the positions that class-wise non-maximum suppression keeps, in order.

    Parameters
    ----------
    instances : Instances
        N objects.
    threshold : float
        In [0, 1]; see `torchvision.ops.batched_nms`.
    """
    if len(instances) < 2 or threshold >= 1:
        return np.arange(len(instances))
    from napari_maskrcnn.core import preload  # noqa: F401

    import torch
    from torchvision.ops import batched_nms

    kept = batched_nms(
        torch.from_numpy(np.ascontiguousarray(instances.boxes)),
        torch.from_numpy(np.ascontiguousarray(instances.scores)),
        torch.from_numpy(np.ascontiguousarray(instances.class_ids)),
        threshold,
    )
    return np.sort(kept.numpy())


def across_classes(instances: Instances, threshold: float) -> NDArray[np.int64]:
    """Return the positions left when an object was found as several classes, in order.

    Non-maximum suppression goes by class, since a rider and the horse may well share a
    box. They do not share their pixels, though: two finds of different classes are one
    object where their boxes agree and their masks do as well. The one of higher score
    stays, of equal ones the first.

    Parameters
    ----------
    instances : Instances
        N objects.
    threshold : float
        In [0, 1]: intersection over union of the masks from which on they agree.
        Objects without masks agree by their boxes, see ``BOX_AGREEMENT_ALONE``.
    """
    count = len(instances)
    if count < 2 or (instances.class_ids == instances.class_ids[0]).all():
        return np.arange(count)
    alive = np.ones(count, np.bool_)
    order = np.argsort(-instances.scores, kind="stable")
    least = BOX_AGREEMENT if instances.has_masks else BOX_AGREEMENT_ALONE
    # Pairs are places in the order, so the smaller one has the higher score.
    pairs = _pairs(instances.boxes[order], instances.class_ids[order], least)
    for first, second in order[pairs]:
        if not alive[first] or not alive[second]:
            continue
        if not instances.has_masks or _mask_iou(instances, first, second) >= threshold:
            alive[second] = False
    return np.flatnonzero(alive)


def _pairs(
    boxes: NDArray[np.float32], class_ids: NDArray[np.int64], least: float
) -> NDArray[np.int64]:
    """Pairs of rows, shape (P, 2), of two classes whose boxes have such an IoU, sorted.

    Boxes that agree begin at about the same x, so of all pairs only few are looked at.
    """
    x0, width = boxes[:, 0].astype(np.float64), boxes[:, 2] - boxes[:, 0]
    rank = np.argsort(x0, kind="stable")
    # Of two such boxes the wider is at most 1 / IoU times as wide, and the distance of
    # their edges at most what the IoU lets miss of it.
    reach = x0[rank] + (1 - least) / least * width[rank] + 1e-3
    ends = np.searchsorted(x0[rank], reach, side="right")
    numbers = ends - np.arange(len(rank)) - 1
    left = np.repeat(np.arange(len(rank)), numbers)
    right = (
        left
        + 1
        + np.arange(len(left))
        - np.repeat(np.cumsum(numbers) - numbers, numbers)
    )
    pairs = np.sort(np.stack([rank[left], rank[right]], axis=1), axis=1)
    pairs = pairs[class_ids[pairs[:, 0]] != class_ids[pairs[:, 1]]]
    pairs = pairs[_box_iou(boxes[pairs[:, 0]], boxes[pairs[:, 1]]) >= least]
    ordered: NDArray[np.int64] = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return ordered


def _box_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intersection over union of boxes (P, 4) and (P, 4), row by row."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    both = sides.clip(0).prod(axis=1)
    areas = [(box[:, 2:] - box[:, :2]).prod(axis=1) for box in (a, b)]
    iou: NDArray[np.float64] = both / np.maximum(areas[0] + areas[1] - both, 1e-12)
    return iou


def _mask_iou(instances: Instances, first: int, second: int) -> float:
    a, b = (_crop(instances, place) for place in (first, second))
    both = shared_pixels(a, b)
    union = np.count_nonzero(a[2]) + np.count_nonzero(b[2]) - both
    return both / union if union else 0.0


def _crop(instances: Instances, position: int) -> Crop:
    y, x = instances.offsets[position]
    return int(y), int(x), instances.mask(position)


def shared_pixels(a: Crop, b: Crop) -> int:
    """Return how many pixels two masks share.

    Parameters
    ----------
    a, b : tuple
        (y, x, crop): the first pixel of the crop in the image, and the crop (h, w),
        bool.
    """
    top, left = max(a[0], b[0]), max(a[1], b[1])
    bottom = min(a[0] + a[2].shape[0], b[0] + b[2].shape[0])
    right = min(a[1] + a[2].shape[1], b[1] + b[2].shape[1])
    if bottom <= top or right <= left:
        return 0
    parts = [crop[top - y : bottom - y, left - x : right - x] for y, x, crop in (a, b)]
    return int(np.count_nonzero(parts[0] & parts[1]))
