"""Objects as runs of pixels: the form between label images, masks, RLE and polygons.

A run is a stretch of pixels of one object along the columns of the frame, which is the
order of COCO's run-length encoding.  The runs of all objects of a frame stand in three
flat arrays, so thousands of objects cost a few numpy calls, and none needs a mask of
the whole frame.  Objects may overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The pixels of N objects of one frame.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width)`` of the frame in pixels.
    count : int
        Number of objects N, those without a pixel included.
    objects : np.ndarray
        ``(R,)`` int64, the object of each run, ``0..N-1``, ascending.
    starts, stops : np.ndarray
        ``(R,)`` int64, first position of each run and the one after its last, counted
        down the columns: ``x * height + y``.  Within an object they ascend and no run
        touches the next.
    """

    image_shape: tuple[int, int]
    count: int
    objects: np.ndarray
    starts: np.ndarray
    stops: np.ndarray

    def __len__(self) -> int:
        """Return the number of objects."""
        return self.count

    def __getitem__(self, which: Sequence[int] | np.ndarray) -> Runs:
        """Return the runs of some objects, in the order of the indices `which`."""
        indices = np.asarray(which, dtype=np.int64)
        firsts = self.firsts()
        sizes = np.diff(firsts)[indices]
        objects = np.repeat(np.arange(len(indices), dtype=np.int64), sizes)
        take = np.repeat(firsts[:-1][indices], sizes) + ranges(sizes)
        return Runs(
            self.image_shape,
            len(indices),
            objects,
            self.starts[take],
            self.stops[take],
        )

    def firsts(self) -> np.ndarray:
        """Return ``(N + 1,)`` int64: the runs of object i are ``firsts[i:i+2]``."""
        sizes = np.bincount(self.objects, minlength=self.count)
        firsts = np.zeros(self.count + 1, dtype=np.int64)
        np.cumsum(sizes, out=firsts[1:])
        return firsts

    def areas(self) -> np.ndarray:
        """Return ``(N,)`` int64, pixels of each object."""
        total = np.concatenate([[0], np.cumsum(self.stops - self.starts)])
        areas: np.ndarray = np.diff(total[self.firsts()])
        return areas

    def boxes(self) -> np.ndarray:
        """Return ``(N, 4)`` int64 tight boxes ``x0, y0, x1, y1`` (max + 1).

        An object without a pixel has the box ``0, 0, 0, 0``.
        """
        boxes = np.zeros((self.count, 4), dtype=np.int64)
        if not len(self.objects):
            return boxes
        height = self.image_shape[0]
        x0, y0 = np.divmod(self.starts, height)
        x1, y1 = np.divmod(self.stops - 1, height)
        crosses = x0 != x1  # touches the top and the bottom of the frame
        y0[crosses], y1[crosses] = 0, height - 1
        sizes = np.bincount(self.objects, minlength=self.count)
        filled = sizes > 0
        firsts = self.firsts()[:-1][filled]
        boxes[filled, 0] = np.minimum.reduceat(x0, firsts)
        boxes[filled, 1] = np.minimum.reduceat(y0, firsts)
        boxes[filled, 2] = np.maximum.reduceat(x1, firsts) + 1
        boxes[filled, 3] = np.maximum.reduceat(y1, firsts) + 1
        return boxes

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Cut the runs where a column ends.

        Returns
        -------
        of, x, top, bottom : np.ndarray
            int64, one a piece: the run it comes from, its column, its first row and
            the one after its last.
        """
        height = self.image_shape[0]
        first = self.starts // max(height, 1)
        spans = (self.stops - 1) // max(height, 1) - first + 1
        if not len(spans) or spans.max() == 1:
            of = np.arange(len(spans))
            return of, first, self.starts - first * height, self.stops - first * height
        of = np.repeat(np.arange(len(spans)), spans)
        x = first[of] + ranges(spans)
        top = np.maximum(self.starts[of] - x * height, 0)
        return of, x, top, np.minimum(self.stops[of] - x * height, height)

    def crops(self) -> list[np.ndarray]:
        """Return each object's mask cut to its box: N arrays (h, w) uint8, 0 or 255."""
        boxes = self.boxes()
        widths, heights = (boxes[:, 2:] - boxes[:, :2]).T
        ends = np.cumsum(widths * heights)
        begins = ends - widths * heights
        buffer = np.zeros(int(ends[-1]) + 1 if len(ends) else 1, dtype=np.uint8)
        x, y = np.divmod(self.starts, self.image_shape[0])
        of = self.objects
        local = begins[of] + (x - boxes[of, 0]) * heights[of] + (y - boxes[of, 1])
        # The sum of these steps is 255 inside and 0 outside, modulo 256.  A run can
        # end where the next object's first begins, so this is not an assignment.
        buffer[local] += np.uint8(255)
        buffer[local + self.stops - self.starts] += np.uint8(1)
        np.cumsum(buffer, out=buffer)
        return [
            buffer[begin:end].reshape(width, height).T
            for begin, end, width, height in zip(
                begins.tolist(),
                ends.tolist(),
                widths.tolist(),
                heights.tolist(),
                strict=True,
            )
        ]

    def to_label_image(
        self, ids: np.ndarray, dtype: Any, ranks: np.ndarray | None = None
    ) -> np.ndarray:
        """Paint the objects, later ones over earlier ones.

        Parameters
        ----------
        ids : np.ndarray
            ``(N,)`` integer, the value of each object.
        dtype : data-type
            Integer dtype that holds all `ids`.
        ranks : np.ndarray, optional
            ``(N,)``: where two objects share a pixel, the one of higher rank has it,
            instead of the later one.

        Returns
        -------
        np.ndarray
            ``(H, W)`` label image, 0 where no object is.
        """
        label_image = np.zeros(self.image_shape, dtype=dtype)
        alone, overlapping = self._split_overlapping()
        _paint_disjoint(label_image, alone, np.asarray(ids))
        objects = overlapping.objects
        order = np.argsort(objects if ranks is None else ranks[objects], kind="stable")
        _paint_in_order(label_image, overlapping, np.asarray(ids), order)
        return label_image

    def overlap(self) -> int:
        """Return the number of pixels that belong to more than one object."""
        _, overlapping = self._split_overlapping()
        positions = np.concatenate([overlapping.starts, overlapping.stops])
        steps = np.repeat([1, -1], len(overlapping.starts))
        order = np.argsort(positions)
        depth = np.cumsum(steps[order])[:-1]
        return int(np.diff(positions[order])[depth > 1].sum())

    def _split_overlapping(self) -> tuple[Runs, Runs]:
        """Return the runs that share no pixel with another object, and the others."""
        order = np.argsort(self.starts)
        starts, stops = self.starts[order], self.stops[order]
        reach = np.maximum.accumulate(stops)
        shared = np.zeros(len(order), dtype=bool)
        shared[1:] = starts[1:] < reach[:-1]
        # A run is hit from behind by the next one or by none: starts ascend.
        shared[:-1] |= starts[1:] < stops[:-1]
        if not shared.any():
            return self, self._select(shared)
        chosen = np.empty_like(shared)
        chosen[order] = shared
        return self._select(~chosen), self._select(chosen)

    def _select(self, keep: np.ndarray) -> Runs:
        return Runs(
            self.image_shape,
            self.count,
            self.objects[keep],
            self.starts[keep],
            self.stops[keep],
        )


