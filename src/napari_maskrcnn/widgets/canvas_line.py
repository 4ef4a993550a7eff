"""A line over the canvas that follows what the mouse draws, and the camera."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_maskrcnn.viewer.tracing import OUTLINE

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from qtpy.QtGui import QPaintEvent

    from napari_maskrcnn.viewer.tracing import Tracer

# A light line on a dark one shows on every image.
DARK, LIGHT = QColor("#000000"), QColor("#ffe14d")


def canvas_in(window: QWidget | None) -> QWidget | None:
    """Return the widget of a napari window that the layers are drawn in."""
    middle = window.centralWidget() if isinstance(window, QMainWindow) else None
    found = middle.findChildren(QOpenGLWidget) if middle is not None else []
    return max(found, key=lambda widget: widget.width(), default=None)


class CanvasLine(QWidget):
    """Paints the line that a tracer has under way; takes no part in anything else.

    Parameters
    ----------
    canvas : QWidget
        The widget to lie over.
    viewer : ViewerModel
        Whose camera looks at the canvas; held weakly.
    tracer : Tracer
        Whose points are shown; held weakly.
    """

    def __init__(self, canvas: QWidget, viewer: ViewerModel, tracer: Tracer) -> None:
        super().__init__(canvas)
        self._viewer, self._tracer = weakref.ref(viewer), weakref.ref(tracer)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        tracer.moved.connect(self._on_moved)
        viewer.scene.camera.events.connect(self._on_camera)
        self.hide()

    def release(self) -> None:
        """Let go of viewer and canvas."""
        viewer = self._viewer()
        if viewer is not None:
            viewer.scene.camera.events.disconnect(self._on_camera)
        self.hide()
        self.deleteLater()

    def positions(self) -> list[tuple[float, float]]:
        """Return the points as (x, y) in pixels of the canvas."""
        viewer, tracer = self._viewer(), self._tracer()
        if viewer is None or tracer is None:
            return []
        camera, axes = viewer.scene.camera, viewer.dims.displayed
        middle, zoom = camera.center, camera.zoom
        half = self.parentWidget()
        width = half.width() / 2 if half is not None else 0.0
        height = half.height() / 2 if half is not None else 0.0
        return [
            (
                (float(point[axes[-1]]) - middle[-1]) * zoom + width,
                (float(point[axes[-2]]) - middle[-2]) * zoom + height,
            )
            for point in tracer.points
        ]

    def _on_moved(self) -> None:
        tracer, canvas = self._tracer(), self.parentWidget()
        if tracer is None or canvas is None or not tracer.points:
            self.hide()
            return
        self.setGeometry(canvas.rect())
        self.show()
        self.raise_()
        self.update()

    def _on_camera(self, _event: Any = None) -> None:
        if self.isVisible():
            self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Paint the line, an outline closed by a thinner one."""
        tracer = self._tracer()
        points = [QPointF(x, y) for x, y in self.positions()]
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for colour, width in ((DARK, 4.0), (LIGHT, 2.0)):
            painter.setPen(QPen(colour, width))
            painter.drawPolyline(QPolygonF(points))
            for point in points[:1]:
                painter.drawEllipse(point, 3, 3)
        if tracer is not None and tracer.mode == OUTLINE and len(points) > 2:
            painter.setPen(QPen(LIGHT, 1, Qt.PenStyle.DotLine))
            painter.drawLine(points[-1], points[0])
        painter.end()
