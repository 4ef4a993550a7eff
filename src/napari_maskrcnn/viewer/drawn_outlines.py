"""The outlines of drawn shapes, as the polygons and boxes of a COCO file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.coco import CocoObjects, Extent, box_extent
from napari_maskrcnn.core.coco.polygons import rasterise
from napari_maskrcnn.core.coco.runs import gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Sides that differ by less from upright, in pixels, are upright.
_UPRIGHT = 1e-4
DECIMALS = 2
_ELLIPSE = 48  # corners of the polygon that an ellipse is written as


def outline_of(kind: str, corners: NDArray[Any]) -> NDArray[np.float64]:
    """Return the corners (P, 2) of a shape, y and x in pixel edges."""
    outline = np.asarray(corners, np.float64) + 0.5
    if kind == "ellipse":
        middle = outline.mean(axis=0)
        one, other = (outline[1] - outline[0]) / 2, (outline[3] - outline[0]) / 2
        turn = np.linspace(0, 2 * np.pi, _ELLIPSE, endpoint=False)[:, None]
        return np.asarray(middle + np.cos(turn) * one + np.sin(turn) * other)
    return outline


def is_box(outline: NDArray[np.float64]) -> bool:
    """Whether an outline is a rectangle along the axes."""
    if len(outline) != 4:
        return False
    sides = np.abs(np.diff(outline, axis=0, append=outline[:1]))
    return bool((sides.min(axis=1) < _UPRIGHT).all())


def bounds_of(outline: NDArray[np.float64]) -> list[float]:
    """Return the box around an outline, xyxy, rounded as a file has it."""
    (y0, x0), (y1, x1) = outline.min(axis=0), outline.max(axis=0)
    return [round(float(value), DECIMALS) for value in (x0, y0, x1, y1)]


def with_polygons(
    objects: CocoObjects, outlines: Sequence[NDArray[np.float64]]
) -> CocoObjects:
    """Give the objects that are no plain boxes their pixels and their outlines."""
    drawn = [n for n, outline in enumerate(outlines) if not is_box(outline)]
    if not drawn:
        return objects
    rings = {
        number: outlines[number][:, ::-1].round(DECIMALS).ravel().tolist()
        for number in drawn
    }
    runs = rasterise([[rings[number]] for number in drawn], objects.image_shape)
    extents = list(objects.extents)
    for number in drawn:
        bbox = box_extent(objects.boxes[number]).bbox
        extents[number] = Extent([rings[number]], _area(outlines[number]), bbox)
    runs = gathered(objects.image_shape, len(objects), [(np.array(drawn), runs)])
    return replace(objects, runs=runs, extents=tuple(extents))


def _area(outline: NDArray[np.float64]) -> float:
    y, x = outline.T
    return round(abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2, DECIMALS)
