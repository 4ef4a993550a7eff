"""Segmentations as they are found in files, sorted into polygons and encodings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.coco import polygons, rle
from napari_maskrcnn.core.coco.runs import Runs, gathered
from napari_maskrcnn.core.coco.values import numbers, shown, whole

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = (
    5_000_000  # pixels along one outline: COCO's rasteriser walks them one by one
)
_FAR = 20  # frames beside the frame that a vertex may lie: it walks there, too
_FARTHEST = 2**31 // 8  # five times a coordinate is a 32-bit number there


@dataclass(slots=True)
class Shapes:
    """The segmentations of one image's objects, on their way to runs.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width)``.
    report : callable
        Takes the number of an object, what is wrong and what is done about it.
    """

    image_shape: tuple[int, int]
    report: Callable[[int, str, str], None]
    count: int = 0
    _polygons: dict[int, list[list[float]]] = field(default_factory=dict)
    _strings: dict[int, str] = field(default_factory=dict)
    _counts: dict[int, list[int]] = field(default_factory=dict)

    def add(self, segmentation: Any) -> bool:
        """Take the segmentation of the next object; False if it cannot be used."""
        number = self.count
        self.count += 1
        if isinstance(segmentation, dict):
            return self._add_rle(number, segmentation)
        if segmentation is None or segmentation == []:
            return True  # an object that has only a box
        if isinstance(segmentation, list):
            return self._add_polygons(number, segmentation)
        what = f"segmentation is {shown(segmentation)}"
        self.report(number, what, "skipped")
        return False

    def to_runs(self) -> tuple[Runs, set[int]]:
        """Return the runs of all objects, and the numbers of those that failed."""
        decoded, wrong = rle.decode(list(self._strings.values()), self.image_shape)
        faults = dict(
            zip(self._strings, map(wrong.get, range(len(decoded))), strict=True)
        )
        sizes = np.array(
            [len(counts) for counts in self._counts.values()], dtype=np.int64
        )
        flat = np.array(
            [c for counts in self._counts.values() for c in counts], np.int64
        )
        listed, wrong = rle.from_counts(flat, sizes, self.image_shape)
        faults |= zip(self._counts, map(wrong.get, range(len(listed))), strict=True)
        failed = {number for number, what in faults.items() if what is not None}
        for number in sorted(failed):
            self.report(number, f"segmentation: {faults[number]}", "skipped")
        drawn = polygons.rasterise(list(self._polygons.values()), self.image_shape)
        parts = [
            (np.array(list(part), dtype=np.int64), runs)
            for part, runs in (
                (self._strings, decoded),
                (self._counts, listed),
                (self._polygons, drawn),
            )
        ]
        return gathered(self.image_shape, self.count, parts), failed

    def _add_rle(self, number: int, segmentation: dict[str, Any]) -> bool:
        size = segmentation.get("size")
        if size is None:
            self.report(
                number, "segmentation has no size", "that of the image is taken"
            )
        elif not isinstance(size, list) or [whole(value) for value in size] != [
            *self.image_shape
        ]:
            what = f"segmentation size is {shown(size)}, not {[*self.image_shape]}"
            if size == [*self.image_shape][::-1]:
                what += " (height and width swapped)"
            self.report(number, what, "skipped")
            return False
        counts = segmentation.get("counts")
        if isinstance(counts, str):
            self._strings[number] = counts
            return True
        listed = numbers(counts)
        if listed is None or any(value != int(value) for value in listed):
            self.report(number, f"segmentation counts are {shown(counts)}", "skipped")
            return False
        if max(map(abs, listed), default=0) > rle.MAX_FRAME:
            self.report(number, "segmentation counts exceed the image", "skipped")
            return False
        self._counts[number] = [int(value) for value in listed]
        return True

    def _add_polygons(self, number: int, segmentation: list[Any]) -> bool:
        rings = []
        for ring in self._rings(number, segmentation):
            what = self._fault(ring)
            if what is None:
                rings.append(numbers(ring) or [])
            else:
                self.report(number, what, "this polygon is left out")
        if not rings:
            self.report(number, "segmentation has no usable polygon", "skipped")
            return False
        height, width = self.image_shape
        outside = max(
            max(-min(ring), max(ring[0::2]) - width, max(ring[1::2]) - height)
            for ring in rings
        )
        if outside > 1:
            what = f"segmentation reaches {outside:.6g} pixels out of the image"
            self.report(number, what, "clipped")
        self._polygons[number] = rings
        return True

    def _rings(self, number: int, segmentation: list[Any]) -> list[Any]:
        """Return the polygons, whether they are nested as they should or not."""
        if not isinstance(segmentation[0], list):
            self.report(number, "segmentation is a bare list", "read as one polygon")
            return [segmentation]
        if all(
            isinstance(r, list) and r and isinstance(r[0], list) for r in segmentation
        ):
            self.report(
                number, "segmentation is nested too deep", "read one level down"
            )
            segmentation = [ring for rings in segmentation for ring in rings]
        if len(segmentation) > 2 and all(
            isinstance(ring, list) and len(ring) == 2 for ring in segmentation
        ):
            self.report(
                number, "segmentation is a list of points", "read as one polygon"
            )
            return [[value for point in segmentation for value in point]]
        return segmentation

    def _fault(self, ring: Any) -> str | None:
        """Return what is wrong with a polygon."""
        values = numbers(ring)
        if values is None:
            return f"segmentation holds {shown(ring)}, which is no list of numbers"
        if len(values) < 6 or len(values) % 2:
            return f"segmentation holds a polygon of {len(values)} numbers"
        far = min(_FAR * max(*self.image_shape, 100), _FARTHEST)
        if max(values) > far or min(values) < -far:
            return f"segmentation lies more than {far} pixels away"
        points = np.array(values).reshape(-1, 2)
        steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1)
        if steps.sum() > _LONGEST:
            return f"segmentation has an outline of {steps.sum():.0f} pixels"
        return None
