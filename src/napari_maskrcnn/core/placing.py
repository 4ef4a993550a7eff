"""A new object among those that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .edit import Edit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from .instances import Instances

# The share of a new object that must be free, and of an old one that must be covered
# for the new one to take its place.
HALF = 0.5


def object_ids_under(
    label_image: NDArray[Any], instances: Instances
) -> NDArray[np.int64]:
    """Return the ids in a label image under the first of the instances."""
    under = label_image[_window(instances)][instances.mask(0)]
    return np.unique(under[under > 0]).astype(np.int64)


def place(
    label_image: NDArray[Any],
    instances: Instances,
    free: int,
    untouched: Iterable[int] = (),
) -> Edit:
    """Return the edit that puts an object into a label image.

    An object that is covered by more than half goes as a whole: the new one is a better
    outline of it. Others give up the pixels that are covered.

    Parameters
    ----------
    label_image : ndarray
        Shape (H, W), integer, 0 = background.
    instances : Instances
        Of which the first is put in.
    free : int
        Its id.
    untouched : iterable of int
        Objects that keep all their pixels.

    Raises
    ------
    ValueError
        When most of it would lie on untouched objects, or the id does not fit into the
        label image's dtype.
    """
    if free > np.iinfo(label_image.dtype).max:
        raise ValueError(f"id {free} does not fit into a layer of {label_image.dtype}")
    mask, window = instances.mask(0), _window(instances)
    held = np.isin(label_image[window], list(untouched))
    inside = mask & ~held
    area = np.count_nonzero(mask)
    if not area:
        raise ValueError("the network sees no object there")
    if np.count_nonzero(inside) < HALF * area:
        raise ValueError(
            "there is an object already that you edited or approved; "
            "delete it first to have it replaced"
        )
    ids, covered = np.unique(label_image[window][inside], return_counts=True)
    gone = [
        int(index)
        for index, count in zip(ids, covered, strict=True)
        if index > 0 and count > HALF * np.count_nonzero(label_image == index)
    ]
    whole = _union(window, label_image, gone)
    before = label_image[whole].copy()
    after = before.copy()
    after[np.isin(before, gone)] = 0
    start = (window[0].start - whole[0].start, window[1].start - whole[1].start)
    target = after[start[0] : start[0] + mask.shape[0], start[1] :][:, : mask.shape[1]]
    target[inside] = free
    origins: dict[int, tuple[int, ...]] = {
        int(index): (int(index),) for index in ids if index > 0 and index not in gone
    }
    return Edit(
        offset=(whole[0].start, whole[1].start),
        before=before,
        after=after,
        origins={free: (), **origins},
        vanished=frozenset(gone),
    )


def _window(instances: Instances) -> tuple[slice, slice]:
    y, x = (int(value) for value in instances.offsets[0])
    height, width = instances.masks[0].shape
    return slice(y, y + height), slice(x, x + width)


def _union(
    window: tuple[slice, slice], label_image: NDArray[Any], ids: list[int]
) -> tuple[slice, slice]:
    """Return a window widened to hold objects as a whole."""
    if not ids:
        return window
    there = np.isin(label_image, ids)
    rows = np.flatnonzero(there.any(axis=1))
    columns = np.flatnonzero(there.any(axis=0))
    return (
        slice(
            min(window[0].start, int(rows[0])), max(window[0].stop, int(rows[-1]) + 1)
        ),
        slice(
            min(window[1].start, int(columns[0])),
            max(window[1].stop, int(columns[-1]) + 1),
        ),
    )
