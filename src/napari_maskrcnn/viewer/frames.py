"""The planes of a stack: those along one axis or several, in a range, every nth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from napari_maskrcnn.viewer.layers import Plane

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari.layers import Image


@dataclass(frozen=True, slots=True)
class Frames:
    """Planes to segment in one run.

    Parameters
    ----------
    planes : tuple of Plane
        In the order in which they are done.
    word : str
        What one of them is called: "frame" or "plane".
    skip_done : bool
        Whether those that have a result already are passed over.
    """

    planes: tuple[Plane, ...]
    word: str = "frame"
    skip_done: bool = False


def stack_axes(plane: Plane, shape: tuple[int, ...]) -> list[int]:
    """Return the axes, beside those of the plane, that have more than one entry."""
    return [
        axis
        for axis, length in enumerate(shape)
        if axis not in plane.axes and length > 1
    ]


def planes_along(
    plane: Plane,
    shape: tuple[int, ...],
    axes: Collection[int],
    indices: range | None = None,
) -> tuple[Plane, ...]:
    """Return the planes that differ from `plane` along some axes only.

    Parameters
    ----------
    plane : Plane
        Gives the position along the other axes.
    shape : tuple of int
        Of the layer, without a colour axis.
    axes : collection of int
        The axes to go along; the last one runs fastest.
    indices : range, optional
        Which entries of each of these axes; by default all.
    """
    here = iter(plane.position)
    entries = [
        (indices if indices is not None else range(length)) if axis in axes else (at,)
        for axis, length in enumerate(shape)
        if axis not in plane.axes
        for at in [next(here)]
    ]
    return tuple(Plane(plane.axes, position) for position in product(*entries))


def word_for(image: Image, plane: Plane) -> str:
    """Return what a plane of this layer is called: "frame" or "plane".

    The first axis of a stack is taken for time unless it is labelled as depth.
    """
    first = image.ndim == 3 and 0 not in plane.axes
    named_depth = str(image.axis_labels[0]).lower().startswith(("z", "depth"))
    return "frame" if first and not named_depth else "plane"
