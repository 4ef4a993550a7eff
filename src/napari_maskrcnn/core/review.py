"""What a person should look at first: checks of every object, and an order.

Two kinds of facts are gathered, each with whole-array operations, so that thousands of
objects take a fraction of a second:

* `measure` reads the label image: area, extent, number of parts.  After a brush stroke
  `remeasure` looks at the objects around the stroke only.
* `check_masks` reads what the network left: how sharply it drew each outline, and how
  much of each mask other objects claim as well.

`judge` turns them into flags and into one number, the certainty, by which objects are
put in order, least certain first:

* What the network found is as certain as its score times the sharpness of its outline,
  and every flag that points at a fault (tiny, several parts, overlapping) takes a
  fifth off.  Touching the border is no fault of an object, so it is a flag only.
* What a person made has no score.  A person decided there already, so it comes last,
  certain by 1, unless a flag points at a slip of the brush, such as a speck left over;
  then it stands in the middle, where a network's object of that many flags and score
  0.9 would stand.
* Equals stand in the order of their ids.

Only the order matters: the certainty is no probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.measure import label as connected_parts

from napari_maskrcnn.core.instances import FULL
from napari_maskrcnn.core.label_images import check_label_image, label_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_maskrcnn.core.instances import Instances

# The mask's probabilities between which its outline is uncertain.
LOW, HIGH = 0.35, 0.65
# Flagged below this share of the pixels from LOW on that are HIGH as well.
AGREEMENT = 0.7
# Tiny: below this share of the median area, once there are enough objects for one.
TINY, ENOUGH = 0.25, 5
# Flagged when others claim more than this share of an object's mask.
OVERLAP = 0.15
# What a flag that points at a fault leaves of the certainty.
FAULT = 0.8
# In the order, a flagged object without a score stands where this score would.
HAND_MADE_SCORE = 0.9


class Flag(IntFlag):
    """Why an object should be looked at."""

    BORDER = 1
    TINY = 2
    PARTS = 4
    OUTLINE = 8
    OVERLAP = 16


# The flags that a correct object hardly has.  An unsure outline counts by its amount.
FAULTS = (Flag.TINY, Flag.PARTS, Flag.OVERLAP)


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """What the pixels say about the objects of a label image.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W) in pixels.
    ids : ndarray
        Shape (N,), int64, rising.
    areas, parts : ndarray
        Shape (N,), int64: pixels, and connected parts; corners connect.
    boxes : ndarray
        Shape (N, 4), int64, xyxy: the maximum is one past the last pixel.
    """

    image_shape: tuple[int, int]
    ids: NDArray[np.int64]
    areas: NDArray[np.int64]
    parts: NDArray[np.int64]
    boxes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def at_border(self) -> NDArray[np.bool_]:
        """Shape (N,), bool: whether an object touches the image's border."""
        height, width = self.image_shape
        x0, y0, x1, y1 = self.boxes.T
        touching: NDArray[np.bool_] = (
            (x0 == 0) | (y0 == 0) | (x1 == width) | (y1 == height)
        )
        return touching


def measure(label_image: ArrayLike) -> Measures:
    """Measure every object of a label image.

    Parameters
    ----------
    label_image : array-like
        Shape (H, W), integers from 0; 0 is background.

    Raises
    ------
    ValueError
        When the array is not a label image.
    """
    labels = check_label_image(label_image)
    ids, windows = label_windows(labels)
    shape = (labels.shape[0], labels.shape[1])
    boxes = np.array(
        [(w[1].start, w[0].start, w[1].stop, w[0].stop) for w in windows], np.int64
    ).reshape(-1, 4)
    components, count = connected_parts(
        labels, background=0, connectivity=2, return_num=True
    )
    flat = components.reshape(-1)
    # Any one pixel tells which object a part belongs to.
    owner = np.zeros(count + 1, labels.dtype)
    owner[flat] = labels.reshape(-1)
    position = np.searchsorted(ids, owner[1:].astype(np.int64))
    sizes = np.bincount(flat, minlength=count + 1)[1:]
    areas = np.bincount(position, weights=sizes, minlength=len(ids))
    parts = np.bincount(position, minlength=len(ids))
    return Measures(shape, ids, areas.astype(np.int64), parts.astype(np.int64), boxes)


