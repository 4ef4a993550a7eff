"""Windows over a large image; what each of them finds is joined in `core.joining`.

Every window sees a margin, the halo, around the part that it owns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Window origins lie on multiples of this many network pixels: the coarsest stride, so
# that two windows over the same pixels give the same features.
STRIDE = 32


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of an image and the part of it that it owns; all in pixels.

    Parameters
    ----------
    outer, core : tuple of int
        (y0, x0, y1, x1). The cores of a plan cover the image once.
    """

    outer: tuple[int, int, int, int]
    core: tuple[int, int, int, int]


def plan_windows(image_shape: tuple[int, int], size: int, halo: int) -> list[Window]:
    """Cover an image with windows.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W).
    size : int
        Side of the outer windows. An image with no more pixels than such a window gets
        one, whatever its sides: it needs no more memory, and nothing is seen twice.
    halo : int
        How far a window looks beyond its core.

    Returns
    -------
    list of Window
        In raster order; origins of outer windows are multiples of ``STRIDE``.

    Raises
    ------
    ValueError
        When a window of this size has no core.
    """
    core = (size - 2 * halo) // STRIDE * STRIDE
    if core < STRIDE:
        raise ValueError(f"a window of {size} pixels has no core with a halo of {halo}")
    height, width = image_shape
    if height * width <= size**2:
        return [Window((0, 0, height, width), (0, 0, height, width))]
    rows, columns = (_spans(length, size, core, halo) for length in image_shape)
    return [
        Window((y[0], x[0], y[1], x[1]), (y[2], x[2], y[3], x[3]))
        for y in rows
        for x in columns
    ]


def _spans(
    length: int, size: int, core: int, halo: int
) -> list[tuple[int, int, int, int]]:
    """Return (outer start, outer stop, core start, core stop) along one axis.

    As few as will do, of about the same length: the less is seen twice. The first and
    the last one have no halo on one side, and a longer core instead.
    """
    if length <= size:
        return [(0, length, 0, length)]
    number = math.ceil((length - 2 * halo) / core)
    step = math.ceil((length - 2 * halo) / number / STRIDE) * STRIDE
    reach = math.ceil(halo / STRIDE) * STRIDE
    spans, start = [], 0
    while start < length:
        stop = min((start or reach) + step, length)
        if length - stop <= halo:
            stop = length
        spans.append((max(0, start - reach), min(length, stop + halo), start, stop))
        start = stop
    return spans
