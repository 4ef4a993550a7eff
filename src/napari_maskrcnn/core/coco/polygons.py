"""Polygons along the pixel edges: exact in every reader that rasterises like COCO.

Vertices are integers: the corners of pixels, so that a single pixel is a unit square.
The COCO API decides by the centre of a pixel, and no edge here meets a centre; contours
through pixel centres, as OpenCV draws them, lose half a pixel on every side.

Pixels that touch only at a corner belong to different polygons, so no polygon crosses
itself.  A polygon cannot hold a hole: COCO unites the polygons of an object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_maskrcnn.core.coco import rle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_maskrcnn.core.coco.runs import Runs


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """The outlines of N objects.

    Parameters
    ----------
    parts : list of list of list of int
        For each object its polygons ``[x0, y0, x1, y1, ...]``, holes left out.
    holes : np.ndarray
        ``(N,)`` int64, number of holes of each object, filled in its polygons.
    """

    parts: list[list[list[int]]]
    holes: np.ndarray


def trace(runs: Runs) -> Outlines:
    """Return the outlines of all objects, along the pixel edges."""
    if not len(runs.objects):
        return Outlines([[] for _ in range(len(runs))], np.zeros(len(runs), np.int64))
    edges = _horizontal_edges(runs)
    order, sizes = _rings(_successors(edges, runs.image_shape))
    begins = np.cumsum(sizes) - sizes
    # Down is positive: with the object on its right, an outline has positive area.
    height = np.where(edges.is_top, -edges.y, edges.y) * (edges.right - edges.left)
    is_hole = np.add.reduceat(height[order], begins) < 0
    objects = edges.objects[order][begins]
    tails = np.where(edges.is_top, edges.left, edges.right)
    heads = np.where(edges.is_top, edges.right, edges.left)
    points = np.stack([tails, edges.y, heads, edges.y], axis=1)[order]
    values = points.reshape(-1).tolist()
    parts: list[list[list[int]]] = [[] for _ in range(len(runs))]
    rows = zip(objects.tolist(), begins.tolist(), sizes.tolist(), is_hole, strict=True)
    for number, begin, size, hole in rows:
        if not hole:
            parts[number].append(values[4 * begin : 4 * (begin + size)])
    return Outlines(parts, np.bincount(objects[is_hole], minlength=len(runs)))


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """Horizontal edges: the object lies below those at a top, above the others."""

    objects: np.ndarray
    y: np.ndarray
    left: np.ndarray
    right: np.ndarray
    is_top: np.ndarray


def _horizontal_edges(runs: Runs) -> _Edges:
    """Join the tops, and the bottoms, of neighbouring columns into edges."""
    height, width = runs.image_shape
    of, x, top, bottom = runs.columns()
    tables = []
    for is_top, y in ((True, top), (False, bottom)):
        # A gap at the end of a row keeps rows apart.
        keys = np.sort((runs.objects[of] * (height + 1) + y) * (width + 1) + x)
        breaks = np.flatnonzero(np.diff(keys) != 1) + 1
        first = keys[np.concatenate([[0], breaks])]
        last = keys[np.append(breaks, len(keys)) - 1]
        rows, left = np.divmod(first, width + 1)
        objects, y = np.divmod(rows, height + 1)
        tables.append((objects, y, left, left + last - first + 1, is_top))
    objects, y, left, right = (
        np.concatenate([table[i] for table in tables]) for i in range(4)
    )
    first_bottom = len(tables[0][0])
    return _Edges(objects, y, left, right, np.arange(len(objects)) < first_bottom)


def _successors(edges: _Edges, image_shape: tuple[int, int]) -> np.ndarray:
    """Return the edge that follows each edge, going round with the object on the right.

    Seen along a vertical line, the ends of an object's horizontal edges come in pairs,
    and each pair is joined by a vertical edge.  Where two pixels touch at a corner, two
    ends lie on one point: the edge at a bottom belongs to the pixel above.
    """
    height, width = image_shape
    count = len(edges.y)
    ends = np.concatenate([edges.left, edges.right])
    line = np.tile(edges.objects * (width + 1), 2) + ends
    order = np.argsort(
        (line * (height + 1) + np.tile(edges.y, 2)) * 2 + np.tile(edges.is_top, 2)
    )
    partner = np.empty(2 * count, dtype=np.int64)
    partner[order[0::2]] = order[1::2]
    partner[order[1::2]] = order[0::2]
    heads = np.arange(count) + np.where(edges.is_top, count, 0)
    successors: np.ndarray = partner[heads] % count
    return successors


def _rings(successors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges ring after ring, and the number of edges of each ring."""
    following = successors.tolist()
    seen = bytearray(len(following))
    order: list[int] = []
    begins: list[int] = []
    for edge in range(len(following)):
        if seen[edge]:
            continue
        begins.append(len(order))
        while not seen[edge]:
            seen[edge] = 1
            order.append(edge)
            edge = following[edge]
    return np.array(order), np.diff(begins, append=len(order))


def rasterise(
    polygons: Sequence[Sequence[Sequence[float]]], image_shape: tuple[int, int]
) -> Runs:
    """Return the pixels that COCO's own rasteriser gives to polygons.

    Parameters
    ----------
    polygons : sequence
        For each object its polygons ``[x0, y0, x1, y1, ...]``: finite numbers, three
        points or more, at least one polygon an object.
    image_shape : tuple of int
        ``(height, width)`` of the frame.

    Raises
    ------
    ValueError
        If faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval.core import mask as library
    except ImportError as error:
        raise ValueError(
            "COCO polygons need faster-coco-eval: pip install faster-coco-eval"
        ) from error
    height, width = image_shape
    strings = []
    for parts in polygons:
        rles = library.frPyObjects([list(part) for part in parts], height, width)
        counts = library.merge(rles)["counts"]
        strings.append(counts if isinstance(counts, str) else counts.decode("ascii"))
    runs, _ = rle.decode(strings, image_shape)
    return runs