def remeasure(
    measures: Measures, before: NDArray[Any], label_image: NDArray[Any]
) -> Measures:
    """Measure a label image again after a change, around the change only.

    Parameters
    ----------
    measures : Measures
        Those of `before`.
    before, label_image : ndarray
        Shape (H, W), of one dtype: as it was, and as it is.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    if before.shape != label_image.shape:
        raise ValueError(f"shape was {before.shape} and is {label_image.shape}")
    changed = before != label_image
    rows = np.flatnonzero(changed.any(axis=1))
    if not rows.size:
        return measures
    columns = np.flatnonzero(changed[rows[0] : rows[-1] + 1].any(axis=0))
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    stroke = np.s_[y0:y1, x0:x1]
    concerned = np.union1d(before[stroke], label_image[stroke]).astype(np.int64)
    old = np.isin(measures.ids, concerned)
    extents = np.concatenate([measures.boxes[old], [[x0, y0, x1, y1]]])
    x0, y0 = extents[:, :2].min(axis=0)
    x1, y1 = extents[:, 2:].max(axis=0)
    window = label_image[y0:y1, x0:x1]
    fresh = measure(np.where(np.isin(window, concerned), window, 0))
    return _merged(measures, ~old, fresh, (int(x0), int(y0)))


def _merged(
    measures: Measures,
    kept: NDArray[np.bool_],
    fresh: Measures,
    corner: tuple[int, int],
) -> Measures:
    """Return the kept rows and the fresh ones, whose window begins at (x, y)."""
    ids = np.concatenate([measures.ids[kept], fresh.ids])
    order = np.argsort(ids)
    boxes = fresh.boxes + np.array([*corner, *corner], np.int64)
    return Measures(
        measures.image_shape,
        ids[order],
        np.concatenate([measures.areas[kept], fresh.areas])[order],
        np.concatenate([measures.parts[kept], fresh.parts])[order],
        np.concatenate([measures.boxes[kept], boxes])[order],
    )


@dataclass(frozen=True, slots=True, eq=False)
class MaskChecks:
    """What the network's masks say about its objects.

    Parameters
    ----------
    ids : ndarray
        Shape (N,), int64.
    agreement : ndarray
        Shape (N,), float64 in [0, 1]: the intersection over union of the mask at a low
        and at a high threshold.  1 is a sharp outline.
    overlap : ndarray
        Shape (N,), float64 in [0, 1]: the share of the mask that others claim too.
    """

    ids: NDArray[np.int64]
    agreement: NDArray[np.float64]
    overlap: NDArray[np.float64]


def check_masks(instances: Instances) -> MaskChecks:
    """Look at the masks of the objects that are shown.

    Parameters
    ----------
    instances : Instances
        The objects that are drawn, at the mask threshold they are drawn with; those
        that a threshold hides would count as overlapping.
    """
    count = len(instances)
    if not count or not len(instances.masks):
        ones = np.ones(count)
        return MaskChecks(instances.ids, ones, np.zeros(count))
    probs = np.concatenate([mask.reshape(-1) for mask in instances.masks])
    sizes = np.array([mask.size for mask in instances.masks])
    ends = np.cumsum(sizes)
    low = _sums(probs >= LOW * FULL, ends)
    high = _sums(probs >= HIGH * FULL, ends)
    inside = probs >= instances.mask_threshold * FULL
    where = _places(instances)[inside]
    claimed = np.zeros(probs.size, bool)
    claimed[inside] = np.bincount(where)[where] > 1
    areas, shared = _sums(inside, ends), _sums(claimed, ends)
    return MaskChecks(
        instances.ids, high / np.maximum(low, 1), shared / np.maximum(areas, 1)
    )


def _sums(chosen: NDArray[np.bool_], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many are chosen in each of the stretches that end at `ends`."""
    running = np.concatenate([[0], np.cumsum(chosen, dtype=np.int64)])
    return np.diff(running[ends], prepend=0)


def _places(instances: Instances) -> NDArray[np.int64]:
    """Return for every pixel of every crop where it lies in the flattened image."""
    width = instances.image_shape[1]
    places = []
    for mask, (y, x) in zip(instances.masks, instances.offsets, strict=True):
        rows = np.arange(y, y + mask.shape[0]) * width + x
        places.append(np.add.outer(rows, np.arange(mask.shape[1])).reshape(-1))
    return np.concatenate(places)


def judge(
    measures: Measures, scores: ArrayLike, checks: MaskChecks | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return each object's flags and certainty.

    Parameters
    ----------
    measures : Measures
        The N objects.
    scores : array-like
        Shape (N,), in the order of `measures.ids`; NaN for what a person made.
    checks : MaskChecks, optional
        For objects that are as the network drew them.

    Returns
    -------
    flags : ndarray
        Shape (N,), uint8: `Flag` values, added up.
    certainty : ndarray
        Shape (N,), float64 in [0, 1]; see the module.
    """
    scores = np.asarray(scores, np.float64)
    agreement, overlap = _aligned(measures.ids, checks)
    flags = np.zeros(len(measures), np.uint8)
    flags[measures.at_border] |= np.uint8(Flag.BORDER)
    flags[measures.parts > 1] |= np.uint8(Flag.PARTS)
    flags[agreement < AGREEMENT] |= np.uint8(Flag.OUTLINE)
    flags[overlap > OVERLAP] |= np.uint8(Flag.OVERLAP)
    if len(measures) >= ENOUGH:
        # The part of an object that the border leaves may well be tiny.
        tiny = measures.areas < TINY * np.median(measures.areas)
        flags[tiny & ~measures.at_border] |= np.uint8(Flag.TINY)
    faults = np.zeros(len(measures), np.int64)
    for fault in FAULTS:
        faults += flags & np.uint8(fault) > 0
    hand_made = np.isnan(scores)
    certainty = np.where(hand_made, HAND_MADE_SCORE, scores) * agreement
    certainty *= FAULT**faults
    certainty[hand_made & (faults == 0)] = 1.0
    return flags, certainty


def _aligned(
    ids: NDArray[np.int64], checks: MaskChecks | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return agreement and overlap for these ids: 1 and 0 where nothing is known."""
    agreement, overlap = np.ones(len(ids)), np.zeros(len(ids))
    if checks is not None:
        _, here, there = np.intersect1d(
            ids, checks.ids, assume_unique=True, return_indices=True
        )
        agreement[here], overlap[here] = checks.agreement[there], checks.overlap[there]
    return agreement, overlap


def in_order(
    ids: NDArray[np.int64], certainty: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the positions of the objects, least certain first, equals by id."""
    return np.lexsort((ids, certainty)).astype(np.int64)


def flag_names(flags: int, names: Sequence[str]) -> list[str]:
    """Return the names of the flags that are set; `names` go with `Flag` in order."""
    return [name for flag, name in zip(Flag, names, strict=True) if flags & flag]
