"""Unreviewed ground in which the old model finds nothing counts as background."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np

from napari_maskrcnn.core.reviewed import UNREVIEWED

from .judging import Judge
from .planning import shows_objects_only

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_maskrcnn.core.checkpoints import Checkpoint
    from napari_maskrcnn.core.dataset import AnnotatedImage

# Where the model finds fewer of an image's reviewed objects, nothing is sure. Few are
# enough: even with all the rest as background it learns more than with none.
ENOUGH_FOUND = 0.5
# An object is found when this part of it lies in a box.
COVERED = 0.5
# Boxes are widened by this part of their sides: they may be a little too small.
MARGIN = 0.05


def with_sure_ground(
    annotated: Sequence[AnnotatedImage],
    checkpoint: Checkpoint,
    device: str,
) -> Generator[None, None, list[AnnotatedImage]]:
    """Take ground for background where the old model finds nothing at all.

    Single reviewed objects show a network objects only: it forgets what is none. In
    images without any reviewed ground, what lies outside all boxes that the old model
    finds, however unsure, becomes background. That is wrong for an object that the
    model misses, so nothing changes in images of whose reviewed objects it misses many.
    For classes that the model does not know it is of no use: it may miss them all.

    Nothing is learnt of what the model finds, only of where it finds nothing.

    Parameters
    ----------
    annotated : sequence of AnnotatedImage
        To learn from. What is held out of them stays so.
    checkpoint : Checkpoint
        The old model.
    device : str
        See `core.devices.choose_device`.

    Yields
    ------
    None
        Several times an image.

    Returns
    -------
    list of AnnotatedImage
        The same images; with changed labels where there was ground to change.
    """
    result = list(annotated)
    partly = [k for k, item in enumerate(result) if shows_objects_only(item)]
    if not partly:
        return result
    judge = Judge(checkpoint, [result[k] for k in partly], device, budget=0)
    yield
    for k, found in zip(partly, (yield from judge.candidates()), strict=True):
        boxes = boxes_covered(found.boxes, result[k].label_image.shape)
        result[k] = _with_background(result[k], boxes)
        yield
    return result


def boxes_covered(
    boxes: NDArray[np.float32], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Return where boxes (N, 4), xyxy in pixels, lie in an image (H, W)."""
    covered = np.zeros(shape, np.bool_)
    for x0, y0, x1, y1 in boxes.astype(np.float64):
        across, down = MARGIN * (x1 - x0), MARGIN * (y1 - y0)
        rows = slice(max(0, int(y0 - down)), max(0, int(np.ceil(y1 + down))))
        columns = slice(max(0, int(x0 - across)), max(0, int(np.ceil(x1 + across))))
        covered[rows, columns] = True
    return covered


def _with_background(
    item: AnnotatedImage, covered: NDArray[np.bool_]
) -> AnnotatedImage:
    labels = item.label_image
    areas = np.bincount(labels[labels > 0])
    inside = np.bincount(labels[covered & (labels > 0)], minlength=len(areas))
    present = areas > 0
    if np.mean(inside[present] >= COVERED * areas[present]) < ENOUGH_FOUND:
        return item
    ground = (labels == UNREVIEWED) & ~covered
    return replace(item, label_image=np.where(ground, np.int32(0), labels))
