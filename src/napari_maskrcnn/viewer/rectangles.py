"""A rectangle that a person drags over a layer, and the outlines of reviewed regions.

Both are Shapes layers of napari: the one to drag in goes as soon as the rectangle is
there, the one with the outlines is locked.  The Labels layer is active again after.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers.base import ActionType
from qtpy.QtCore import QObject, QTimer, Signal

from napari_maskrcnn.viewer.layers import GEOMETRY
from napari_maskrcnn.viewer.marks import regions

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Shapes
    from numpy.typing import NDArray

    from napari_maskrcnn.viewer.layers import Plane

COLOUR = "#009E73"
# In the metadata of the layer with the outlines: what it shows.
_OUTLINES = "napari-maskrcnn outlines"


class RectangleTool(QObject):
    """Lets a person drag one rectangle over a plane of a layer.

    Signals
    -------
    drawn (tuple)
        The box (y0, x0, y1, x1) in whole pixels of the plane.
    ended ()
        The tool was put away, with a rectangle or without.
    """

    drawn = Signal(tuple)
    ended = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer: weakref.ref[ViewerModel] | None = None
        self._layer: weakref.ref[Labels] | None = None
        self._shapes: weakref.ref[Shapes] | None = None
        self._axes: tuple[int, int] = (0, 1)

    @property
    def active(self) -> bool:
        """Whether a rectangle can be dragged now."""
        return self._shapes is not None

    def start(self, viewer: ViewerModel, layer: Labels, plane: Plane) -> None:
        """Take the tool up."""
        self.stop()
        shapes = viewer.add_shapes(
            None,
            ndim=layer.ndim,
            name="Drag a rectangle",
            edge_color=COLOUR,
            face_color="#00000000",
            **{name: getattr(layer, name) for name in GEOMETRY},
        )
        self._viewer, self._layer = weakref.ref(viewer), weakref.ref(layer)
        self._shapes, self._axes = weakref.ref(shapes), plane.axes
        shapes.events.data.connect(self._on_data)
        viewer.layers.events.removed.connect(self._on_removed)
        shapes.mode = "add_rectangle"

    def stop(self) -> None:
        """Put the tool away."""
        if self._shapes is None or self._viewer is None:
            return
        shapes, viewer = self._shapes(), self._viewer()
        layer = self._layer() if self._layer is not None else None
        self._shapes = None
        if viewer is not None:
            viewer.layers.events.removed.disconnect(self._on_removed)
            if shapes is not None and shapes in viewer.layers:
                shapes.events.data.disconnect(self._on_data)
                viewer.layers.remove(shapes)
            if layer is not None and layer in viewer.layers:
                viewer.layers.selection.active = layer
        self.ended.emit()

    def _on_data(self, event: Any) -> None:
        if event.action == ActionType.ADDED:
            # napari is still in the middle of its own work with the layer.
            QTimer.singleShot(0, self._finish)

    def _on_removed(self, event: Any) -> None:
        if self._shapes is not None and event.value is self._shapes():
            self.stop()

    def _finish(self) -> None:
        shapes = self._shapes() if self._shapes is not None else None
        if shapes is None or not shapes.nshapes:
            return
        corners = np.asarray(shapes.data[-1])[:, list(self._axes)]
        self.stop()
        # A pixel belongs to the box when its middle does.
        low = np.ceil(corners.min(axis=0)).astype(int)
        high = np.floor(corners.max(axis=0)).astype(int) + 1
        self.drawn.emit((*low.tolist(), *high.tolist()))


def show_regions(viewer: ViewerModel, layer: Labels | None, plane: Plane) -> None:
    """Show the reviewed regions of a layer in a locked Shapes layer.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer.
    layer : Labels or None
        The layer; without one, or without regions, the Shapes layer goes.
    plane : Plane
        Which axes the planes lie in.
    """
    old = next((x for x in viewer.layers if x.metadata.get(_OUTLINES)), None)
    right = regions(layer) if layer is not None else []
    if old is None and not right:
        return
    shown = [[layer.name if layer is not None else "", *map(str, plane.axes)], *right]
    if old is not None and old.metadata[_OUTLINES] == shown:
        return
    chosen = [x for x in viewer.layers.selection if x is not old]
    active = viewer.layers.selection.active
    if old is not None:
        viewer.layers.remove(old)
    if layer is not None and right:
        shapes = viewer.add_shapes(
            [_corners(layer, plane, region) for region in right],
            shape_type="rectangle",
            ndim=layer.ndim,
            name=f"{layer.name} reviewed",
            edge_color=COLOUR,
            edge_width=2,
            face_color=f"{COLOUR}18",
            metadata={_OUTLINES: shown},
            **{name: getattr(layer, name) for name in GEOMETRY},
        )
        shapes.editable = False
    viewer.layers.selection.clear()
    viewer.layers.selection.update(chosen)
    if active in chosen:
        viewer.layers.selection.active = active


def _corners(
    layer: Labels, plane: Plane, region: dict[str, list[int]]
) -> NDArray[np.float64]:
    """Return the four corners of a region in the layer's coordinates."""
    y0, x0, y1, x1 = (edge - 0.5 for edge in region["box"])
    corners = np.zeros((4, layer.ndim))
    others = [axis for axis in range(layer.ndim) if axis not in plane.axes]
    corners[:, others] = region["plane"]
    corners[:, list(plane.axes)] = [(y0, x0), (y0, x1), (y1, x1), (y1, x0)]
    return corners
