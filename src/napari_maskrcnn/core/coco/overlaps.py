"""Corrected label images with the overlaps of what they come from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.coco.extract import from_label_image
from napari_maskrcnn.core.coco.objects import CocoObjects
from napari_maskrcnn.core.coco.runs import gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_maskrcnn.core.instances import Instances

# What an edited object keeps of the one that it was.
_LASTING = ("class_ids", "scores", "track_ids", "reviewed")


def corrected(
    label_image: np.ndarray,
    found: Instances | CocoObjects,
    *,
    class_names: Sequence[str] | None = None,
    **columns: Any,
) -> CocoObjects:
    """Return the objects of a label image; untouched ones keep their whole masks.

    A label image holds one object a pixel, a prediction or a file may hold several.  An
    object whose pixels are still those that were painted is taken from there, overlaps
    included, and so is one that cannot be seen: hidden by others, a crowd region, a
    box without a mask.  An object that was edited, or is new, is what the label image
    shows.

    Parameters
    ----------
    label_image : np.ndarray
        ``(H, W)`` integer: ``found.to_label_image()`` after a person's corrections.
    found : Instances or CocoObjects
        The prediction, or what was read, as it was painted.
    class_names : sequence of str, optional
        Those of `found` if not given.
    **columns
        One value an object of the label image, in ascending order of the labels:
        ``class_ids``, ``scores``, ``track_ids``, ``reviewed``, ``crowd``.  Without
        them, those of the objects that were found are kept.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _check_shape(label_image, found)
    known = _table(found)
    names = tuple(known.class_names if class_names is None else class_names)
    known = _renamed(known, names)
    shown = CocoObjects.from_label_image(label_image, class_names=names, **columns)
    shown = replace(shown, class_names=known.class_names)
    painted = found.to_label_image()
    seen = known.select(_painted(known, painted))
    lasting: dict[str, Any] = {
        name: _taken_over(shown, seen, name) for name in _LASTING if name not in columns
    }
    shown = replace(shown, **lasting)
    return _with_whole_masks(shown, label_image, known, painted)


