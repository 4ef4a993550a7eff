"""The download of a model: one at a time in a viewer, followed by all its widgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal

from napari_maskrcnn.viewer.models import models_of
from napari_maskrcnn.viewer.torch_start import import_torch
from napari_maskrcnn.viewer.workers import JobRunner

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_maskrcnn.core.progress import Progress
    from napari_maskrcnn.viewer.session import Session


class Downloads(QObject):
    """Downloads a model when a person asks for it; use `downloads_of` to get it.

    Signals
    -------
    changed ()
        A download started, ended or was cancelled.
    progressed (Progress)
        It has come further.
    failed (str)
        A sentence for the person.
    """

    changed = Signal()
    progressed = Signal(object)
    failed = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: The model that is, or was last, downloaded.
        self.name = ""
        self._models = models_of(session)
        self.jobs = JobRunner(self)
        self.jobs.changed.connect(self.changed)
        self.jobs.progressed.connect(self.progressed)
        self.jobs.failed.connect(self.failed)
        self.jobs.returned.connect(self._on_returned)
        session.released.connect(self.jobs.cancel)

    @property
    def running(self) -> bool:
        """Whether a model is being downloaded."""
        return self.jobs.running

    def start(self, name: str) -> None:
        """Download a model; nothing happens while another download runs."""
        if self.running:
            return
        self.name = name
        self.jobs.start(download, name)

    def cancel(self) -> None:
        """Give the download up; nothing of it stays."""
        self.jobs.cancel()

    def _on_returned(self, _path: object) -> None:
        self._models.choose(self.name)


def download(name: str) -> Generator[Progress, None, object]:
    """Download a model in a worker's thread; return its file."""
    # The weights are read with torch in the end, where no Cancel would be heard.
    yield from import_torch()
    from napari_maskrcnn.core.downloads import download_model

    return (yield from download_model(name))


def downloads_of(session: Session) -> Downloads:
    """Return the session's only `Downloads`."""
    direct = Qt.FindChildOption.FindDirectChildrenOnly
    found = session.findChild(Downloads, "", direct)
    return found if isinstance(found, Downloads) else Downloads(session)
