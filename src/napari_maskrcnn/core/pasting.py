"""Masks from the mask head's grid to the pixels of the image, one crop an object.

torchvision's ``paste_masks_in_image`` makes an array of the whole image for every
object. The geometry here is the same (its own helper functions are called), the result
is kept cropped to the object.
"""

from __future__ import annotations

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
    mask_probs: Tensor, boxes: Tensor, image_shape: tuple[int, int]
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

    Returns
    -------
    masks : tuple of ndarray
        N crops (h, w), uint8: probability x 255, rounded half up.
    offsets : ndarray
        Shape (N, 2), int64: (y, x) of each crop's first pixel.
    """
    if not len(boxes):
        return (), np.zeros((0, 2), np.int64)
    padded, scale = expand_masks(mask_probs.float().cpu()[:, None], padding=1)
    corners = expand_boxes(boxes.float().cpu(), scale).to(torch.int64).tolist()
    height, width = image_shape
    masks, offsets = [], []
    for grid, (x0, y0, x1, y1) in zip(padded, corners, strict=True):
        size = (max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1))
        crop = functional.interpolate(
            grid[None], size, mode="bilinear", align_corners=False
        )[0, 0]
        top, left = max(-y0, 0), max(-x0, 0)
        # A box that degenerated outside the image still gives an empty crop inside it.
        y, x = min(max(y0, 0), height), min(max(x0, 0), width)
        crop = crop[top : top + height - y, left : left + width - x]
        masks.append(crop)
        offsets.append((y, x))
    return (
        tuple(crop.mul(FULL).add_(0.5).to(torch.uint8).numpy() for crop in masks),
        np.array(offsets, np.int64),
    )
