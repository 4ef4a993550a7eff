"""The export's own job: it goes on when its widget is closed."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal

from napari_maskrcnn.viewer.export import examine, export
from napari_maskrcnn.viewer.workers import JobRunner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Layer

    from napari_maskrcnn.viewer.export_request import Request
    from napari_maskrcnn.viewer.session import Session


class ExportJobs(JobRunner):
    """Checks what would be exported, and exports; use `export_jobs` to get it.

    Signals
    -------
    edited ()
        The objects of a layer that is watched were changed.
    """

    edited = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        #: Whether the job that runs, or ran last, writes files.
        self.exporting = False
        self._watched: weakref.WeakSet[Layer] = weakref.WeakSet()

    def check(self, request: Request) -> None:
        """Find out what `request` would write; a check that runs is given up."""
        if self.running and self.exporting:
            return
        self.cancel()
        self.exporting = False
        self.start(examine, request)

    def export(self, request: Request) -> None:
        """Write the files; a check that runs is given up."""
        if self.running and self.exporting:
            return
        self.cancel()
        self.exporting = True
        self.start(export, request)

    def watch(self, layers: Iterable[Layer]) -> None:
        """Tell by `edited` when the objects of these layers change."""
        for layer in layers:
            if layer not in self._watched:
                self._watched.add(layer)
                if hasattr(layer, "selected_label"):
                    layer.events.paint.connect(self._on_edited)
                layer.events.features.connect(self._on_edited)
                layer.events.data.connect(self._on_edited)

    def _on_edited(self) -> None:
        self.edited.emit()


def export_jobs(session: Session) -> ExportJobs:
    """Return the session's only `ExportJobs`."""
    direct = Qt.FindChildOption.FindDirectChildrenOnly
    found = session.findChild(ExportJobs, "", direct)
    return found if isinstance(found, ExportJobs) else ExportJobs(session)
