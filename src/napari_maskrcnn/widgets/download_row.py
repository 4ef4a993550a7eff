"""The offer to download a model, and how far that has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_maskrcnn.viewer.downloading import downloads_of
from napari_maskrcnn.widgets.parts import (
    ProgressRow,
    StatusLine,
    button,
    paragraph,
    row,
)

if TYPE_CHECKING:
    from napari_maskrcnn.core.model_list import ModelEntry
    from napari_maskrcnn.core.progress import Progress
    from napari_maskrcnn.viewer.session import Session

MEGABYTE = 1_000_000


class DownloadRow(QWidget):
    """Says that a model is not on this computer, with a button to download it.

    Hidden while the model is there. Nothing is downloaded without a click.

    Parameters
    ----------
    session : Session
        Whose download it shows, whichever widget began it.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._downloads = downloads_of(session)
        self._entry: ModelEntry | None = None
        # What went wrong with which model.
        self._failed = ("", "")
        self.label = paragraph()
        self.button = button("Download", "Fetch the model's file from its publisher")
        self.progress = ProgressRow(
            "How much of the file is here", "Stop the download; nothing of it stays"
        )
        # Below: an address in it needs the whole width.
        self.status = StatusLine()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row(self.label, self.button))
        column.addWidget(self.progress)
        column.addWidget(self.status)
        self.button.clicked.connect(self._on_download)
        self.progress.cancel_button.clicked.connect(self._downloads.cancel)
        self._downloads.changed.connect(self._update)
        self._downloads.progressed.connect(self._on_progress)
        self._downloads.failed.connect(self._on_failed)
        self._update()

    def show_entry(self, entry: ModelEntry | None) -> None:
        """Speak of another model; None hides the row."""
        self._entry = entry
        self._update()

    @property
    def _loading(self) -> bool:
        """Whether the model that the row speaks of is being downloaded."""
        entry = self._entry
        return (
            entry is not None
            and self._downloads.running
            and self._downloads.name == entry.name
        )

    def _update(self) -> None:
        entry = self._entry
        self.setVisible(entry is not None and not entry.downloaded)
        if entry is None:
            return
        self.button.setVisible(not self._loading)
        self.button.setEnabled(not self._downloads.running)
        self.progress.setVisible(self._loading)
        self.progress.set_running(self._loading)
        size = f"{entry.size / MEGABYTE:.0f} MB"
        if self._loading:
            self.label.setText(f"Downloading {entry.name} ({size})")
        else:
            self.label.setText(f"This model is not on this computer yet ({size})")
        name, sentence = self._failed
        self.status.say(sentence if name == entry.name else "", "error")
        self.status.setVisible(bool(self.status.text()))

    def _on_download(self) -> None:
        if self._entry is not None:
            self._failed = ("", "")
            self._downloads.start(self._entry.name)

    def _on_progress(self, progress: Progress) -> None:
        if self._loading:
            self.progress.show_progress(progress.done, progress.total)
            self.label.setText(progress.message)

    def _on_failed(self, sentence: str) -> None:
        self._failed = (self._downloads.name, sentence)
        self._update()
