"""Edits of objects in a label image: merge, split, delete, mend, grow, draw.

Every function takes a label image of shape (H, W), integer, 0 = background, and returns
an `Edit`: a crop before and after, and where each object in it comes from.  Nothing is
written to the label image.  Work is done on the objects' own crop; looking for an
object is the one pass over the whole image.

Points are (y, x) in pixels, with integers at the middles of pixels.  Parts of an object
hang together by edges and corners.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage.draw import line as line_pixels
from skimage.draw import polygon as polygon_pixels
from skimage.segmentation import expand_labels, watershed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

# Pixels touch by edges and corners; a cross grows an object by one pixel at its edges.
TOUCHING = np.ones((3, 3), bool)
CROSS = ndimage.generate_binary_structure(2, 1)
# Slivers smaller than this are no parts: a line along an edge leaves them.
SMALLEST_PART = 4
# Of the bell that smooths outlines, in pixels.
SMOOTHING = 1.5


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


# ---- edits of several objects


def merge(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Make several objects one, under the first id.

    Raises
    ------
    ValueError
        When there are fewer than two, or one of them is not there.
    """
    ids = list(dict.fromkeys(int(index) for index in ids))
    if len(ids) < 2:
        raise ValueError(f"merging takes two objects or more, got {ids}")
    crop, offset = _crop(label_image, ids)
    after = crop.copy()
    after[np.isin(crop, ids)] = ids[0]
    return _edit(label_image, offset, crop, after, {ids[0]: tuple(ids)})


