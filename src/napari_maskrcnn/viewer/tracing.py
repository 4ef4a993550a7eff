"""The mouse in the hands of an edit: click an object, draw a line, draw an outline.

A mode listens to one Labels layer while that is the active one.  Lines and outlines are
drawn with the button held, or corner by corner with clicks and a double click at the
end.  Escape ends a mode, and so does choosing another layer or another of napari's
tools.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_maskrcnn.viewer.keys import BorrowedKeys
from napari_maskrcnn.viewer.mouse import take_mouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

CLICK, LINE, OUTLINE = "click", "line", "outline"
# Screen pixels that the mouse may move in a click, and must move between two points.
STILL, APART = 4, 2


class Tracer(QObject):
    """Listens to the mouse over one layer; one mode at a time.

    Signals
    -------
    changed ()
        A mode began or ended.
    clicked (object)
        A position in the world.
    traced (object)
        The points of a finished line or outline, shape (N, ndim), in the world.
    moved ()
        The line under way, `points`, grew or went.
    """

    changed = Signal()
    clicked = Signal(object)
    traced = Signal(object)
    moved = Signal()
    takes_mouse = True

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = weakref.ref(viewer)
        self._layer: weakref.ref[Labels] | None = None
        self.mode = ""
        #: The points drawn so far, in the world.
        self.points: list[NDArray[np.float64]] = []
        self._double_clicks: list[Any] = []
        self._keys = BorrowedKeys({"Escape": self.stop, "Enter": self.finish})

    @property
    def layer(self) -> Labels | None:
        """The layer that the mode is for."""
        return self._layer() if self._layer is not None else None

    def start(self, mode: str, layer: Labels) -> None:
        """Begin a mode: "click", "line" or "outline".

        Raises
        ------
        ValueError
            When the viewer shows three dimensions.
        """
        self.stop()
        viewer = self._viewer()
        if viewer is None:
            return
        if viewer.dims.ndisplay != 2:
            raise ValueError("the mouse points at pixels in the 2D view only")
        take_mouse(viewer)
        viewer.layers.selection.active = layer
        layer.mode = "pan_zoom"
        layer.mouse_pan = mode == CLICK
        self.mode, self._layer = mode, weakref.ref(layer)
        layer.mouse_drag_callbacks.append(self._on_drag)
        layer.mouse_double_click_callbacks.append(self._on_double_click)
        # Two quick clicks would zoom.
        self._double_clicks = list(viewer.mouse_double_click_callbacks)
        viewer.mouse_double_click_callbacks.clear()
        self._keys.take(layer)
        layer.events.mode.connect(self._on_mode)
        viewer.layers.selection.events.active.connect(self._on_active)
        viewer.dims.events.ndisplay.connect(self.stop)
        self.changed.emit()

    def stop(self) -> None:
        """End the mode, if one is on; a line under way is dropped."""
        if not self.mode:
            return
        self.mode = ""
        viewer, layer = self._viewer(), self.layer
        self._layer = None
        self._keys.give_back()
        if layer is not None:
            layer.events.mode.disconnect(self._on_mode)
            layer.mouse_drag_callbacks.remove(self._on_drag)
            layer.mouse_double_click_callbacks.remove(self._on_double_click)
            layer.mouse_pan = str(layer.mode) in ("pan_zoom", "pick")
        if viewer is not None:
            viewer.mouse_double_click_callbacks.extend(self._double_clicks)
            viewer.layers.selection.events.active.disconnect(self._on_active)
            viewer.dims.events.ndisplay.disconnect(self.stop)
        self._clear()
        self.changed.emit()

    def finish(self) -> None:
        """Take the line or the outline as it is drawn."""
        points = np.array(self.points)
        self._clear()
        if len(points) >= 2:
            self.traced.emit(points)

    def _clear(self) -> None:
        self.points = []
        self.moved.emit()

    def _on_mode(self) -> None:
        layer = self.layer
        if layer is not None and str(layer.mode) != "pan_zoom":
            self.stop()

    def _on_active(self) -> None:
        viewer = self._viewer()
        if viewer is None or viewer.layers.selection.active is not self.layer:
            self.stop()

    def _on_drag(self, _layer: Labels, event: Any) -> Iterator[None]:
        if event.button != 1:
            if self.points:
                self.points.pop()
                self.moved.emit()
            return
        mode, drawing = self.mode, self.mode != CLICK
        start = last = np.array(event.pos, float)
        position = np.array(event.position, float)
        farthest = 0.0
        if drawing:
            self._add(position)
        yield
        while event.type == "mouse_move":
            here = np.array(event.pos, float)
            farthest = max(farthest, float(np.abs(here - start).max()))
            # The mode may have been ended with the button held.
            if drawing and self.mode == mode and np.abs(here - last).max() >= APART:
                last = here
                self._add(np.array(event.position, float))
            yield
        if self.mode != mode:
            return
        if not drawing and farthest <= STILL:
            self.clicked.emit(position)
        elif drawing and farthest > STILL:
            self.finish()

    def _add(self, point: NDArray[np.float64]) -> None:
        self.points.append(point)
        self.moved.emit()

    def _on_double_click(self, _layer: Labels, _event: Any) -> None:
        self.finish()