def with_whole_masks(
    shown: CocoObjects, label_image: np.ndarray, found: Instances | CocoObjects
) -> CocoObjects:
    """Put what a label image hides of the objects found back into its objects.

    Parameters
    ----------
    shown : CocoObjects
        The objects of the label image, from `CocoObjects.from_label_image`; their
        columns stand.
    label_image : np.ndarray
        ``(H, W)`` integer: ``found.to_label_image()`` after a person's corrections.
    found : Instances or CocoObjects
        As in `corrected`.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _check_shape(label_image, found)
    known = _renamed(_table(found), shown.class_names)
    shown = replace(shown, class_names=known.class_names)
    return _with_whole_masks(shown, label_image, known, found.to_label_image())


def _with_whole_masks(
    shown: CocoObjects,
    label_image: np.ndarray,
    known: CocoObjects,
    painted: np.ndarray,
) -> CocoObjects:
    visible = _painted(known, painted)
    seen = known.select(visible)
    shown = replace(
        shown,
        annotation_ids=_taken_over(shown, seen, "annotation_ids"),
        extras=_by_label(shown, seen, seen.extras, {}),
        keypoints=_by_label(shown, seen, seen.keypoints, None),
        skeletons={**known.skeletons, **shown.skeletons},
    )
    changed = painted != label_image
    touched = np.union1d(painted[changed], label_image[changed])
    whole = np.flatnonzero(visible & ~np.isin(known.ids, touched))
    unseen = np.flatnonzero(~visible)
    unseen = unseen[~_all_changed(known, unseen, changed)]
    known = _with_free_ids(known, unseen, shown.ids)
    return _joined(shown, known, whole, unseen)


def _check_shape(label_image: np.ndarray, found: Instances | CocoObjects) -> None:
    if label_image.shape != tuple(found.image_shape):
        raise ValueError(
            f"the label image has shape {label_image.shape}, "
            f"the instances {tuple(found.image_shape)}"
        )


def _table(found: Instances | CocoObjects) -> CocoObjects:
    if isinstance(found, CocoObjects):
        return found
    return CocoObjects.from_instances(found)


def _renamed(known: CocoObjects, names: tuple[str, ...]) -> CocoObjects:
    """Return the objects with classes counted by `names`, and by what these lack."""
    names = (*names, *(name for name in known.class_names if name not in names))
    place = np.array([0, *(names.index(name) + 1 for name in known.class_names)])
    return replace(known, class_ids=place[known.class_ids], class_names=names)


def _taken_over(shown: CocoObjects, known: CocoObjects, name: str) -> np.ndarray:
    """Return a column of `shown` with the values of the objects that were found."""
    column: np.ndarray = getattr(shown, name).copy()
    _, here, there = np.intersect1d(shown.ids, known.ids, return_indices=True)
    column[here] = getattr(known, name)[there]
    return column


def _by_label(
    shown: CocoObjects, known: CocoObjects, values: Sequence[Any], default: Any
) -> tuple[Any, ...]:
    of = dict(zip(known.ids.tolist(), values, strict=True))
    return tuple(of.get(label, default) for label in shown.ids.tolist())


def _painted(known: CocoObjects, painted: np.ndarray) -> np.ndarray:
    """Return which objects have a pixel in the picture."""
    return np.isin(known.ids, from_label_image(painted)[0])


def _all_changed(
    known: CocoObjects, numbers: np.ndarray, changed: np.ndarray
) -> np.ndarray:
    """Return which of some objects lie where every pixel was changed."""
    runs = known.runs[numbers]
    gone = np.zeros(len(numbers), dtype=bool)
    boxes = runs.boxes().tolist()
    for place, (crop, box) in enumerate(zip(runs.crops(), boxes, strict=True)):
        x0, y0, x1, y1 = box
        inside = crop > 0
        gone[place] = inside.any() and changed[y0:y1, x0:x1][inside].all()
    return gone


def _with_free_ids(
    known: CocoObjects, numbers: np.ndarray, taken: np.ndarray
) -> CocoObjects:
    """Give unseen objects other ids where a person, who could not know, took theirs."""
    clash = numbers[np.isin(known.ids[numbers], taken)]
    if not len(clash):
        return known
    ids = known.ids.copy()
    last = max(int(ids.max()), int(taken.max()))
    ids[clash] = np.arange(last + 1, last + 1 + len(clash))
    return replace(known, ids=ids)


def _joined(
    shown: CocoObjects, known: CocoObjects, whole: np.ndarray, unseen: np.ndarray
) -> CocoObjects:
    """Take the masks of `whole` from what was found and append the `unseen`."""
    columns = (
        *("ids", "class_ids", "scores", "track_ids", "reviewed", "crowd"),
        *("annotation_ids", "orders"),
    )
    both = {
        name: np.concatenate([getattr(shown, name), getattr(known, name)[unseen]])
        for name in columns
    }
    place = {label: number for number, label in enumerate(shown.ids.tolist())}
    taken = np.array([place[i] for i in known.ids[whole].tolist()], dtype=np.int64)
    added = np.arange(len(shown), len(shown) + len(unseen))
    kept = np.setdiff1d(np.arange(len(shown)), taken)
    parts = [(kept, shown.runs[kept]), (taken, known.runs[whole])]
    runs = gathered(
        shown.image_shape, len(both["ids"]), [*parts, (added, known.runs[unseen])]
    )
    boxes = runs.boxes().astype(np.float64)
    boxes[taken], boxes[added] = known.boxes[whole], known.boxes[unseen]
    # What was edited is seen whole, so it lies on top.
    both["orders"][kept] = known.orders.max(initial=0) + 1 if len(known) else 0
    both["orders"][taken] = known.orders[whole]
    extras = (*shown.extras, *(known.extras[number] for number in unseen.tolist()))
    rest = [known.keypoints[number] for number in unseen.tolist()]
    extents = [None] * len(shown) + [known.extents[number] for number in unseen]
    for number, other in zip(taken.tolist(), whole.tolist(), strict=True):
        extents[number] = known.extents[other]
    return CocoObjects(
        runs=runs,
        class_names=shown.class_names,
        boxes=boxes,
        extras=extras,
        keypoints=(*shown.keypoints, *rest),
        skeletons=shown.skeletons,
        extents=tuple(extents),
        **both,
    )
