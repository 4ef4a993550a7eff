"""Runs of label images and of masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_maskrcnn.core.coco.runs import Runs, merged

if TYPE_CHECKING:
    from collections.abc import Sequence

_BAND = 256  # rows compared at a time: the comparison stays in the cache


def from_label_image(label_image: np.ndarray) -> tuple[np.ndarray, Runs]:
    """Return the ids of a label image, ascending, and the runs of their objects.

    Parameters
    ----------
    label_image : np.ndarray
        ``(H, W)`` integer, 0 = background.

    Raises
    ------
    TypeError
        If the dtype is no integer.
    ValueError
        If the array is not two-dimensional or holds a negative value.
    """
    label_image = np.asarray(label_image)
    if label_image.dtype.kind not in "iub":
        raise TypeError(f"a label image holds integers, got {label_image.dtype}")
    if label_image.ndim != 2:
        raise ValueError(f"a label image is (H, W), got shape {label_image.shape}")
    height, width = label_image.shape
    upper, lower, positions = _borders(label_image)
    begins, ends = lower != 0, upper != 0
    ids, index = np.unique(lower[begins], return_inverse=True)
    if len(ids) and ids[0] < 0:
        raise ValueError(f"a label image holds no negative values, got {ids[0]}")
    # One number carries object and position, so that plain sorts bring both ends of
    # every run to the same place.
    frame = height * width
    starts = np.sort(index * frame + positions[begins])
    stops = np.sort(np.searchsorted(ids, upper[ends]) * frame + positions[ends])
    objects = starts // max(frame, 1)
    starts -= objects * frame
    stops -= objects * frame
    runs = merged((height, width), len(ids), objects, starts, stops)
    return ids.astype(np.int64), runs


def _borders(label_image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values above and below every change along a column, and its position."""
    height, width = label_image.shape
    empty = np.zeros((1, width), dtype=label_image.dtype)
    uppers, lowers, positions = [], [], []
    for top in range(0, height + 1, _BAND):
        band = label_image[max(top - 1, 0) : top + _BAND]
        if top == 0:
            band = np.concatenate([empty, band])
        if top + _BAND > height:
            band = np.concatenate([band, empty])
        band = np.ascontiguousarray(band)
        found = np.flatnonzero(band[1:] != band[:-1])
        y, x = np.divmod(found, max(width, 1))
        uppers.append(band.reshape(-1)[found])
        lowers.append(band.reshape(-1)[found + width])
        positions.append(x * height + (y + top))
    return np.concatenate(uppers), np.concatenate(lowers), np.concatenate(positions)


def from_masks(
    masks: Sequence[np.ndarray], offsets: np.ndarray, image_shape: tuple[int, int]
) -> Runs:
    """Return the runs of crops that may overlap.

    Parameters
    ----------
    masks : sequence of np.ndarray
        N crops (h, w) bool.
    offsets : np.ndarray
        ``(N, 2)`` integer ``(y, x)`` of each crop's top-left pixel in the frame.
    image_shape : tuple of int
        ``(height, width)`` of the frame.
    """
    ends = [np.empty(0, dtype=np.int64)]
    for mask in masks:
        # A row of zeros below each column: no run goes on into the next column.
        columns = np.zeros((mask.shape[1], mask.shape[0] + 1), dtype=bool)
        columns[:, :-1] = mask.T
        flat = columns.reshape(-1)
        changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        ends.append(np.concatenate([[0], changes]) if flat[:1].any() else changes)
    sizes = np.array([len(found) for found in ends[1:]], dtype=np.int64)
    objects = np.repeat(np.arange(len(masks), dtype=np.int64), sizes)
    heights = np.array([mask.shape[0] + 1 for mask in masks], dtype=np.int64)
    x, y = np.divmod(np.concatenate(ends), heights[objects])
    offsets = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
    positions = (x + offsets[objects, 1]) * image_shape[0] + y + offsets[objects, 0]
    starts, stops = positions[0::2], positions[1::2]
    return merged(image_shape, len(masks), objects[0::2], starts, stops)
