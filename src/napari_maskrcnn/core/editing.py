"""Edits of objects in a label image: merge, delete, mend, grow, draw.

Every function takes a label image of shape (H, W), integer, 0 = background, and returns
an `Edit`: a crop before and after, and where each object in it comes from.  Nothing is
written to the label image.  Work is done on the objects' own crop; looking for an
object is the one pass over the whole image.  Splits are in `core.splitting`.

Points are (y, x) in pixels, with integers at the middles of pixels.  Parts of an object
hang together by edges and corners.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage.draw import polygon as polygon_pixels
from skimage.segmentation import expand_labels

from napari_maskrcnn.core.edit import (
    TOUCHING,
    Edit,
    check_fits,
    crop_of,
    edit_between,
    named,
    windows_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Edit",
    "delete",
    "draw",
    "fill_holes",
    "grow",
    "keep_largest",
    "merge",
    "shrink",
    "smooth",
]

# A cross takes or gives one pixel at every edge.
CROSS = ndimage.generate_binary_structure(2, 1)
# Of the bell that smooths outlines, in pixels.
SMOOTHING = 1.5


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
    crop, offset = crop_of(label_image, ids)
    after = crop.copy()
    after[np.isin(crop, ids)] = ids[0]
    return edit_between(label_image, offset, crop, after, {ids[0]: tuple(ids)})


def delete(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Make objects background."""
    crop, offset = crop_of(label_image, ids)
    after = crop.copy()
    after[np.isin(crop, list(ids))] = 0
    return edit_between(label_image, offset, crop, after)


def grow(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Grow objects by a pixel, over background only.

    Raises
    ------
    ValueError
        When none of them has room.
    """
    crop, offset = crop_of(label_image, ids, margin=1)
    ours = np.where(np.isin(crop, list(ids)), crop, 0)
    after = np.where(crop == 0, expand_labels(ours, 1), crop).astype(crop.dtype)
    if np.array_equal(after, crop):
        raise ValueError(f"{named(ids)} cannot grow: there is no background around")
    return edit_between(label_image, offset, crop, after)


def shrink(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Shrink objects by a pixel, but not at the image's border.

    Objects that nothing would be left of stay as they are.

    Raises
    ------
    ValueError
        When nothing would be left of any.
    """
    return _reshape(label_image, ids, _eroded, "cannot shrink: nothing would be left")


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    eroded: NDArray[np.bool_] = ndimage.binary_erosion(mask, CROSS, border_value=1)
    return eroded


def fill_holes(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Fill the holes of objects; other objects in them stay.

    Raises
    ------
    ValueError
        When none of them has a hole.
    """
    return _reshape(label_image, ids, ndimage.binary_fill_holes, "has no holes")


def keep_largest(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Keep the largest part of each object.

    Raises
    ------
    ValueError
        When each is in one part already.
    """
    return _reshape(label_image, ids, _largest, "is in one part already")


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, _ = ndimage.label(mask, TOUCHING)
    largest: NDArray[np.bool_] = parts == np.bincount(parts[mask]).argmax()
    return largest


def smooth(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Smooth the outlines of objects; others keep their pixels.

    Raises
    ------
    ValueError
        When the outlines are smooth already.
    """
    return _reshape(label_image, ids, _smoothed, "is smooth already", margin=4)


def _smoothed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    blurred = ndimage.gaussian_filter(mask.astype(np.float32), SMOOTHING)
    smoothed: NDArray[np.bool_] = blurred >= 0.5
    return smoothed


def _reshape(
    label_image: NDArray[Any],
    ids: Sequence[int],
    change: Callable[[NDArray[np.bool_]], NDArray[np.bool_]],
    unchanged: str,
    margin: int = 1,
) -> Edit:
    """Give each object another mask, over background only.

    Objects that nothing would be left of stay as they are. When nothing changes at
    all, the error says that the objects are `unchanged`.
    """
    crop, offset = crop_of(label_image, ids, margin)
    after = crop.copy()
    for index, window in windows_of(crop, ids, margin):
        mask = crop[window] == index
        changed = change(mask)
        if changed.any():
            after[window][mask & ~changed] = 0
            after[window][changed & (after[window] == 0)] = index
    if np.array_equal(after, crop):
        raise ValueError(f"{named(ids)} {unchanged}")
    return edit_between(label_image, offset, crop, after)


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
    check_fits(free, label_image.dtype)
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
    return edit_between(label_image, offset, crop, after, {free: ()})
