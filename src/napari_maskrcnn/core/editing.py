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
    from collections.abc import Sequence

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
    crop, offset = crop_of(label_image, ids, margin=1)
    after = crop.copy()
    for index, window in windows_of(crop, ids):
        mask = crop[window] == index
        left = ndimage.binary_erosion(mask, CROSS, border_value=1)
        if left.any():
            after[window][mask & ~left] = 0
    if np.array_equal(after, crop):
        raise ValueError(f"{named(ids)} cannot shrink: nothing would be left")
    return edit_between(label_image, offset, crop, after)


def fill_holes(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Fill the holes of objects; other objects in them stay.

    Raises
    ------
    ValueError
        When none of them has a hole.
    """
    crop, offset = crop_of(label_image, ids)
    after = crop.copy()
    for index, window in windows_of(crop, ids):
        filled = ndimage.binary_fill_holes(crop[window] == index)
        after[window][filled & (after[window] == 0)] = index
    if np.array_equal(after, crop):
        raise ValueError(f"{named(ids)} has no holes")
    return edit_between(label_image, offset, crop, after)


def keep_largest(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Keep the largest part of each object.

    Raises
    ------
    ValueError
        When each is in one part already.
    """
    crop, offset = crop_of(label_image, ids)
    after = crop.copy()
    for index, window in windows_of(crop, ids):
        parts, count = ndimage.label(crop[window] == index, TOUCHING)
        if count > 1:
            sizes = np.bincount(parts.reshape(-1))
            sizes[0] = 0
            after[window][(parts > 0) & (parts != sizes.argmax())] = 0
    if np.array_equal(after, crop):
        raise ValueError(f"{named(ids)} is in one part already")
    return edit_between(label_image, offset, crop, after)


def smooth(label_image: NDArray[Any], ids: Sequence[int]) -> Edit:
    """Smooth the outlines of objects; others keep their pixels.

    Raises
    ------
    ValueError
        When the outlines are smooth already.
    """
    crop, offset = crop_of(label_image, ids, margin=4)
    after = crop.copy()
    for index, window in windows_of(crop, ids, margin=4):
        mask = crop[window] == index
        soft = ndimage.gaussian_filter(mask.astype(np.float32), SMOOTHING)
        smoothed = soft >= 0.5
        if smoothed.any():
            after[window][mask & ~smoothed] = 0
            after[window][smoothed & (after[window] == 0)] = index
    if np.array_equal(after, crop):
        raise ValueError(f"{named(ids)} is smooth already")
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
