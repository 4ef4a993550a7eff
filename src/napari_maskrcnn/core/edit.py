"""What an edit of a label image is, and what all edits share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

# Pixels of an object touch by edges and corners.
TOUCHING = np.ones((3, 3), bool)
# So many ids are looked for quicker one by one.
FEW = 8


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """What an edit does to a label image.

    Parameters
    ----------
    offset : tuple of int
        (y, x) of the crop's first pixel.
    before, after : ndarray
        Shape (h, w), the label image's dtype.
    origins : dict
        For each object in the crop that changed or appeared: the ids of the objects
        that its pixels belonged to, the one that it goes on from first; empty for one
        that was drawn.
    vanished : frozenset of int
        Ids that are nowhere in the label image any more.
    """

    offset: tuple[int, int]
    before: NDArray[Any]
    after: NDArray[Any]
    origins: dict[int, tuple[int, ...]]
    vanished: frozenset[int]

    @property
    def changed(self) -> frozenset[int]:
        """Ids that were there and have other pixels now."""
        return frozenset(i for i, origin in self.origins.items() if i in origin)

    @property
    def appeared(self) -> frozenset[int]:
        """Ids that were not there."""
        return frozenset(self.origins) - self.changed

    @property
    def gained(self) -> dict[int, int]:
        """By how many pixels each object grew; fewer than none where it lost some."""
        moved = self.before != self.after
        gains: dict[int, int] = {}
        for values, sign in ((self.before[moved], -1), (self.after[moved], 1)):
            ids, counts = np.unique(values, return_counts=True)
            for index, count in zip(ids.tolist(), counts.tolist(), strict=True):
                gains[index] = gains.get(index, 0) + sign * count
        gains.pop(0, None)
        return gains


def crop_of(
    label_image: NDArray[Any], ids: Sequence[int], margin: int = 0
) -> tuple[NDArray[Any], tuple[int, int]]:
    """Return the part of the image that the objects lie in, a copy, and its offset."""
    if not len(ids):
        raise ValueError("no object is chosen")
    if len(ids) <= FEW:
        inside = np.logical_or.reduce([label_image == index for index in ids])
    else:
        inside = np.isin(label_image, list(ids))
    window = _extent(inside, margin)
    if window is None:
        raise ValueError(f"{named(ids)} is not in this plane")
    crop = label_image[window].copy()
    for index in ids if len(ids) > 1 else ():
        if index <= 0 or not np.any(crop == index):
            raise ValueError(f"object {index} is not in this plane")
    if ids[0] <= 0:
        raise ValueError(f"{ids[0]} is no object; ids begin at 1")
    return crop, (window[0].start, window[1].start)


def _extent(inside: NDArray[np.bool_], margin: int = 0) -> tuple[slice, slice] | None:
    """Return the window around what is set, widened inside the image."""
    window = []
    for axis in (1, 0):
        where = np.flatnonzero(inside.any(axis=axis))
        if not where.size:
            return None
        start = max(0, int(where[0]) - margin)
        window.append(slice(start, int(where[-1]) + 1 + margin))
        inside = inside[tuple(window)]
    return window[0], window[1]


def windows_of(
    crop: NDArray[Any], ids: Iterable[int], margin: int = 1
) -> Iterable[tuple[int, tuple[slice, slice]]]:
    """Yield each object with its window in the crop."""
    for index in ids:
        window = _extent(crop == index, margin)
        if window is not None:
            yield int(index), window


def edit_between(
    label_image: NDArray[Any],
    offset: tuple[int, int],
    before: NDArray[Any],
    after: NDArray[Any],
    origins: dict[int, tuple[int, ...]] | None = None,
) -> Edit:
    """Return the edit, with what follows from its pixels."""
    moved = before != after
    lost = set(np.unique(before[moved]).tolist()) - {0}
    present = set(np.unique(after).tolist())
    size = tuple(
        slice(start, start + n) for start, n in zip(offset, after.shape, strict=True)
    )
    vanished = set()
    for index in lost - present:
        # Only an object that another one was drawn over can reach out of the crop.
        inside = np.count_nonzero(label_image[size] == index)
        if np.count_nonzero(label_image == index) == inside:
            vanished.add(index)
    told = dict(origins or {})
    touched = lost | (set(np.unique(after[moved]).tolist()) - {0})
    for index in sorted(touched - vanished):
        told.setdefault(index, (index,))
    return Edit(offset, before, after, told, frozenset(vanished))


def check_fits(index: int, dtype: Any) -> None:
    if index > np.iinfo(dtype).max:
        raise ValueError(f"id {index} does not fit into a layer of {dtype}")


def named(ids: Sequence[int]) -> str:
    return f"object {ids[0]}" if len(ids) == 1 else "each of the objects"
