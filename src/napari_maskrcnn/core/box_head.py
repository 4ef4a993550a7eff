"""The box head: over a window's proposals, kept for who asks next, and over any box."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import torch

from .encoding import computing

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torchvision.models.detection import FasterRCNN

    from .encoding import EncodedWindow


@dataclass(frozen=True, slots=True, eq=False)
class FoundBoxes:
    """What the box head of one network found in a window.

    Parameters
    ----------
    boxes, scores, class_ids : Tensor
        Shapes (N, 4) xyxy in network pixels of the window, (N,) and (N,); best first.
    heads : weak reference
        To the network's heads: the boxes are of no use to others.
    caps : tuple
        The score, overlap and number of objects that they were under.
    """

    boxes: Tensor
    scores: Tensor
    class_ids: Tensor
    heads: weakref.ref[nn.Module]
    caps: tuple[float, float, int]


def find_boxes(
    network: FasterRCNN, encoded: EncodedWindow, precision: torch.dtype
) -> FoundBoxes:
    """Run the box head over a window's proposals, unless it has been done already."""
    heads = network.roi_heads
    caps = heads.score_thresh, heads.nms_thresh, heads.detections_per_img
    known = encoded.found
    if known is not None and known.heads() is heads and known.caps == caps:
        return known
    logits, deltas = _run(network, encoded, encoded.proposals, precision)
    boxes, scores, class_ids = heads.postprocess_detections(
        logits, deltas, [encoded.proposals], [encoded.shape]
    )
    return FoundBoxes(boxes[0], scores[0], class_ids[0], weakref.ref(heads), caps)


def score_regions(
    network: FasterRCNN, encoded: EncodedWindow, rois: Tensor, precision: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Run the box head over regions that somebody chose.

    Returns
    -------
    probs : Tensor
        Shape (N, classes + 1), float32; column 0 is background.
    boxes : Tensor
        Shape (N, classes + 1, 4): where the head would move each region for each class,
        inside the window.
    """
    logits, deltas = _run(network, encoded, rois, precision)
    boxes = network.roi_heads.box_coder.decode(deltas, [rois])
    height, width = encoded.shape
    limits = torch.tensor([width, height] * 2, device=boxes.device)
    return logits.softmax(-1), boxes.clamp(min=0).minimum(limits)


def _run(
    network: FasterRCNN, encoded: EncodedWindow, rois: Tensor, precision: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return class logits and box deltas of regions (N, 4), float32."""
    heads = network.roi_heads
    with computing(rois.device, precision):
        pooled = heads.box_roi_pool(encoded.features, [rois], [encoded.shape])
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
    return logits.float(), deltas.float()
