"""The one place that reads image layers and writes Labels layers.

Reading: a layer and the viewer's position give a `Plane`, the two-dimensional part
that is segmented, and a `PlaneSource`, which fetches its pixels later, in the worker.

Writing: `LabelsPlane` is the same plane of a Labels layer.  It has two ways to write:

* `show` writes the pixels and repaints without an undo step: for the picture while a
  slider is dragged.
* `commit` turns the difference between two pictures into **one** undo step.

napari keeps undo steps as lists of (indices, old values, new values) and replays them
blindly.  A write that is not in the list would therefore be undone in part by a later
Ctrl-Z.  So every `show` is followed by a `commit`, which first puts the old picture
back and then writes the new one as one recorded step; if somebody else wrote in
between, the list no longer fits the pixels and is emptied (`forget_history`) rather
than left to write stale ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

# Every geometric property that `add_labels` takes.
GEOMETRY = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
# Ids above this one do not fit into the fast dtype.
UINT16_MAX = int(np.iinfo(np.uint16).max)


def unwrap(proxy: Any) -> Any:
    """Return the napari object behind a `PublicOnlyProxy`, or the object itself.

    napari hands a proxy to some docked widgets and the object to others; only the
    object itself can be compared with ``is`` and referred to weakly.
    """
    return getattr(proxy, "__wrapped__", proxy)


@dataclass(frozen=True, slots=True)
class Plane:
    """A two-dimensional plane of a layer.

    Parameters
    ----------
    axes : tuple of two int
        The layer's axes that span the plane, ascending.
    position : tuple of int
        The index along each of the other axes, in their order.
    """

    axes: tuple[int, int]
    position: tuple[int, ...] = ()

    @property
    def index(self) -> tuple[int | slice, ...]:
        """The index that takes the plane out of an array of the layer's shape."""
        position = iter(self.position)
        return tuple(
            slice(None) if axis in self.axes else next(position)
            for axis in range(len(self.position) + 2)
        )

    def indices(
        self, rows: NDArray[Any], columns: NDArray[Any]
    ) -> tuple[NDArray[np.int32], ...]:
        """Return pixel coordinates in the plane as coordinates in the layer."""
        # napari keeps these arrays for a hundred steps: int32 is half of int64.
        inside = iter((rows.astype(np.int32), columns.astype(np.int32)))
        return tuple(
            next(inside)
            if isinstance(entry, slice)
            else np.full(rows.shape, entry, np.int32)
            for entry in self.index
        )

    @property
    def label(self) -> int | str:
        """The position for a table: a number in a stack, else numbers in a row."""
        if len(self.position) == 1:
            return self.position[0]
        return ", ".join(map(str, self.position))


@dataclass(frozen=True, slots=True)
class PlaneSource:
    """A plane of an array that may be lazy; nothing is computed before `read`."""

    array: Any
    plane: Plane

    def read(self) -> NDArray[Any]:
        """Fetch the pixels, (H, W) or (H, W, 3|4) as stored; call it in the worker."""
        return np.asarray(self.array[self.plane.index])


def image_layers(viewer: ViewerModel) -> list[Image]:
    """Return the viewer's image layers, the topmost first."""
    return [x for x in reversed(viewer.layers) if type(x) is Image]


def finest(layer: Layer) -> Any:
    """Return the layer's array, of a multiscale layer the finest level."""
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def spatial_shape(layer: Layer) -> tuple[int, ...]:
    """Return the shape of the layer's array without the colour axis."""
    return tuple(int(n) for n in finest(layer).shape[: layer.ndim])


def current_plane(layer: Layer, viewer: ViewerModel) -> Plane:
    """Return the plane of `layer` that the viewer shows.

    In the three-dimensional view it is the plane of the last two displayed axes, at
    the position that the two-dimensional view would show.

    Raises
    ------
    ValueError
        When the layer has fewer than two axes.
    """
    if layer.ndim < 2:
        raise ValueError(f"{layer.name} has {layer.ndim} axis; an image has two")
    missing = viewer.dims.ndim - layer.ndim
    order = [axis - missing for axis in viewer.dims.order if axis >= missing]
    axes = sorted(order[-2:])
    point = np.round(np.asarray(layer.world_to_data(viewer.dims.point), float))
    last = np.asarray(spatial_shape(layer)) - 1
    point = np.clip(np.nan_to_num(point), 0, np.maximum(last, 0)).astype(int)
    position = (int(x) for axis, x in enumerate(point) if axis not in axes)
    return Plane((axes[0], axes[1]), tuple(position))


def plane_source(layer: Image, plane: Plane) -> PlaneSource:
    """Return what fetches the pixels of `plane`."""
    return PlaneSource(finest(layer), plane)


def add_labels_for(viewer: ViewerModel, image: Image, dtype: Any) -> Labels:
    """Add an empty Labels layer with the geometry of `image` and the whole shape.

    The array is fresh, in memory and of a fixed small dtype: brush strokes on uint16
    take a sixth of the time that they take on int32.
    """
    # np.zeros takes pages from the system only when they are written to: a stack of
    # which one plane is segmented costs one plane.
    data = np.zeros(spatial_shape(image), dtype)
    geometry = {name: getattr(image, name) for name in GEOMETRY}
    layer: Labels = viewer.add_labels(data, name=f"{image.name} instances", **geometry)
    return layer


def is_usable(labels: Labels, image: Image) -> bool:
    """Whether the Labels layer can take instances of `image` in place."""
    data = labels.data
    return (
        isinstance(data, np.ndarray)
        and data.shape == spatial_shape(image)
        and data.flags.writeable
        and data.dtype.kind in "ui"
    )


def forget_history(labels: Labels) -> None:
    """Empty the layer's undo and redo lists; the way that napari offers."""
    mode = labels.mode
    labels.editable = False
    labels.editable = True
    labels.mode = mode


def widen(labels: Labels) -> None:
    """Give the layer a dtype for ids beyond 65,535; its undo list is lost."""
    if labels.data.dtype.itemsize <= 2:
        labels.data = labels.data.astype(np.int32)
        forget_history(labels)


@dataclass(frozen=True, slots=True)
class LabelsPlane:
    """A plane of a Labels layer that can be written to.

    Parameters
    ----------
    layer : Labels
        A layer for which `is_usable` holds.
    plane : Plane
        Which plane of it.
    """

    layer: Labels
    plane: Plane

    @property
    def pixels(self) -> NDArray[Any]:
        """The plane itself, (H, W): a view into the layer's array, not a copy."""
        view: NDArray[Any] = self.layer.data[self.plane.index]
        return view

    def show(self, label_image: NDArray[Any]) -> None:
        """Write and repaint without an undo step; a `commit` has to follow.

        Parameters
        ----------
        label_image : ndarray
            Shape (H, W), ids that fit into the layer's dtype.
        """
        np.copyto(self.pixels, label_image, casting="unsafe")
        self.layer.refresh(extent=False, thumbnail=False, highlight=False)

    def commit(self, before: NDArray[Any], after: NDArray[Any]) -> bool:
        """Make the change from `before` to `after` one undo step.

        Parameters
        ----------
        before, after : ndarray
            Shape (H, W): the plane at the last undo step, and as it shall be.

        Returns
        -------
        bool
            Whether anything changed.
        """
        changed = np.nonzero(before != after)
        values = after[changed].astype(self.layer.data.dtype)
        np.copyto(self.pixels, before)
        if changed[0].size:
            indices = self.plane.indices(*changed)
            with self.layer.block_history():
                self.layer.data_setitem(indices, values, refresh=False)
        self.layer.refresh()
        return bool(changed[0].size)
