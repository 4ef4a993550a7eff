"""What a person has looked at and found right.

There are two kinds of marks, and both live with the layer:

* an object that was approved has True in the column ``reviewed`` of the layer's table;
* a region in which everything is right, background included, stands in the layer's
  metadata, ``metadata["napari-maskrcnn"]["regions"]``, as
  ``{"plane": [position along each other axis], "box": [y0, x0, y1, x1]}``, the maximum
  one past the last pixel.  A whole plane approved is a region that covers it.

Marking a region approves the objects that lie in it as a whole.  Taking the mark off
such an object takes off the region too, since not everything in it is right then.

Each of these acts is one undo step where napari can undo in the layer at all.
"""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.viewer.features import (
    METADATA,
    count_objects,
    has_table,
    normalised,
    update_features,
)
from napari_maskrcnn.viewer.history import history_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    import pandas as pd
    from napari.layers import Labels
    from numpy.typing import ArrayLike, NDArray

    from napari_maskrcnn.viewer.layers import Plane

Region = dict[str, list[int]]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Reviewed:
    """What of a plane was reviewed.

    Parameters
    ----------
    ids : ndarray
        Shape (N,), int64, rising: the objects that were approved, or that lie in the
        regions as a whole.
    region : ndarray
        Shape (H, W), bool: where everything is right, background included.
    """

    ids: NDArray[np.int64]
    region: NDArray[np.bool_]


def reviewed_of(layer: Labels, plane: Plane) -> Reviewed:
    """Return what of a plane was reviewed, for learning and for export.

    Parameters
    ----------
    layer : Labels
        A layer with one resolution level.
    plane : Plane
        Which plane of it.
    """
    pixels = np.asarray(layer.data[plane.index])
    ids, _ = count_objects(pixels)
    boxes = regions_of(layer, plane)
    known = np.isin(ids, approved(layer)) | np.isin(ids, whole_in(pixels, boxes))
    return Reviewed(ids[known], region_mask(pixels.shape, boxes))


def approved(layer: Labels) -> NDArray[np.int64]:
    """Return the ids whose rows in the table say that they were approved."""
    table = layer.features
    if not has_table(layer) or "reviewed" not in table:
        return np.empty(0, np.int64)
    # The column may have been filled by others, with missing values.
    marked = (table["reviewed"] == True).to_numpy(bool)  # noqa: E712
    return table["index"].to_numpy(np.int64)[marked]


def regions(layer: Labels) -> list[Region]:
    """Return the layer's regions; what others put there in another form is left out."""
    found = layer.metadata.get(METADATA, {}).get("regions")
    return [
        region
        for region in (found if isinstance(found, list | tuple) else ())
        if isinstance(region, dict)
        and len(region.get("box", ())) == 4
        and "plane" in region
    ]


def regions_of(layer: Labels, plane: Plane) -> list[Box]:
    """Return the boxes (y0, x0, y1, x1) of a plane in which everything is right."""
    return [
        (int(y0), int(x0), int(y1), int(x1))
        for region in regions(layer)
        if list(region["plane"]) == list(plane.position)
        for y0, x0, y1, x1 in [region["box"]]
    ]


