"""The keypoint branch over boxes that were found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import torch
from torchvision.models.detection.roi_heads import keypointrcnn_inference

from .encoding import computing

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor
    from torchvision.models.detection import KeypointRCNN

# torchvision enlarges the map of every keypoint to its box, one object after the other:
# after so many there is a pause, for a cancel.
POINTS_CHUNK = 8


def keypoints_of(
    network: KeypointRCNN,
    features: dict[str, Tensor],
    boxes: Tensor,
    shape: tuple[int, int],
    precision: torch.dtype,
) -> Generator[None, None, Tensor]:
    """Run the keypoint head over boxes, with pauses.

    Parameters
    ----------
    network : KeypointRCNN
        In evaluation mode.
    features : dict of str to Tensor
        Of the window.
    boxes : Tensor
        Shape (N, 4), xyxy in network pixels of the window.
    shape : tuple of int
        (H, W) of the window in network pixels.
    precision : torch.dtype
        Of the head.

    Returns
    -------
    Tensor
        Shape (N, K, 3), float32, on the CPU: x and y in network pixels of the window,
        and torchvision's score, which is a logit.
    """
    heads = network.roi_heads
    with computing(boxes.device, precision):
        pooled = heads.keypoint_roi_pool(features, [boxes], [shape])
        maps = heads.keypoint_predictor(heads.keypoint_head(pooled)).float()
    yield
    found: list[Tensor] = []
    for start in range(0, len(boxes), POINTS_CHUNK):
        part = slice(start, start + POINTS_CHUNK)
        (places,), (scores,) = keypointrcnn_inference(maps[part], [boxes[part]])
        found.append(torch.cat([places[..., :2], scores[..., None]], dim=2).cpu())
        yield
    return torch.cat(found)
