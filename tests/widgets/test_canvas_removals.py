"""What is deleted with a layer is deleted in the canvas's own OpenGL context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtGui import QOpenGLContext

from napari_maskrcnn.widgets.canvas_line import canvas_in

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def test_a_layer_is_removed_in_the_context_of_the_canvas(
    viewer: Any, qtbot: QtBot
) -> None:
    viewer.window.resize(1100, 900)
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Review")
    qtbot.waitUntil(widget.isVisible)
    labels = viewer.add_labels(np.eye(32, dtype=np.uint16))
    canvas: Any = canvas_in(widget.window())
    qtbot.waitUntil(lambda: canvas.isValid())
    current = []
    viewer.layers.events.removed.connect(
        lambda: current.append(QOpenGLContext.currentContext() is canvas.context())
    )
    # As it is between two frames.
    canvas.doneCurrent()
    viewer.layers.remove(labels)
    widget.session.release()
    assert current == [True]


def test_the_canvas_is_current_between_frames(viewer: Any, qtbot: QtBot) -> None:
    viewer.window.resize(1100, 900)
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Review")
    qtbot.waitUntil(widget.isVisible)
    viewer.add_image(np.eye(32))
    canvas: Any = canvas_in(widget.window())
    qtbot.waitUntil(lambda: canvas.isValid())
    canvas.doneCurrent()
    with qtbot.waitSignal(canvas.frameSwapped):
        # As a progress bar does it, in the middle of anything.
        canvas.repaint()
    current = QOpenGLContext.currentContext() is canvas.context()
    widget.session.release()
    assert current
