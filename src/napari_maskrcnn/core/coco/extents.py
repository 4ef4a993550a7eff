"""What a file says of where an object is, beyond its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Extent:
    """Outline, area and box of an object where they are known better than by pixels.

    They are what a file says of an object that nobody changed, or a box that never had
    pixels, and are written as they are: pixels would cost them their decimals.
    """

    segmentation: Any
    area: float
    bbox: Sequence[float]


def box_extent(box: Sequence[float] | NDArray[Any]) -> Extent:
    """Return the extent of an object that is only a box x0, y0, x1, y1."""
    x0, y0, x1, y1 = (float(value) for value in box)
    return Extent([], (x1 - x0) * (y1 - y0), [x0, y0, x1 - x0, y1 - y0])
