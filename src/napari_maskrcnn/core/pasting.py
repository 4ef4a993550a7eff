"""Masks from the mask head's grid to the pixels of the image, one crop an object.

torchvision's ``paste_masks_in_image`` makes an array of the whole image for every
object, and rounds each box outwards to whole pixels: a nucleus 12 pixels wide comes out
a pixel wider, an eighth too large. Here the result is kept cropped to the object, and
each pixel takes the value of the grid at its centre, wherever the box lies (as
detectron2 pastes; Wu et al. 2019). torchvision's rounding is there too, for networks
whose results are to be those of torchvision.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from torch.nn import functional
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks

from .instances import FULL

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def paste_masks(
    mask_probs: Tensor,
    boxes: Tensor,
    image_shape: tuple[int, int],
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    as_torchvision: bool = False,
) -> tuple[tuple[NDArray[np.uint8], ...], NDArray[np.int64]]:
    """Resize mask probabilities to their boxes.

    Parameters
    ----------
    mask_probs : Tensor
        Shape (N, M, M), in [0, 1]: the mask head's grid over each box.
    boxes : Tensor
        Shape (N, 4), xyxy in pixels of the image.
    image_shape : tuple of int
        (H, W); crops are cut at its edges.
    shift : tuple of float
        (y, x), pixels of the image by which the grids are moved; see
        `core.mask_alignment`.
    as_torchvision : bool
        Round the boxes to whole pixels as torchvision's ``paste_masks_in_image`` does,
        move nothing, and give the very pixels that it gives.

    Returns
    -------
    masks : tuple of ndarray
        N crops (h, w), uint8: probability x 255, rounded half up.
    offsets : ndarray
        Shape (N, 2), int64: (y, x) of each crop's first pixel.
    """
    if not len(boxes):
        return (), np.zeros((0, 2), np.int64)
    # A ring of zeros: a mask fades out over half a cell beyond its box.
    padded, factor = expand_masks(mask_probs.float().cpu()[:, None], padding=1)
    corners = expand_boxes(boxes.float().cpu(), factor)
    if not as_torchvision:
        corners += torch.tensor([shift[1], shift[0]] * 2)
    paste = _paste_rounded if as_torchvision else _paste
    pasted = [
        paste(grid, box, image_shape)
        for grid, box in zip(padded, corners.tolist(), strict=True)
    ]
    return (
        tuple(crop.mul(FULL).add_(0.5).to(torch.uint8).numpy() for crop, _ in pasted),
        np.array([offset for _, offset in pasted], np.int64),
    )


Pasted = tuple["Tensor", tuple[int, int]]


def _paste(grid: Tensor, box: list[float], image_shape: tuple[int, int]) -> Pasted:
    """Sample a grid (1, M, M) over a box at the centres of the pixels that it touches.

    Returns the crop (h, w) and its offset (y, x).
    """
    spans = [
        _span(box[axis], box[axis + 2], image_shape[1 - axis]) for axis in range(2)
    ]
    (x0, x), (y0, y) = spans
    if not (len(x) and len(y)):
        return torch.zeros(len(y), len(x)), (y0, x0)
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    crop = functional.grid_sample(grid[None], places[None], align_corners=False)
    return crop[0, 0], (y0, x0)


def _span(low: float, high: float, length: int) -> tuple[int, Tensor]:
    """Return the first pixel that a box touches, and the centres of all of them.

    The centres are in units of the box, -1 at its one edge and 1 at the other, as
    ``grid_sample`` has it.
    """
    first = min(max(math.floor(low), 0), length)
    last = max(min(math.ceil(high), length), first)
    centres = torch.arange(first, last, dtype=torch.float64) + 0.5
    side = max(high - low, 1e-6)
    return first, ((centres - low) * (2 / side) - 1).float()


def _paste_rounded(
    grid: Tensor, box: list[float], image_shape: tuple[int, int]
) -> Pasted:
    """Resize a grid to a box rounded to pixels, as torchvision does; as of `_paste`."""
    x0, y0, x1, y1 = (int(value) for value in box)
    size = (max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1))
    crop = functional.interpolate(
        grid[None], size, mode="bilinear", align_corners=False
    )[0, 0]
    height, width = image_shape
    top, left = max(-y0, 0), max(-x0, 0)
    # A box that degenerated outside the image still gives an empty crop inside it.
    y, x = min(max(y0, 0), height), min(max(x0, 0), width)
    return crop[top : top + height - y, left : left + width - x], (y, x)
