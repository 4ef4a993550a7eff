"""Masks as COCO segmentations, in the mode that the readers need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from scipy.ndimage import binary_fill_holes

from napari_maskrcnn.core.coco import polygons, rle
from napari_maskrcnn.core.coco.errors import Fault
from napari_maskrcnn.core.coco.extract import from_masks
from napari_maskrcnn.core.coco.runs import gathered

if TYPE_CHECKING:
    from napari_maskrcnn.core.coco.objects import CocoObjects
    from napari_maskrcnn.core.coco.polygons import Outlines
    from napari_maskrcnn.core.coco.runs import Runs

Mode: TypeAlias = Literal["auto", "rle", "polygon"]


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """The segmentations of N objects, and what was done to write them.

    Parameters
    ----------
    segmentations : list
        A list of polygons, an RLE, or an empty list for an object without a pixel; in
        mode "auto" as it was read, where that is known.
    objects : CocoObjects
        The objects as the segmentations show them: holes that had to go are filled.
    polygons, rles, boxes : int
        Number of objects of each kind.
    faults : list of Fault
        Holes filled, parts of one object, objects without a pixel.
    """

    segmentations: list[Any]
    objects: CocoObjects
    polygons: int
    rles: int
    boxes: int
    faults: list[Fault]


def written_segmentations(objects: CocoObjects, mode: Mode, name: str) -> Written:
    """Return the segmentations of the objects of the image that is called `name`."""
    has_mask = objects.runs.areas() > 0
    as_rle = has_mask
    outlines = None
    faults = _without_pixels(objects, has_mask, name)
    if mode != "rle":
        outlines = polygons.trace(objects.runs)
        as_rle = has_mask & ((outlines.holes > 0) | objects.crowd)
    if mode == "polygon" and outlines is not None:
        as_rle = np.zeros_like(has_mask)
        objects, outlines = _without_holes(objects, outlines, name, faults)
    segmentations = _segmentations(objects.runs, has_mask, as_rle, outlines)
    if mode == "auto":
        for number, known in enumerate(objects.extents):
            if known is not None and has_mask[number]:
                segmentations[number] = known.segmentation
                as_rle[number] = isinstance(known.segmentation, dict)
    return Written(
        segmentations,
        objects,
        polygons=int((has_mask & ~as_rle).sum()),
        rles=int(as_rle.sum()),
        boxes=int((~has_mask).sum()),
        faults=faults,
    )


def _segmentations(
    runs: Runs, has_mask: np.ndarray, as_rle: np.ndarray, outlines: Outlines | None
) -> list[Any]:
    segmentations: list[Any] = [[] for _ in range(len(runs))]
    if outlines is not None:
        for number in np.flatnonzero(has_mask & ~as_rle).tolist():
            segmentations[number] = outlines.parts[number]
    numbers = np.flatnonzero(as_rle)
    size = list(runs.image_shape)
    for number, counts in zip(numbers.tolist(), rle.encode(runs[numbers]), strict=True):
        segmentations[number] = {"size": size, "counts": counts}
    return segmentations


def _without_pixels(
    objects: CocoObjects, has_mask: np.ndarray, name: str
) -> list[Fault]:
    """Report objects that should have pixels; those that are boxes need none."""
    return [
        Fault(
            f"{name}, label {objects.ids[number]}",
            "has no pixel",
            "written as its box only",
        )
        for number in np.flatnonzero(~has_mask).tolist()
        if objects.extents[number] is None
    ]


def _without_holes(
    objects: CocoObjects, outlines: Outlines, name: str, faults: list[Fault]
) -> tuple[CocoObjects, Outlines]:
    """Fill the holes; report them and the objects of several parts."""
    full = np.flatnonzero(outlines.holes)
    if len(full):
        chosen = objects.runs[full]
        # The outside reaches in through corners: the parts of an object do not.
        masks = [
            binary_fill_holes(crop > 0, structure=np.ones((3, 3), dtype=bool))
            for crop in chosen.crops()
        ]
        filled = from_masks(masks, chosen.boxes()[:, [1, 0]], objects.image_shape)
        for number, more in zip(full, filled.areas() - chosen.areas(), strict=True):
            where = f"{name}, label {objects.ids[number]}"
            count = outlines.holes[number]
            what = f"{count} hole{'s' if count > 1 else ''} of {more} pixels"
            faults.append(Fault(where, what, "filled: a polygon holds none"))
        others = np.flatnonzero(outlines.holes == 0)
        parts = [(others, objects.runs[others]), (full, filled)]
        runs = gathered(objects.image_shape, len(objects), parts)
        objects, outlines = replace(objects, runs=runs), polygons.trace(runs)
    for label, rings in zip(objects.ids.tolist(), outlines.parts, strict=True):
        if len(rings) > 1:
            what = f"{len(rings)} separate parts"
            done = "written as polygons of one object"
            faults.append(Fault(f"{name}, label {label}", what, done))
    return objects, outlines
