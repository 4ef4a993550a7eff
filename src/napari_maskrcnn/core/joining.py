"""Join what the windows of a large image found.

The rule is "own by centre, with a halo": an object belongs to the window that owns its
centre. Copies that two windows made of one object are paired one to one by how well
they agree where both windows look, and one is kept; never their union, unless the
object is larger than a halo and no window saw it whole. The example was StarDist's
``predict_instances_big`` (Schmidt et al. 2018).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .instances import FULL, Instances
from .suppression import shared_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .tiling import Window

# An object this close to an inner window edge may be cut there.
EDGE = 2.0
# Agreement, inside the area both windows see, from which two masks are one object: low,
# since the pairing is one to one and neighbours agree next to nowhere.
MIN_AGREEMENT = 0.15
MIN_CONTAINED = 0.7


def join(
    parts: Sequence[Instances], windows: Sequence[Window], margin: float
) -> Instances:
    """Join the instances that the windows of one image gave.

    Parameters
    ----------
    parts : sequence of Instances
        One for each window, all in the pixels of the whole image.
    windows : sequence of Window
        Likewise.
    margin : float
        How far beyond its core a window's objects are considered, in pixels: more than
        two windows' ideas of one object's centre may differ.

    Returns
    -------
    Instances
        In falling order of score, ids from 1.
    """
    kept, owners = [], []
    for index, (part, window) in enumerate(zip(parts, windows, strict=True)):
        chosen = part[_candidates(part, window, margin)]
        kept.append(chosen)
        owners.append(np.full(len(chosen), index))
    found = concatenate(kept)
    owner = np.concatenate(owners)
    groups = _groups(found, owner, windows)
    joined = [
        _settle(found[members], [windows[index] for index in owner[members]])
        for members in groups
    ]
    return renumbered(concatenate(joined)) if joined else found


def concatenate(parts: Sequence[Instances]) -> Instances:
    """Put the instances of one image after each other; ids are made anew from 1."""
    first = parts[0]
    count = sum(len(part) for part in parts)
    return replace(
        first,
        boxes=np.concatenate([part.boxes for part in parts]),
        class_ids=np.concatenate([part.class_ids for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        masks=tuple(mask for part in parts for mask in part.masks),
        offsets=np.concatenate([part.offsets for part in parts]),
        ids=np.arange(1, count + 1, dtype=np.int64),
        keypoints=None
        if first.keypoints is None
        else np.concatenate([part.keypoints for part in parts]),
        warnings=tuple(dict.fromkeys(w for part in parts for w in part.warnings)),
    )


def renumbered(instances: Instances) -> Instances:
    """Sort by falling score and number from 1."""
    ordered = instances[np.argsort(-instances.scores, kind="stable")]
    return replace(ordered, ids=np.arange(1, len(ordered) + 1, dtype=np.int64))


def _candidates(part: Instances, window: Window, margin: float) -> NDArray[np.bool_]:
    y0, x0, y1, x1 = window.core
    centre_x = (part.boxes[:, 0] + part.boxes[:, 2]) / 2
    centre_y = (part.boxes[:, 1] + part.boxes[:, 3]) / 2
    near = (
        (centre_y >= y0 - margin)
        & (centre_y < y1 + margin)
        & (centre_x >= x0 - margin)
        & (centre_x < x1 + margin)
    )
    cut = _truncated(part, window)
    touches_core = (
        (part.boxes[:, 3] > y0)
        & (part.boxes[:, 1] < y1)
        & (part.boxes[:, 2] > x0)
        & (part.boxes[:, 0] < x1)
    )
    chosen: NDArray[np.bool_] = np.where(cut, touches_core, near)
    return chosen


def _truncated(part: Instances, window: Window) -> NDArray[np.bool_]:
    """Whether a box reaches an edge of the window that is not the image's edge."""
    y0, x0, y1, x1 = window.outer
    height, width = part.image_shape
    boxes = part.boxes
    cut: NDArray[np.bool_] = (
        ((boxes[:, 0] <= x0 + EDGE) & (x0 > 0))
        | ((boxes[:, 1] <= y0 + EDGE) & (y0 > 0))
        | ((boxes[:, 2] >= x1 - EDGE) & (x1 < width))
        | ((boxes[:, 3] >= y1 - EDGE) & (y1 < height))
    )
    return cut


def _groups(
    found: Instances, owner: NDArray[np.int64], windows: Sequence[Window]
) -> list[NDArray[np.int64]]:
    """Positions of the copies of each object."""
    pairs = [
        pair
        for first in range(len(windows))
        for second in range(first + 1, len(windows))
        for pair in _pairs(found, owner, windows, first, second)
    ]
    count = len(found)
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    _, group = connected_components(graph, directed=False)
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if count else []


def _pairs(
    found: Instances,
    owner: NDArray[np.int64],
    windows: Sequence[Window],
    first: int,
    second: int,
) -> list[tuple[int, int]]:
    """Pair the objects of two windows one to one, the best agreement first."""
    shared = _overlap(windows[first].outer, windows[second].outer)
    if shared is None:
        return []
    left = np.flatnonzero((owner == first) & _inside(found, shared))
    right = np.flatnonzero((owner == second) & _inside(found, shared))
    agreements = []
    for i in left:
        near = right[
            _boxes_touch(found.boxes[i], found.boxes[right])
            & (found.class_ids[right] == found.class_ids[i])
        ]
        for j in near:
            iou, contained = _agreement(found, int(i), int(j), shared)
            agreements.append((iou, contained, int(i), int(j)))
    return _one_to_one(agreements)


