"""Layers are removed while napari's canvas has its own OpenGL context.

napari deletes the buffers, textures and programs of a removed layer at once, in
whichever context is current.  Between two frames that is Qt's, which puts the window
together, or another viewer's.  There the names of the canvas are not its own, and what
is deleted stays bound in the canvas: the next frames draw with it, and with Mesa's
software driver the process dies in ``glDrawArrays``.  Acts of ours remove layers too,
such as the regions of Review, so the canvas is made current first; and after each
frame, for what napari deletes without a word before, and for frames that are drawn
while a layer is being removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_maskrcnn.widgets.canvas_line import canvas_in

if TYPE_CHECKING:
    from napari_maskrcnn.viewer.session import Session


class CanvasRemovals(QObject):
    """Makes a viewer's canvas current after each frame and before a layer is removed.

    Parameters
    ----------
    session : Session
        Of the viewer; owns this.
    canvas : QOpenGLWidget
        The widget that the viewer's layers are drawn in.
    """

    def __init__(self, session: Session, canvas: Any) -> None:
        super().__init__(session)
        self._canvas: Any = canvas
        canvas.destroyed.connect(self._forget)
        canvas.frameSwapped.connect(self._make_current)
        viewer = session.viewer
        if viewer is not None:
            viewer.layers.events.removing.connect(self._make_current)

    def _make_current(self, _event: Any = None) -> None:
        if self._canvas is not None:
            self._canvas.makeCurrent()

    def _forget(self) -> None:
        self._canvas = None


def guard_removals(session: Session, widget: QWidget) -> None:
    """Guard the canvas of the window that a widget is docked in; once a session."""
    above: QWidget | None = widget
    # A floating dock's window is its own; the main one is above it.
    while above is not None and not isinstance(above, QMainWindow):
        above = above.parentWidget()
    canvas = canvas_in(above)
    if canvas is not None and session.findChild(CanvasRemovals) is None:
        CanvasRemovals(session, canvas)
