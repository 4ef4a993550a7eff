"""What all dock widgets do: share a session, wear the theme, follow their window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFrame,
    QLayout,
    QMainWindow,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_maskrcnn.viewer.session import Session, session_of
from napari_maskrcnn.widgets.canvas_removals import guard_removals
from napari_maskrcnn.widgets.parts import theme_named

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent


class Dock(QWidget):
    """A widget that napari docks.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer, or napari's proxy of it.
    session : Session, optional
        By default the viewer's own.
    """

    def __init__(self, napari_viewer: Any, session: Session | None = None) -> None:
        super().__init__()
        self.session = session or session_of(napari_viewer)
        self._follows_window = False
        self.session.theme_changed.connect(self.use_theme)

    def use_theme(self) -> None:
        """Give the parts the colours of the viewer's theme."""
        viewer = self.session.viewer
        if viewer is not None:
            theme = theme_named(viewer.theme)
            for part in self.findChildren(QWidget):
                if hasattr(part, "use_theme"):
                    part.use_theme(theme)

    def stack(self, *parts: QWidget | QLayout, width: int) -> None:
        """Lay parts out below each other, in a column that scrolls upright only.

        Parameters
        ----------
        *parts : QWidget or QLayout
            From the top.
        width : int
            The least width of the dock, in pixels.
        """
        content = QWidget()
        column = QVBoxLayout(content)
        for part in parts:
            if isinstance(part, QLayout):
                column.addLayout(part)
            else:
                column.addWidget(part)
        column.addStretch(1)
        area = QScrollArea(self)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(content)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        self.setMinimumWidth(width)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Follow the window that the widget is shown in."""
        super().showEvent(event)
        guard_removals(self.session, self)
        window = self.window()
        # A floating dock is a window of its own, which may be closed during a run.
        if isinstance(window, QMainWindow) and not self._follows_window:
            self._follows_window = True
            window.destroyed.connect(self.session.release)