def _one_to_one(
    agreements: list[tuple[float, float, int, int]],
) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    for iou, _, i, j in sorted(agreements, reverse=True):
        if iou >= MIN_AGREEMENT and i not in taken and j not in taken:
            taken |= {i, j}
            pairs.append((i, j))
    # What is left may be a fragment inside the other's whole object.
    for _, contained, i, j in agreements:
        if contained >= MIN_CONTAINED and (i not in taken or j not in taken):
            pairs.append((i, j))
    return pairs


def _agreement(
    found: Instances, i: int, j: int, shared: tuple[int, int, int, int]
) -> tuple[float, float]:
    """IoU, and intersection over the smaller mask, inside the shared area."""
    if not found.has_masks:
        return _box_agreement(found.boxes[[i, j]], shared)
    a, b = _cropped(found, i, shared), _cropped(found, j, shared)
    area_a, area_b = np.count_nonzero(a[2]), np.count_nonzero(b[2])
    if not area_a or not area_b:
        return 0.0, 0.0
    both = shared_pixels(a, b)
    return both / (area_a + area_b - both), both / min(area_a, area_b)


def _box_agreement(
    boxes: NDArray[np.float32], shared: tuple[int, int, int, int]
) -> tuple[float, float]:
    """Likewise of two boxes, (2, 4)."""
    y0, x0, y1, x1 = shared
    low = np.clip(boxes[:, :2].astype(np.float64), (x0, y0), (x1, y1))
    high = np.clip(boxes[:, 2:].astype(np.float64), (x0, y0), (x1, y1))
    areas = (high - low).prod(axis=1)
    both = float((high.min(axis=0) - low.max(axis=0)).clip(0).prod())
    if not both:
        return 0.0, 0.0
    return both / float(areas.sum() - both), both / float(areas.min())


def _cropped(
    found: Instances, position: int, shared: tuple[int, int, int, int]
) -> tuple[int, int, NDArray[np.bool_]]:
    y, x = (int(value) for value in found.offsets[position])
    mask = found.mask(position)
    top, left = max(y, shared[0]), max(x, shared[1])
    bottom = max(top, min(y + mask.shape[0], shared[2]))
    right = max(left, min(x + mask.shape[1], shared[3]))
    return top, left, mask[top - y : bottom - y, left - x : right - x]


def _settle(members: Instances, windows: Sequence[Window]) -> Instances:
    """Keep one copy of an object; put together what no window saw whole."""
    if len(members) == 1:
        return members
    cut = np.array(
        [bool(_truncated(members[[k]], w)[0]) for k, w in enumerate(windows)]
    )
    if cut.all():
        return _union(members)
    owned = np.array([_owns(members.boxes[k], w) for k, w in enumerate(windows)])
    # Whole before cut, owned before not, then the higher score.
    best = np.lexsort((-members.scores, ~owned, cut))[0]
    return members[[int(best)]]


def _owns(box: NDArray[np.float32], window: Window) -> bool:
    y0, x0, y1, x1 = window.core
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return bool(y0 <= y < y1 and x0 <= x < x1)


def _union(members: Instances) -> Instances:
    box = np.concatenate([members.boxes[:, :2].min(0), members.boxes[:, 2:].max(0)])
    best = members[[int(np.argmax(members.scores))]]
    best = replace(best, boxes=box[np.newaxis].astype(np.float32))
    if not members.has_masks:
        return replace(best, offsets=np.floor(box[np.newaxis, 1::-1]).astype(np.int64))
    ends = members.offsets + np.array([mask.shape for mask in members.masks])
    top, left = members.offsets.min(axis=0)
    bottom, right = ends.max(axis=0)
    mask = np.zeros((bottom - top, right - left), np.uint8)
    for (y, x), crop in zip(members.offsets, members.masks, strict=True):
        window = mask[
            y - top : y - top + crop.shape[0], x - left : x - left + crop.shape[1]
        ]
        np.maximum(window, crop, out=window)
    return replace(
        best,
        masks=(np.minimum(mask, FULL).astype(np.uint8),),
        offsets=np.array([[top, left]], np.int64),
    )


def _overlap(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int]
) -> tuple[int, int, int, int] | None:
    y0, x0, y1, x1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (y0, x0, y1, x1) if y1 > y0 and x1 > x0 else None


def _inside(found: Instances, area: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    box = np.array([area[1], area[0], area[3], area[2]], np.float32)
    return _boxes_touch(box, found.boxes)


def _boxes_touch(
    box: NDArray[np.float32], boxes: NDArray[np.float32]
) -> NDArray[np.bool_]:
    touch: NDArray[np.bool_] = (
        (boxes[:, 0] < box[2])
        & (boxes[:, 2] > box[0])
        & (boxes[:, 1] < box[3])
        & (boxes[:, 3] > box[1])
    )
    return touch
