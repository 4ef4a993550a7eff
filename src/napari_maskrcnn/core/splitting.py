"""Splits of an object in a label image: by a drawn line, or at its waists.

Points are (y, x) in pixels, with integers at the middles of pixels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage.draw import line as line_pixels
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from napari_maskrcnn.core.edit import (
    TOUCHING,
    Edit,
    check_fits,
    crop_of,
    edit_between,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Slivers smaller than this are no parts: a line along an edge leaves them.
SMALLEST_PART = 4
# A part of the greatest depth: middles with a lesser valley between them are one.
WAIST = 0.1


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
    crop, offset = crop_of(label_image, [index])
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

    The seeds are the `count` deepest middles; an object without so many waists is
    divided into parts of like size (k-means).  The largest part keeps the id; the
    others get `free` and the ids after it.

    Raises
    ------
    ValueError
        When `count` is below two, or the object has too few pixels.
    """
    if count < 2:
        raise ValueError(f"splitting takes two parts or more, got {count}")
    crop, offset = crop_of(label_image, [index])
    mask = crop == index
    if np.count_nonzero(mask) < count * SMALLEST_PART:
        raise ValueError(f"object {index} is too small for {count} parts")
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    points = _middles(depth, count)
    if points is None:
        # Without waists to be found every seed spreads alike.
        points, depth = _evenly(mask, count), np.zeros(mask.shape)
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(points.T)] = np.arange(1, count + 1)
    parts = _nearest(watershed(-depth, seeds, mask=mask, connectivity=TOUCHING), mask)
    return _divided(label_image, offset, crop, parts, index, free)


def _middles(depth: NDArray[np.float64], count: int) -> NDArray[np.int64] | None:
    """Return the `count` deepest middles, (count, 2), or None where there are fewer.

    Between two middles the object must have a waist: on the way from one to the other
    the depth goes down by a part of what it is.
    """
    waist = max(0.5, WAIST * float(depth.max()))
    peaks, found = ndimage.label(h_maxima(depth, waist), TOUCHING)
    if found < count:
        return None
    points = np.array(ndimage.maximum_position(depth, peaks, np.arange(1, found + 1)))
    order = np.argsort(-depth[tuple(points.T)], kind="stable")
    return points[order[:count]]


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
    check_fits(int(ids.max()), label_image.dtype)
    after = np.where(parts > 0, ids[parts], crop).astype(crop.dtype)
    origins: dict[int, tuple[int, ...]] = {
        int(part): (index,) for part in ids[order + 1]
    }
    return edit_between(label_image, offset, crop, after, origins)


def _drawn(
    points: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels of a line, without gaps at corners, that lie in the image."""
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2:
        raise ValueError(f"a line takes two points or more, got shape {points.shape}")
    corners = np.round(points).astype(int)
    pairs = pairwise(corners)
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
