"""What a point may mean: boxes that the heads moved, and the likeliest of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from scipy import ndimage
from torchvision.ops import nms

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# So many of them the mask head draws.
MAX_CANDIDATES = 6
# Boxes that overlap more than this are one candidate.
SAME_BOX = 0.7
# How much a candidate counts whose border, rather than middle, was clicked: people aim
# at the middle. On held-out images 0.6 finds half a percent more than 1.
AT_BORDER = 0.6


def holds(boxes: Tensor, place: Tensor) -> Tensor:
    """Return which boxes (N, 4) hold a place (x, y)."""
    inside: Tensor = (boxes[:, :2] <= place).all(1) & (place < boxes[:, 2:]).all(1)
    return inside


def candidates(
    probs: Tensor, boxes: Tensor, place: Tensor, class_id: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the moved boxes that hold a place, with classes and scores, best first."""
    class_ids = chosen_classes(probs, class_id)
    rows = torch.arange(len(probs), device=probs.device)
    moved, scores = boxes[rows, class_ids], probs[rows, class_ids]
    inside = holds(moved, place)
    moved, scores, class_ids = moved[inside], scores[inside], class_ids[inside]
    kept = nms(moved, scores, SAME_BOX)[:MAX_CANDIDATES]
    return moved[kept], class_ids[kept], scores[kept]


def unmoved(
    probs: Tensor, rois: Tensor, class_id: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the regions themselves, best first."""
    class_ids = chosen_classes(probs, class_id)
    scores = probs.gather(1, class_ids[:, None])[:, 0]
    order = scores.argsort(descending=True)[:MAX_CANDIDATES]
    return rois[order], class_ids[order], scores[order]


def chosen_classes(probs: Tensor, class_id: int | None) -> Tensor:
    """Return each region's best class, or the one that the person chose."""
    if class_id is None:
        return probs[:, 1:].argmax(1) + 1
    return torch.full((len(probs),), class_id, device=probs.device)


def best_at(
    grids: Tensor,
    boxes: NDArray[np.float64],
    scores: Tensor,
    xy: tuple[float, float],
) -> int:
    """Return the candidate that is likeliest to be meant by a point.

    That is the largest product of its score, its mask's probability at the point, and
    a mild preference for boxes with the point near the middle.
    """
    values = []
    for grid, box, score in zip(grids, boxes, scores.tolist(), strict=True):
        side = np.maximum(box[2:] - box[:2], 1e-6)
        column, row = (np.asarray(xy) - box[:2]) / side * grid.shape[-1] - 0.5
        at = ndimage.map_coordinates(
            grid.numpy(), [[row], [column]], order=1, mode="nearest"
        )
        distance = np.sum(((np.asarray(xy) - box[:2]) / side - 0.5) ** 2)
        values.append(score * float(at[0]) * AT_BORDER ** (4 * distance))
    return int(np.argmax(values))
