"""A bar that offers the corrections of a window that was closed without saving.

Several widgets have one.  They all show the same offer, of which there is one: what is
done in one bar clears the others.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_maskrcnn.viewer.recovery import recovery_of
from napari_maskrcnn.widgets.parts import StatusLine, button

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_maskrcnn.viewer.session import Session


# How long a bar tells what it did before it goes.
SAID_MS = 8000


class RecoveryBar(QWidget):
    """Says what may be restored, with Restore and Decline; hidden when nothing may.

    Parameters
    ----------
    session : Session
        Of the viewer.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.recovery = recovery_of(session)
        self._image: weakref.ref[Image] | None = None
        self._acting = False
        self._fading = QTimer(self)
        self._fading.setSingleShot(True)
        self._fading.setInterval(SAID_MS)
        self._fading.timeout.connect(self._clear)
        self.line = StatusLine()
        self.restore_button = button(
            "Restore", "Put these corrections back, as one step that Ctrl-Z takes back"
        )
        self.decline_button = button("Decline", "Delete these corrections for good")
        self._buttons = QWidget()
        row = QHBoxLayout(self._buttons)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.restore_button)
        row.addWidget(self.decline_button)
        row.setAlignment(Qt.AlignmentFlag.AlignLeft)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 6)
        column.addWidget(self.line)
        column.addWidget(self._buttons)
        self.restore_button.clicked.connect(self._on_restore)
        self.decline_button.clicked.connect(self._on_decline)
        self.recovery.changed.connect(self.refresh)
        self.recovery.said.connect(self._on_said)
        session.layers_changed.connect(self.refresh)
        self.refresh()
        if self._image is None:
            self.hide()

    def refresh(self) -> None:
        """Show the first offer, if there is one."""
        offers = self.recovery.offers()
        if offers:
            image, offer = offers[0]
            self._image = weakref.ref(image)
            self._say(offer.summary.sentence(), "warning")
        elif self._image is not None:
            self._clear()
        self._buttons.setVisible(bool(offers))

    def _clear(self) -> None:
        self._image = None
        self._say("", "info")

    def _say(self, sentence: str, level: str) -> None:
        """Show a sentence; without one the bar takes no room."""
        self._fading.stop()
        self.line.say(sentence, level)
        # Shown without a parent it would be a window of its own.
        if not sentence or self.parent() is not None:
            self.setVisible(bool(sentence))

    def _on_restore(self) -> None:
        image = self._image() if self._image is not None else None
        if image is not None:
            self._acting = True
            self.recovery.restore(image)
            self._acting = False

    def _on_decline(self) -> None:
        image = self._image() if self._image is not None else None
        if image is not None:
            self.recovery.decline(image)

    def _on_said(self, sentence: str, level: str) -> None:
        """Show what went wrong in every bar, what went well where it was asked for.

        Or where a bar still shows what went wrong before.
        """
        waited_for = self._acting or self.line.level == "error"
        if self._image is not None or (level == "info" and not waited_for):
            return
        self._say(sentence, level)
        if level == "info":
            self._fading.start()
