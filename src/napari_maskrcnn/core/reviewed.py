"""Only what a person has looked at counts: no loss is taken on the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor
    from torchvision.models.detection import MaskRCNN

UNREVIEWED = -1
"""Value of a label image's pixels that nobody looked at."""
HELD_OUT = -2
"""Likewise of pixels set aside to measure with: they count as unreviewed."""
# An object with at least this part of its area in a reviewed region is reviewed.
INSIDE = 0.5
# torchvision's mark of a proposal or an anchor that its samplers pass over.
IGNORED = -1


def mark_unreviewed(
    label_image: NDArray[Any],
    reviewed: Sequence[int] | NDArray[np.int64] | None,
    region: NDArray[np.bool_] | None,
    name: str = "labels",
) -> NDArray[Any]:
    """Write `UNREVIEWED` over all that was not reviewed.

    What counts are the reviewed objects, the objects that lie for the most part in the
    region, and the background inside the region.

    Parameters
    ----------
    label_image : ndarray
        Shape (H, W), integers from 0.
    reviewed : sequence of int or None
        The labels that a person approved.
    region : ndarray or None
        Shape (H, W), bool: where everything is right.
    name : str
        For messages.

    Returns
    -------
    ndarray
        Shape (H, W), int64; the labels themselves if neither is given.

    Raises
    ------
    ValueError
        When the region has another shape.
    """
    if reviewed is None and region is None:
        return label_image
    labels = label_image.astype(np.int64)
    if region is None:
        region = np.zeros(labels.shape, np.bool_)
    if region.shape != labels.shape:
        raise ValueError(
            f"{name}: the labels are {labels.shape} but the region is {region.shape}"
        )
    present, areas = np.unique(labels, return_counts=True)
    inside = np.isin(present, np.asarray([] if reviewed is None else reviewed))
    found, parts = np.unique(labels[region], return_counts=True)
    places = np.searchsorted(present, found)
    inside[places] |= parts >= INSIDE * areas[places]
    counts = np.isin(labels, present[inside & (present > 0)])
    known = counts | (region & (labels == 0))
    return np.where(known, labels, UNREVIEWED)


class ReviewedOnly:
    """Leaves what was not reviewed out of a network's losses.

    torchvision's RPN and RoIHeads keep matching and sampling; of what they assign, the
    anchors and proposals that count as background although more of their area is
    unreviewed than shared with an object are marked as ignored. Targets without an
    "unreviewed" mask are left as they are.

    Parameters
    ----------
    network : MaskRCNN
        Its ``rpn`` and ``roi_heads`` are changed for good; in evaluation nothing is.
    """

    def __init__(self, network: MaskRCNN) -> None:
        heads, rpn = network.roi_heads, network.rpn
        self._select_samples = heads.select_training_samples
        self._assign_to_proposals = heads.assign_targets_to_proposals
        self._assign_to_anchors = rpn.assign_targets_to_anchors
        self._targets: Sequence[dict[str, Tensor]] = ()
        heads.select_training_samples = self._samples
        heads.assign_targets_to_proposals = self._proposals
        rpn.assign_targets_to_anchors = self._anchors

    def _samples(self, proposals: Any, targets: Any) -> Any:
        # The next method is not given the targets, only their boxes and classes.
        self._targets = targets
        return self._select_samples(proposals, targets)

    def _proposals(self, proposals: Any, gt_boxes: Any, gt_labels: Any) -> Any:
        matched, labels = self._assign_to_proposals(proposals, gt_boxes, gt_labels)
        return matched, self._ignoring(labels, proposals, self._targets)

    def _anchors(self, anchors: Any, targets: Any) -> Any:
        labels, matched = self._assign_to_anchors(anchors, targets)
        return self._ignoring(labels, anchors, targets), matched

    def _ignoring(
        self,
        labels: Sequence[Tensor],
        boxes: Sequence[Tensor],
        targets: Sequence[dict[str, Tensor]],
    ) -> list[Tensor]:
        return [
            torch.where(
                (assigned == 0) & on_unreviewed_ground(found, target), IGNORED, assigned
            )
            if "unreviewed" in target
            else assigned
            for assigned, found, target in zip(labels, boxes, targets, strict=True)
        ]


def on_unreviewed_ground(boxes: Tensor, target: dict[str, Tensor]) -> Tensor:
    """Tell which boxes hold more unreviewed ground than of any object that counts.

    Parameters
    ----------
    boxes : Tensor
        Shape (N, 4), xyxy in pixels of the target.
    target : dict
        With "boxes" and the mask "unreviewed", (H, W) bool.

    Returns
    -------
    Tensor
        Shape (N,), bool.
    """
    unreviewed = target["unreviewed"]
    height, width = unreviewed.shape
    limits = torch.tensor([width, height, width, height], device=boxes.device)
    corners = boxes.round().long().clamp(min=0).minimum(limits)
    x0, y0, x1, y1 = corners.unbind(1)
    # Sums over any box from a summed-area table.
    table = functional.pad(unreviewed.long().cumsum(0).cumsum(1), (1, 0, 1, 0))
    ground = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
    objects = target["boxes"].round().long()
    if not len(objects):
        return ground > 0
    low = torch.maximum(corners[:, None, :2], objects[None, :, :2])
    high = torch.minimum(corners[:, None, 2:], objects[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=2).amax(dim=1)
    return ground > shared
