"""How well what a frozen trunk sees of annotated objects tells their classes apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from torch.nn import functional

from napari_maskrcnn.core.encoding import computing

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor
    from torchvision.models.detection import MaskRCNN

    from napari_maskrcnn.core.encoding import Encoding

# Of the ridge regression, in units of the mean square of an object's features.
RIDGE = 0.1
# Classes of fewer objects say nothing about themselves.
FEWEST = 3
# Side of the grid of features of an object; larger ones are averaged down to it.
GRID = 7
# Objects of an image that are looked at: of a thousand the first hundred will do.
MOST_OBJECTS = 100


def object_features(
    network: MaskRCNN, encoding: Encoding, boxes: Tensor
) -> Generator[None, None, tuple[Tensor, NDArray[np.int64]]]:
    """Return what the box head gets to see of some objects.

    Not what it makes of it: the head learns, what it sees does not.

    Parameters
    ----------
    network : MaskRCNN
        The one that encoded the image.
    encoding : Encoding
        Of the image.
    boxes : Tensor
        Shape (N, 4), xyxy in pixels of the image.

    Returns
    -------
    features : Tensor
        Shape (M, D), float32, CPU.
    rows : ndarray
        Shape (M,), int64: the box that each row is of. Those in windows that were not
        kept are missing.
    """
    scale_y, scale_x = encoding.scale
    boxes = boxes * torch.tensor([scale_x, scale_y, scale_x, scale_y])
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).T
    features, rows = [torch.zeros(0, 1)], [np.zeros(0, np.int64)]
    for window in filter(None, encoding.windows):
        y0, x0, y1, x1 = window.window.core
        inside = (y >= y0) & (y < y1) & (x >= x0) & (x < x1)
        if not inside.any():
            continue
        top, left = window.window.outer[:2]
        local = boxes[inside] - torch.tensor([left, top, left, top])
        device = window.proposals.device
        with computing(device, encoding.precision):
            pooled = network.roi_heads.box_roi_pool(
                window.features, [local.to(device)], [window.shape]
            )
            grid = functional.adaptive_avg_pool2d(pooled.float(), GRID)
        features.append(grid.flatten(1).cpu())
        rows.append(np.flatnonzero(inside.numpy()))
        yield
    found = features[1:] or features
    return torch.cat(found), np.concatenate(rows)


def told_apart(
    features: NDArray[np.float32], classes: Sequence[str], images: Sequence[int]
) -> float | None:
    """Return the part of the objects whose class a linear reading of features tells.

    A ridge regression onto the classes is fitted without the objects of an image and
    asked about these, image after image (leave-one-group-out, in closed form from one
    inverse). Where a class is in one image only, object after object.

    Parameters
    ----------
    features : ndarray
        Shape (N, D), float32.
    classes : sequence of str
        Of each object.
    images : sequence of int
        The image that each is in.

    Returns
    -------
    float or None
        In [0, 1], the mean over the classes, so that a frequent one does not hide a
        rare one. None where there are not two classes of three objects.
    """
    names, numbers = np.unique(np.asarray(classes, dtype=str), return_inverse=True)
    counts = np.bincount(numbers, minlength=len(names))
    used = counts[numbers] >= FEWEST if len(names) else np.zeros(0, np.bool_)
    if np.count_nonzero(counts >= FEWEST) < 2:
        return None
    _, numbers = np.unique(numbers[used], return_inverse=True)
    groups = _groups(numbers, np.asarray(images)[used])
    guesses = _left_out(features[used].astype(np.float64), numbers, groups)
    right = guesses == numbers
    return float(np.mean([right[numbers == k].mean() for k in np.unique(numbers)]))


def _groups(numbers: NDArray[np.intp], images: NDArray[np.int64]) -> NDArray[np.int64]:
    """What is left out together: an image, or where that takes a whole class, one."""
    for number in np.unique(numbers):
        if len(np.unique(images[numbers == number])) < 2:
            return np.arange(len(numbers))
    return images


def _left_out(
    features: NDArray[np.float64], numbers: NDArray[np.intp], groups: NDArray[np.int64]
) -> NDArray[np.intp]:
    """The class that each object is taken for when its group is not learnt from."""
    features = features - features.mean(axis=0)
    spread = features.std(axis=0)
    features /= np.where(spread > 1e-6, spread, 1)
    # The 1 is for a constant term.
    kernel = features @ features.T / features.shape[1] + 1
    inverse = np.linalg.inv(kernel + RIDGE * np.eye(len(kernel)))
    wanted = np.eye(int(numbers.max()) + 1)[numbers]
    fitted = inverse @ wanted
    left_out = np.empty_like(wanted)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        block = inverse[np.ix_(rows, rows)]
        left_out[rows] = wanted[rows] - np.linalg.solve(block, fitted[rows])
    guesses: NDArray[np.intp] = left_out.argmax(axis=1)
    return guesses
