"""The mouse in the hands of a tool: clicks, and boxes that are dragged.

While a mode is on, dragging draws a box instead of moving the image, double clicks do
not zoom, brushes rest, and Escape ends the mode.
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

BOX, POINT = "box", "point"
# Screen pixels that the mouse may move in a click.
CLICK = 4


class Pointer(QObject):
    """Listens to the mouse over a viewer's canvas.

    Parameters
    ----------
    viewer : ViewerModel
        Held weakly.

    Signals
    -------
    changed ()
        A mode began or ended.
    clicked (object, bool)
        A position in the world, and whether Alt was held.
    boxed (object, object)
        Two opposite corners of a box, positions in the world.
    dragged (object)
        The box under way, (x0, y0, x1, y1) in pixels of the canvas; None at its end.
    """

    changed = Signal()
    clicked = Signal(object, bool)
    boxed = Signal(object, object)
    dragged = Signal(object)
    takes_mouse = True

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = weakref.ref(viewer)
        self.mode = ""
        self._double_clicks: list[Any] = []
        self._keys = BorrowedKeys({"Escape": self.stop})

    def start(self, mode: str) -> None:
        """Begin a mode, "box" or "point"; a click counts in both.

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
        self.mode = mode
        viewer.mouse_drag_callbacks.append(self._on_drag)
        # Two quick clicks would zoom.
        self._double_clicks = list(viewer.mouse_double_click_callbacks)
        viewer.mouse_double_click_callbacks.clear()
        self._keys.take(viewer)
        viewer.layers.selection.events.active.connect(self._hold)
        viewer.dims.events.ndisplay.connect(self.stop)
        self._hold()
        self.changed.emit()

    def stop(self) -> None:
        """End the mode, if one is on."""
        viewer = self._viewer()
        if not self.mode:
            return
        self.mode = ""
        self.dragged.emit(None)
        self._keys.give_back()
        if viewer is not None:
            viewer.mouse_drag_callbacks.remove(self._on_drag)
            viewer.mouse_double_click_callbacks.extend(self._double_clicks)
            viewer.layers.selection.events.active.disconnect(self._hold)
            viewer.dims.events.ndisplay.disconnect(self.stop)
            active = viewer.layers.selection.active
            viewer.scene.camera.mouse_pan = active is None or active.mouse_pan
        self.changed.emit()

    def _hold(self) -> None:
        """Take the mouse from the active layer, and from the camera for boxes."""
        viewer = self._viewer()
        if viewer is None or not self.mode:
            return
        active = viewer.layers.selection.active
        if active is not None and str(active.mode) != "pan_zoom":
            active.mode = "pan_zoom"
        if active is not None:
            self._keys.take(active)
        viewer.scene.camera.mouse_pan = self.mode == POINT

    def _on_drag(self, _viewer: ViewerModel, event: Any) -> Iterator[None]:
        if event.button != 1 or not self.mode:
            return
        self._hold()
        alt = "Alt" in event.modifiers
        start, begin = np.array(event.pos, float), np.array(event.position, float)
        moved = 0.0
        yield
        while event.type == "mouse_move":
            here = np.array(event.pos, float)
            moved = max(moved, float(np.abs(here - start).max()))
            if self.mode == BOX and not alt:
                self.dragged.emit((*start.tolist(), *here.tolist()))
            yield
        # The last move may have been swallowed; the release has its place.
        end = np.array(event.position, float)
        moved = max(moved, float(np.abs(np.array(event.pos, float) - start).max()))
        self.dragged.emit(None)
        if not self.mode:
            # It was ended with the button held.
            return
        if moved <= CLICK:
            self.clicked.emit(begin, alt)
        elif self.mode == BOX and not alt:
            self.boxed.emit(begin, end)