def ranges(sizes: np.ndarray) -> np.ndarray:
    """Return ``0..sizes[0]-1, 0..sizes[1]-1, ...`` as one flat int64 array."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    places: np.ndarray = np.arange(total) - np.repeat(ends - sizes, sizes)
    return places


def merged(
    image_shape: tuple[int, int],
    count: int,
    objects: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
) -> Runs:
    """Join the sorted runs that touch: one column's bottom and the next one's top."""
    joined = (objects[1:] == objects[:-1]) & (starts[1:] == stops[:-1])
    if joined.any():
        first = np.concatenate([[True], ~joined])
        last = np.concatenate([~joined, [True]])
        objects, starts, stops = objects[first], starts[first], stops[last]
    return Runs(image_shape, count, objects, starts, stops)


def gathered(
    image_shape: tuple[int, int], count: int, parts: Sequence[tuple[np.ndarray, Runs]]
) -> Runs:
    """Put several tables into one of `count` objects.

    Each part comes with the ``(N,)`` numbers of its objects in the new table; objects
    that no part names have no pixel.
    """
    empty = np.empty(0, dtype=np.int64)
    objects = np.concatenate(
        [empty, *(np.asarray(numbers)[runs.objects] for numbers, runs in parts)]
    ).astype(np.int64, copy=False)
    starts = np.concatenate([empty, *(runs.starts for _, runs in parts)])
    stops = np.concatenate([empty, *(runs.stops for _, runs in parts)])
    if (objects[1:] >= objects[:-1]).all():
        return Runs(image_shape, count, objects, starts, stops)
    order = np.argsort(objects, kind="stable")
    return Runs(image_shape, count, objects[order], starts[order], stops[order])


def _paint_disjoint(label_image: np.ndarray, runs: Runs, ids: np.ndarray) -> None:
    """Paint runs that share no pixel: steps at their ends, then one running sum."""
    height, width = label_image.shape
    of, columns, tops, bottoms = runs.columns()
    ids = ids[runs.objects[of]].astype(label_image.dtype)
    flat = label_image.reshape(-1)
    unsigned = flat.view(f"u{flat.itemsize}")  # sums wrap around
    ids = ids.view(unsigned.dtype)
    unsigned[tops * width + columns] += ids
    inside = bottoms < height
    unsigned[bottoms[inside] * width + columns[inside]] -= ids[inside]
    rows = unsigned.reshape(height, width)
    for above, below in pairwise(rows):
        below += above


def _paint_in_order(
    label_image: np.ndarray, runs: Runs, ids: np.ndarray, order: np.ndarray
) -> None:
    """Paint runs one after the other, a few million pixels at a time."""
    height, width = label_image.shape
    flat = label_image.reshape(-1)
    lengths = (runs.stops - runs.starts)[order]
    pieces = np.searchsorted(
        np.cumsum(lengths), np.arange(0, lengths.sum() + 1, 1 << 21)[1:]
    )
    for part in np.split(order, pieces):
        size = (runs.stops - runs.starts)[part]
        positions = np.repeat(runs.starts[part], size) + ranges(size)
        x, y = np.divmod(positions, max(height, 1))
        # Where an index comes twice, the last value stays.
        flat[y * width + x] = np.repeat(ids[runs.objects[part]], size)