def region_mask(shape: tuple[int, ...], boxes: Iterable[Box]) -> NDArray[np.bool_]:
    """Return where in an image of `shape`, (H, W), any of the boxes lies."""
    mask = np.zeros(shape, np.bool_)
    for y0, x0, y1, x1 in boxes:
        mask[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = True
    return mask


def whole_in(pixels: NDArray[Any], boxes: Iterable[Box]) -> NDArray[np.int64]:
    """Return the ids of the objects that lie in the regions with all their pixels.

    Parameters
    ----------
    pixels : ndarray
        Shape (H, W): the label image.
    boxes : iterable of tuple
        (y0, x0, y1, x1) of each region.
    """
    mask = region_mask(pixels.shape, boxes)
    if not mask.any():
        return np.empty(0, np.int64)
    inside = count_objects(np.where(mask, pixels, 0))[0]
    outside = count_objects(np.where(mask, 0, pixels))[0]
    return np.setdiff1d(inside, outside, assume_unique=True)


# ---- acts


def set_reviewed(
    layer: Labels, plane: Plane, ids: ArrayLike, reviewed: bool = True
) -> None:
    """Approve objects of a plane, or take the mark off them again.

    Parameters
    ----------
    layer : Labels
        A layer with one resolution level.
    plane : Plane
        The plane that the objects are on.
    ids : array-like of int
        The objects.
    reviewed : bool
        False takes the mark off.
    """
    right = regions(layer)
    if not reviewed and right:
        pixels = np.asarray(layer.data[plane.index])
        wrong = np.isin(pixels, np.asarray(ids))
        gone = [b for b in regions_of(layer, plane) if _any_in(wrong, b)]
        right = [r for r in right if not _is_one_of(r, plane, gone)]
    with act(layer, right):
        ensure_rows(layer, plane)
        set_values(layer, ids, reviewed=reviewed)


def add_region(layer: Labels, plane: Plane, box: Box) -> int:
    """Say that everything in a box is right; return how many objects that approves.

    Parameters
    ----------
    layer : Labels
        A layer with one resolution level.
    plane : Plane
        The plane that the box is on.
    box : tuple of int
        (y0, x0, y1, x1); what lies beyond the image is cut off.

    Raises
    ------
    ValueError
        When nothing of the box lies on the image.
    """
    pixels = np.asarray(layer.data[plane.index])
    height, width = pixels.shape
    y0, y1 = (min(max(0, int(edge)), height) for edge in (box[0], box[2]))
    x0, x1 = (min(max(0, int(edge)), width) for edge in (box[1], box[3]))
    if y0 >= y1 or x0 >= x1:
        raise ValueError(f"no part of the box {tuple(box)} lies on the image")
    inside = (y0, x0, y1, x1)
    covered = [b for b in regions_of(layer, plane) if _covers(inside, b)]
    right = [r for r in regions(layer) if not _is_one_of(r, plane, covered)]
    right.append({"plane": list(plane.position), "box": [*inside]})
    ids = whole_in(pixels, [inside])
    with act(layer, right):
        ensure_rows(layer, plane)
        set_values(layer, ids, reviewed=True)
    return int(ids.size)


def approve_plane(layer: Labels, plane: Plane) -> int:
    """Say that everything on a plane is right; return how many objects it has."""
    height, width = layer.data[plane.index].shape
    return add_region(layer, plane, (0, 0, height, width))


def clear_regions(layer: Labels, plane: Plane) -> None:
    """Forget the regions of a plane; the objects stay approved."""
    boxes = regions_of(layer, plane)
    if boxes:
        rest = [r for r in regions(layer) if not _is_one_of(r, plane, boxes)]
        with act(layer, rest):
            pass


# ---- what the acts are made of


def act(
    layer: Labels, right: list[Region] | None = None, **kept: Any
) -> AbstractContextManager[None]:
    """Return a context in which all changes of the table are one undo step.

    Parameters
    ----------
    layer : Labels
        The layer.
    right : list of dict, optional
        The layer's regions from now on.
    **kept
        Other entries of our part of the layer's metadata from now on.
    """
    if right is not None:
        kept["regions"] = right
    now = layer.metadata.get(METADATA, {})
    old = {name: now.get(name) for name in kept}
    changed = {n: v for n, v in kept.items() if v != (old[n] if old[n] else [])}
    undo: Callable[[], None] | None = None
    redo: Callable[[], None] | None = None
    if changed:
        reference = weakref.ref(layer)
        undo, redo = partial(_keep, reference, old), partial(_keep, reference, changed)
        redo()
    if not can_undo_in(layer):
        return nullcontext()
    return history_of(layer).one_step(undo, redo)


def can_undo_in(layer: Labels) -> bool:
    """Whether napari can record undo steps of the layer."""
    data = layer.data
    return (
        isinstance(data, np.ndarray) and data.flags.writeable and bool(layer.editable)
    )


def ensure_rows(layer: Labels, plane: Plane) -> None:
    """Give every object of a plane a row in the layer's table."""
    ids, _ = count_objects(np.asarray(layer.data[plane.index]))
    if not has_table(layer) or not np.isin(ids, layer.features["index"]).all():
        update_features(layer, plane)


def set_values(layer: Labels, ids: ArrayLike, **values: Any) -> None:
    """Set columns in the rows of these objects; to be called inside `act`."""
    table: pd.DataFrame = normalised(layer.features)
    chosen = table["index"].isin(np.asarray(ids, np.int64).reshape(-1))
    for name, value in values.items():
        table.loc[chosen, name] = value
    if not table.equals(layer.features):
        layer.features = table


def _keep(reference: weakref.ref[Labels], values: dict[str, Any]) -> None:
    """Put values into our part of the layer's metadata; None takes them out."""
    layer = reference()
    if layer is None:
        return
    kept = {**layer.metadata.get(METADATA, {}), **values}
    kept = {name: value for name, value in kept.items() if value is not None}
    layer.metadata = {**layer.metadata, METADATA: kept}


def _is_one_of(region: Region, plane: Plane, boxes: Iterable[Box]) -> bool:
    return list(region["plane"]) == list(plane.position) and tuple(
        region["box"]
    ) in set(boxes)


def _covers(outer: Box, inner: Box) -> bool:
    return (
        outer[0] <= inner[0]
        and outer[1] <= inner[1]
        and outer[2] >= inner[2]
        and outer[3] >= inner[3]
    )


def _any_in(mask: NDArray[np.bool_], box: Box) -> bool:
    y0, x0, y1, x1 = box
    return bool(mask[max(0, y0) : y1, max(0, x0) : x1].any())
