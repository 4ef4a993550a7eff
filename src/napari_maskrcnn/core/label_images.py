"""Label images: what is one, where its labels are, and which integers hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

MAX_UINT16 = 65_535
MAX_INT32, MAX_INT64 = 2**31 - 1, 2**63 - 1


def check_label_image(label_image: ArrayLike) -> NDArray[Any]:
    """Return the array if it is a label image, else raise ValueError."""
    labels = np.asarray(label_image)
    if labels.dtype.kind == "b":
        labels = labels.astype(np.uint8)
    if labels.dtype.kind not in "ui":
        raise ValueError(f"a label image must hold integers, got dtype {labels.dtype}")
    if labels.ndim != 2:
        raise ValueError(f"a label image must have two axes, got shape {labels.shape}")
    if labels.size and labels.min() < 0:
        raise ValueError(f"labels must not be negative, got {labels.min()}")
    if labels.size and labels.max() > MAX_INT64:
        raise ValueError(f"labels must be below 2^63, got {labels.max()}")
    return labels


def label_windows(
    labels: NDArray[Any],
) -> tuple[NDArray[np.int64], list[tuple[slice, slice]]]:
    """Return the labels of a label image in rising order, and their tight windows."""
    if not labels.size:
        return np.zeros(0, np.int64), []
    highest = int(labels.max())
    if highest > 10 * labels.size + MAX_UINT16:
        # find_objects makes a list as long as the highest label: close the gaps first.
        values, compact = np.unique(labels, return_inverse=True)
        # Before 0 comes to them: numpy would make unsigned and signed ones floats.
        values = values.astype(np.int64)
        if values[0] != 0:
            compact, values = compact + 1, np.concatenate(([0], values))
        labels = compact.reshape(labels.shape).astype(np.int64)
    else:
        values = np.arange(highest + 1)
    found = ndimage.find_objects(
        labels if labels.dtype != np.uint64 else labels.astype(np.int64)
    )
    pairs = [(k, (w[0], w[1])) for k, w in enumerate(found, start=1) if w is not None]
    present = np.array([k for k, _ in pairs], np.int64)
    return values[present], [window for _, window in pairs]


def label_dtype(highest: int) -> DTypeLike:
    """Return the smallest usual dtype that holds labels up to this one."""
    if highest <= MAX_UINT16:
        return np.uint16
    return np.int32 if highest <= MAX_INT32 else np.int64