def delete(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Make objects background."""
    crop, offset = _crop(label_image, ids)
    after = crop.copy()
    after[np.isin(crop, list(ids))] = 0
    return _edit(label_image, offset, crop, after)


def grow(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Grow objects by a pixel, over background only.

    Raises
    ------
    ValueError
        When none of them has room.
    """
    crop, offset = _crop(label_image, ids, margin=1)
    ours = np.where(np.isin(crop, list(ids)), crop, 0)
    after = np.where(crop == 0, expand_labels(ours, 1), crop).astype(crop.dtype)
    if np.array_equal(after, crop):
        raise ValueError(f"{_named(ids)} cannot grow: there is no background around")
    return _edit(label_image, offset, crop, after)


def shrink(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Shrink objects by a pixel, but not at the image's border.

    Objects that nothing would be left of stay as they are.

    Raises
    ------
    ValueError
        When nothing would be left of any.
    """
    crop, offset = _crop(label_image, ids, margin=1)
    after = crop.copy()
    for index, window in _windows(crop, ids):
        mask = crop[window] == index
        left = ndimage.binary_erosion(mask, CROSS, border_value=1)
        if left.any():
            after[window][mask & ~left] = 0
    if np.array_equal(after, crop):
        raise ValueError(f"{_named(ids)} cannot shrink: nothing would be left")
    return _edit(label_image, offset, crop, after)


def fill_holes(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Fill the holes of objects; other objects in them stay.

    Raises
    ------
    ValueError
        When none of them has a hole.
    """
    crop, offset = _crop(label_image, ids)
    after = crop.copy()
    for index, window in _windows(crop, ids):
        filled = ndimage.binary_fill_holes(crop[window] == index)
        after[window][filled & (after[window] == 0)] = index
    if np.array_equal(after, crop):
        raise ValueError(f"{_named(ids)} has no holes")
    return _edit(label_image, offset, crop, after)


def keep_largest(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Keep the largest part of each object.

    Raises
    ------
    ValueError
        When each is in one part already.
    """
    crop, offset = _crop(label_image, ids)
    after = crop.copy()
    for index, window in _windows(crop, ids):
        parts, count = ndimage.label(crop[window] == index, TOUCHING)
        if count > 1:
            sizes = np.bincount(parts.reshape(-1))
            sizes[0] = 0
            after[window][(parts > 0) & (parts != sizes.argmax())] = 0
    if np.array_equal(after, crop):
        raise ValueError(f"{_named(ids)} is in one part already")
    return _edit(label_image, offset, crop, after)


def smooth(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Smooth the outlines of objects; others keep their pixels.

    Raises
    ------
    ValueError
        When the outlines are smooth already.
    """
    crop, offset = _crop(label_image, ids, margin=4)
    after = crop.copy()
    for index, window in _windows(crop, ids, margin=4):
        mask = crop[window] == index
        soft = ndimage.gaussian_filter(mask.astype(np.float32), SMOOTHING)
        smoothed = soft >= 0.5
        if smoothed.any():
            after[window][mask & ~smoothed] = 0
            after[window][smoothed & (after[window] == 0)] = index
    if np.array_equal(after, crop):
        raise ValueError(f"{_named(ids)} is smooth already")
    return _edit(label_image, offset, crop, after)


# ---- splits


def split_by_line(
    label_image: NDArray[Any], line: ArrayLike, free: int, index: int | None = None
) -> Edit:
    """Split an object along a drawn line.

    The largest part keeps the id; the others get `free` and the ids after it.

    Parameters
    ----------
    label_image : ndarray
        Shape (H, W).
    line : array-like
        Shape (N, 2): the points of the line, (y, x).
    free : int
        The first id to give; it and those above it are not in use.
    index : int, optional
        The object; by default the one that most of the line is on.

    Raises
    ------
    ValueError
        When the line does not cross the object from side to side.
    """
    rows, columns = _drawn(np.asarray(line, float), label_image.shape)
    if index is None:
        under = label_image[rows, columns]
        under = under[under > 0]
        if not under.size:
            raise ValueError("the line lies on no object")
        ids, counts = np.unique(under, return_counts=True)
        index = int(ids[counts.argmax()])
    crop, offset = _crop(label_image, [index])
    mask = crop == index
    rows, columns = rows - offset[0], columns - offset[1]
    inside = (rows >= 0) & (rows < mask.shape[0])
    inside &= (columns >= 0) & (columns < mask.shape[1])
    cut = mask.copy()
    cut[rows[inside], columns[inside]] = False
    parts, _ = ndimage.label(cut, TOUCHING)
    small = np.bincount(parts.reshape(-1)) < SMALLEST_PART
    parts[small[parts]] = 0
    parts = _together(_nearest(parts, mask), ndimage.label(mask, TOUCHING)[0], mask)
    if parts.max() < 2:
        raise ValueError(f"a line that does not cross object {index} splits nothing")
    return _divided(label_image, offset, crop, parts, index, free)


def split_into(label_image: NDArray[Any], index: int, count: int, free: int) -> Edit:
    """Split an object into parts by watershed on the distance to its outline.

    The seeds are the `count` middles that lie deepest and apart; an object that has
    fewer is divided into parts of like size.  The largest part keeps the id; the others
    get `free` and the ids after it.

    Raises
    ------
    ValueError
        When `count` is below two, or the object has too few pixels.
    """
    if count < 2:
        raise ValueError(f"splitting takes two parts or more, got {count}")
    crop, offset = _crop(label_image, [index])
    mask = crop == index
    if np.count_nonzero(mask) < count * SMALLEST_PART:
        raise ValueError(f"object {index} is too small for {count} parts")
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    seeds = _middles(depth, mask, count)
    parts = _nearest(watershed(-depth, seeds, mask=mask, connectivity=TOUCHING), mask)
    return _divided(label_image, offset, crop, parts, index, free)


def _middles(
    depth: NDArray[np.float64], mask: NDArray[np.bool_], count: int
) -> NDArray[np.int32]:
    """Return `count` numbered seeds, (h, w)."""
    from skimage.feature import peak_local_max

    points = np.empty((0, 2), int)
    apart = max(1, int(np.sqrt(np.count_nonzero(mask) / count) / 2))
    while len(points) < count and apart:
        points = peak_local_max(
            depth, min_distance=apart, labels=mask.astype(int), exclude_border=False
        )
        apart //= 2
    points = points[:count]
    if len(points) < count or depth[tuple(points.T)].min() < depth.max() / 4:
        points = _evenly(mask, count)
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(points.T)] = np.arange(1, len(points) + 1)
    return seeds


def _evenly(mask: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Return pixels in the middles of `count` parts of like size, by k-means."""
    from scipy.cluster.vq import kmeans2

    pixels = np.argwhere(mask)
    # Points along the longest axis, so that equal objects are divided equally.
    centred = pixels - pixels.mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = np.argsort(centred @ axis, kind="stable")
    first = order[((np.arange(count) + 0.5) * len(pixels) / count).astype(int)]
    _, nearest = kmeans2(
        pixels.astype(float), pixels[first].astype(float), minit="matrix"
    )
    middles = []
    for part in range(count):
        own = (
            pixels[nearest == part]
            if np.any(nearest == part)
            else pixels[first[[part]]]
        )
        middles.append(own[((own - own.mean(axis=0)) ** 2).sum(axis=1).argmin()])
    return np.array(middles)


def _divided(
    label_image: NDArray[Any],
    offset: tuple[int, int],
    crop: NDArray[Any],
    parts: NDArray[Any],
    index: int,
    free: int,
) -> Edit:
    """Return the edit that gives the parts ids: the largest keeps the object's."""
    sizes = np.bincount(parts.reshape(-1))[1:]
    order = np.argsort(-sizes, kind="stable")
    ids = np.zeros(len(sizes) + 1, np.int64)
    ids[order + 1] = [index, *range(free, free + len(sizes) - 1)]
    _check_fits(int(ids.max()), label_image.dtype)
    after = np.where(parts > 0, ids[parts], crop).astype(crop.dtype)
    origins: dict[int, tuple[int, ...]] = {
        int(part): (index,) for part in ids[order + 1]
    }
    return _edit(label_image, offset, crop, after, origins)


def _drawn(
    points: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels of a line, without gaps at corners, that lie in the image."""
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2:
        raise ValueError(f"a line takes two points or more, got shape {points.shape}")
    corners = np.round(points).astype(int)
    pairs = itertools.pairwise(corners)
    steps = [np.stack(line_pixels(*a, *b), axis=1) for a, b in pairs]
    path = np.concatenate(steps)
    # A diagonal step would let the parts touch by a corner.
    beside = np.stack([path[1:, 0], path[:-1, 1]], axis=1)
    path = np.concatenate([path, beside])
    inside = np.all((path >= 0) & (path < shape), axis=1)
    rows, columns = np.unique(path[inside], axis=0).T
    return rows, columns


def _nearest(parts: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Give pixels of the mask that are in no part to the nearest one."""
    if not parts.any():
        return parts
    near = ndimage.distance_transform_edt(
        parts == 0, return_distances=False, return_indices=True
    )
    return np.where(mask, parts[tuple(near)], 0)


def _together(
    parts: NDArray[Any], pieces: NDArray[Any], mask: NDArray[np.bool_]
) -> NDArray[Any]:
    """Number parts so that pieces that no line crossed stay with the largest part."""
    pairs, areas = np.unique(
        np.stack([pieces[mask], parts[mask]]), axis=1, return_counts=True
    )
    new = np.ones(int(parts.max()) + 1, np.int64)
    new[0] = 0
    count = 1
    for piece in np.unique(pairs[0]):
        own = pairs[0] == piece
        members = pairs[1][own][np.argsort(-areas[own], kind="stable")]
        for part in members[1:]:
            count += 1
            new[part] = count
    together: NDArray[np.int64] = new[parts]
    return together


# ---- new objects


def draw(
    label_image: NDArray[Any],
    outline: ArrayLike,
    free: int,
    *,
    over_others: bool = False,
) -> Edit:
    """Add an object by its outline.

    Parameters
    ----------
    label_image : ndarray
        Shape (H, W).
    outline : array-like
        Shape (N, 2): the corners of the polygon, (y, x).
    free : int
        The id of the new object.
    over_others : bool
        Whether it covers other objects; otherwise they keep their pixels.

    Raises
    ------
    ValueError
        When the outline has fewer than three corners or encloses no free pixel.
    """
    corners = np.asarray(outline, float)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError(f"an outline takes three points, got shape {corners.shape}")
    _check_fits(free, label_image.dtype)
    rows, columns = polygon_pixels(corners[:, 0], corners[:, 1], label_image.shape)
    if not rows.size:
        raise ValueError("the outline encloses no pixel of the image")
    window = (
        slice(int(rows.min()), int(rows.max()) + 1),
        slice(int(columns.min()), int(columns.max()) + 1),
    )
    crop = label_image[window].copy()
    inside = np.zeros(crop.shape, bool)
    inside[rows - window[0].start, columns - window[1].start] = True
    if not over_others:
        inside &= crop == 0
    if not inside.any():
        raise ValueError("the outline encloses other objects only")
    after = crop.copy()
    after[inside] = free
    offset = (window[0].start, window[1].start)
    return _edit(label_image, offset, crop, after, {free: ()})


# ---- what they share


def _crop(
    label_image: NDArray[Any], ids: Sequence[int], margin: int = 0
) -> tuple[NDArray[Any], tuple[int, int]]:
    """Return the part of the image that the objects lie in, a copy, and its offset."""
    if not len(ids):
        raise ValueError("no object is chosen")
    inside = label_image == ids[0] if len(ids) == 1 else np.isin(label_image, list(ids))
    window = _extent(inside, margin)
    if window is None:
        raise ValueError(f"{_named(ids)} is not in this plane")
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


def _windows(
    crop: NDArray[Any], ids: Iterable[int], margin: int = 1
) -> Iterable[tuple[int, tuple[slice, slice]]]:
    """Yield each object with its window in the crop."""
    for index in ids:
        window = _extent(crop == index, margin)
        if window is not None:
            yield int(index), window


def _edit(
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


def _check_fits(index: int, dtype: Any) -> None:
    if index > np.iinfo(dtype).max:
        raise ValueError(f"id {index} does not fit into a layer of {dtype}")


def _named(ids: Sequence[int]) -> str:
    return f"object {ids[0]}" if len(ids) == 1 else "each of the objects"
