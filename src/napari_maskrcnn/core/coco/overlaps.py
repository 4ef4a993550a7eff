"""Corrected label images with the overlaps of the prediction they come from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.coco.objects import CocoObjects
from napari_maskrcnn.core.coco.runs import gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_maskrcnn.core.instances import Instances


def corrected(
    label_image: np.ndarray,
    instances: Instances,
    *,
    class_names: Sequence[str] | None = None,
    **columns: Any,
) -> CocoObjects:
    """Return the objects of a label image; untouched ones keep their whole masks.

    A label image holds one object a pixel, a prediction may hold several.  An object
    whose pixels are still those that the prediction painted is taken from the
    prediction, overlaps included, and so is one that others hid entirely.  An object
    that was edited, or is new, is what the label image shows.

    Parameters
    ----------
    label_image : np.ndarray
        ``(H, W)`` integer: ``instances.to_label_image()`` after a person's corrections.
    instances : Instances
        The prediction, as it was painted.
    class_names : sequence of str, optional
        Those of the instances if not given.
    **columns
        One value an object of the label image, in ascending order of the labels:
        ``class_ids``, ``scores``, ``track_ids``, ``reviewed``, ``crowd``.  Without
        them, classes and scores of the objects that were predicted are kept.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if label_image.shape != tuple(instances.image_shape):
        raise ValueError(
            f"the label image has shape {label_image.shape}, "
            f"the instances {tuple(instances.image_shape)}"
        )
    names = tuple(instances.class_names if class_names is None else class_names)
    shown = CocoObjects.from_label_image(label_image, class_names=names, **columns)
    predicted = CocoObjects.from_instances(instances)
    if "class_ids" not in columns:
        shown = replace(shown, class_ids=_taken_over(shown, predicted, "class_ids"))
    if "scores" not in columns:
        shown = replace(shown, scores=_taken_over(shown, predicted, "scores"))
    painted = instances.to_label_image()
    changed = painted != label_image
    touched = np.union1d(painted[changed], label_image[changed])
    whole = ~np.isin(predicted.ids, touched)
    hidden = whole & ~np.isin(predicted.ids, shown.ids)
    return _joined(shown, predicted, np.flatnonzero(whole), np.flatnonzero(hidden))


def _taken_over(shown: CocoObjects, predicted: CocoObjects, name: str) -> np.ndarray:
    """Return a column of `shown` with the values of the objects that were predicted."""
    column: np.ndarray = getattr(shown, name).copy()
    _, here, there = np.intersect1d(shown.ids, predicted.ids, return_indices=True)
    column[here] = getattr(predicted, name)[there]
    return column


def _joined(
    shown: CocoObjects, predicted: CocoObjects, whole: np.ndarray, hidden: np.ndarray
) -> CocoObjects:
    """Take the masks of `whole` from the prediction and append those of `hidden`."""
    both = {
        name: np.concatenate([getattr(shown, name), getattr(predicted, name)[hidden]])
        for name in (
            "ids",
            "class_ids",
            "scores",
            "track_ids",
            "reviewed",
            "crowd",
            "annotation_ids",
        )
    }
    place = {label: number for number, label in enumerate(both["ids"].tolist())}
    taken = np.array([place[i] for i in predicted.ids[whole].tolist()], dtype=np.int64)
    kept = np.setdiff1d(np.arange(len(shown)), taken)
    runs = gathered(
        shown.image_shape,
        len(place),
        [(kept, shown.runs[kept]), (taken, predicted.runs[whole])],
    )
    boxes = runs.boxes().astype(np.float64)
    boxes[taken] = predicted.boxes[whole]
    return CocoObjects(
        runs=runs,
        class_names=shown.class_names,
        boxes=boxes,
        extras=({},) * len(place),
        **both,
    )
