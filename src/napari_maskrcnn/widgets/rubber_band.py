"""The box that is being dragged, drawn over napari's canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QRect, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QMainWindow, QOpenGLWidget, QWidget

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent

COLOUR = "#E69F00"


class RubberBand(QWidget):
    """A frame over the canvas of the window that a widget belongs to.

    Parameters
    ----------
    owner : QWidget
        A docked widget; the canvas is looked for when the first box is shown.
    """

    def __init__(self, owner: QWidget) -> None:
        super().__init__(owner)
        self._owner = owner
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def show_box(self, box: Any) -> None:
        """Show a box (x0, y0, x1, y1) in pixels of the canvas; None hides it."""
        canvas = _canvas(self._owner) if box is not None else None
        if canvas is None:
            self.hide()
            return
        if self.parentWidget() is not canvas:
            self.setParent(canvas)
        x0, y0, x1, y1 = (round(edge) for edge in box)
        left, top = min(x0, x1), min(y0, y1)
        self.setGeometry(QRect(left, top, abs(x1 - x0) + 1, abs(y1 - y0) + 1))
        self.show()
        self.raise_()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the frame."""
        painter = QPainter(self)
        colour = QColor(COLOUR)
        painter.setPen(QPen(colour, 2))
        colour.setAlpha(30)
        painter.fillRect(self.rect(), colour)
        painter.drawRect(self.rect().adjusted(1, 1, -1, -1))
        painter.end()


def _canvas(widget: QWidget) -> QWidget | None:
    """Return the canvas of the main window above a widget, floating or docked."""
    above: QWidget | None = widget
    while above is not None:
        if isinstance(above, QMainWindow):
            centre = above.centralWidget()
            found = centre.findChildren(QOpenGLWidget) if centre is not None else []
            return found[0] if found else None
        above = above.parentWidget()
    return None
