"""How good the boxes of a model are that gives no masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_iou

from napari_maskrcnn.core.examples import make_target
from napari_maskrcnn.core.reviewed import on_unreviewed_ground

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_maskrcnn.core.dataset import AnnotatedImage
    from napari_maskrcnn.core.instances import Instances


def box_scores(
    item: AnnotatedImage, found: Instances, thresholds: Sequence[float]
) -> dict[str, float]:
    """Compare found boxes with those of annotated objects.

    Parameters
    ----------
    item : AnnotatedImage
        Class ids by its own ``class_names``.
    found : Instances
        Their boxes count, whether or not there are masks.
    thresholds : sequence of float
        Of the boxes' intersection over union.

    Returns
    -------
    dict of str to float
        AP = TP / (TP + FP + FN), "ap50" for a threshold of 0.5 and so on; with several
        classes also "ap50_any_class", in which classes play no part. Boxes on ground
        that nobody reviewed do not count.
    """
    target = make_target(item.label_image, item.class_ids)
    boxes = torch.from_numpy(np.ascontiguousarray(found.boxes))
    counts = np.ones(len(found), np.bool_)
    if "unreviewed" in target:
        counts = ~on_unreviewed_ground(boxes, target).numpy()
    iou = box_iou(target["boxes"], boxes).numpy()[:, counts]
    true_classes = target["labels"].numpy()
    own = item.class_names
    table = [own.index(name) + 1 if name in own else 0 for name in found.class_names]
    # Without class names all is of one class.
    found_classes = np.array([0, *table])[found.class_ids] if own else found.class_ids
    found_classes = found_classes[counts]
    agree = true_classes[:, None] == found_classes[None]
    result = {
        f"ap{round(100 * t)}": _ap(np.where(agree, iou, 0.0), t) for t in thresholds
    }
    if len(own) > 1:
        result["ap50_any_class"] = _ap(iou, 0.5)
    return result


def _ap(iou: NDArray[np.floating], threshold: float) -> float:
    """AP of true objects (rows) and found ones (columns)."""
    enough = iou >= threshold
    # As many pairs as possible, each object in one at most.
    rows, columns = linear_sum_assignment(enough, maximize=True)
    hits = int(enough[rows, columns].sum())
    everything = sum(iou.shape) - hits
    return hits / everything if everything else 1.0
