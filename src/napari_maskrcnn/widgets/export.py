"""The dock widget "Export COCO": from layers of objects to a file for other tools."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel

from napari_maskrcnn.viewer.drawn_parts import part_of_layer
from napari_maskrcnn.viewer.export_jobs import export_jobs
from napari_maskrcnn.viewer.export_parts import part_of, picture_of
from napari_maskrcnn.viewer.export_request import Request, coco_path
from napari_maskrcnn.viewer.layers import spatial_shape
from napari_maskrcnn.viewer.recovery import recovery_of
from napari_maskrcnn.viewer.workers import describe_error
from napari_maskrcnn.widgets.dock import Dock
from napari_maskrcnn.widgets.export_form import ExportForm
from napari_maskrcnn.widgets.export_layers import ObjectLayers, is_listed
from napari_maskrcnn.widgets.parts import (
    PrimaryButton,
    ProgressRow,
    StatusLine,
    bold,
    button,
    paragraph,
    row,
)

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from napari_maskrcnn.core.progress import Progress
    from napari_maskrcnn.viewer.export_report import Report
    from napari_maskrcnn.viewer.export_request import AnyPart
    from napari_maskrcnn.viewer.session import Session

# How long the form and the pixels must rest before what they give is looked at.
REST_MS = 600
# Labels of more pixels are looked at on request only: it takes seconds.
MAX_PIXELS = 2**27
MOST_REMARKS = 8


class ExportWidget(Dock):
    """Choose layers, see what will be written and what is wrong with it, write it.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer, or napari's proxy of it.
    session : Session, optional
        By default the viewer's own.
    """

    def __init__(self, napari_viewer: Any, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.jobs = export_jobs(self.session)
        self._exported: list[weakref.ref[Layer]] = []
        self._make_parts()
        self._lay_out()
        self._connect()
        self.use_theme()
        self._on_layers()

    # ---- building

    def _make_parts(self) -> None:
        self.layer_list = ObjectLayers(self.session)
        self.form = ExportForm()
        self.check_button = button("Check", "Look again at what will be written")
        self.heading = bold(QLabel("Will be written"))
        self.report_label = paragraph()
        self.remarks = StatusLine()
        self.export_button = PrimaryButton("Export")
        self.export_button.setToolTip("Write the file, and the images if so chosen")
        self.run_row = ProgressRow(
            "How far the export has come", "Stop; no file is left half written"
        )
        self.status = StatusLine()
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)

    def _lay_out(self) -> None:
        self.stack(
            self.layer_list,
            self.form,
            row(self.heading, self.check_button),
            self.report_label,
            self.remarks,
            self.export_button,
            self.run_row,
            self.status,
            width=300,
        )

    def _connect(self) -> None:
        self.session.layers_changed.connect(self._on_layers)
        self.session.released.connect(self.jobs.cancel)
        self.jobs.changed.connect(self._on_job)
        self.jobs.progressed.connect(self._on_progress)
        self.jobs.returned.connect(self._on_returned)
        self.jobs.failed.connect(self._on_failed)
        self.jobs.edited.connect(self._on_changed)
        self.layer_list.chosen.connect(self._on_changed)
        self.form.changed.connect(self._on_changed)
        self.check_button.clicked.connect(self._on_check)
        self.export_button.clicked.connect(self._on_export)
        self.run_row.cancel_button.clicked.connect(self._on_cancel)
        self._rest.timeout.connect(self._on_rested)

    # ---- reading the form

    def request(self) -> Request:
        """Return what the form asks for, with a snapshot of the layers.

        Raises
        ------
        ValueError
            If no layer is ticked, no file is chosen, or a layer is no image.
        """
        pairs = self.layer_list.pairs()
        if not pairs:
            raise ValueError("Tick a layer to export")
        coco_path(self.form.file_edit.text())  # before any copying
        parts = (self._part(layer, image) for layer, image in pairs)
        return self.form.request(tuple(parts))

    def _part(self, layer: Any, image: Image | None) -> AnyPart:
        if isinstance(layer, Labels):
            return part_of(self.session, layer, image)
        return part_of_layer(layer, None if image is None else picture_of(image))

    def _propose_file(self) -> None:
        """Name a file beside the first image, until the person names one."""
        pictures = [picture_of(x) for _, x in self.layer_list.pairs() if x is not None]
        folders = [x.path.parent for x in pictures if x.path is not None]
        self.form.propose_folder(folders[0] if folders else None)

    # ---- the session tells

    def _on_layers(self) -> None:
        self.layer_list.list_layers()
        viewer = self.session.viewer
        if viewer is not None:
            self.jobs.watch(x for x in viewer.layers if is_listed(x))
        self._propose_file()
        self._on_changed()

    def _on_changed(self) -> None:
        """Look at what would be written, once nothing changes any more."""
        self._on_job()
        if not (self.jobs.running and self.jobs.exporting):
            self._rest.start()

    def _on_job(self) -> None:
        exporting = self.jobs.running and self.jobs.exporting
        ticked = bool(self.layer_list.pairs())
        self.export_button.setEnabled(ticked and not exporting)
        self.check_button.setEnabled(ticked and not exporting)
        self.run_row.set_running(exporting)

    def _on_progress(self, progress: Progress) -> None:
        if self.jobs.exporting:
            self.run_row.show_progress(progress.done, progress.total)
            self.status.say(progress.message)

    def _on_returned(self, report: Report) -> None:
        written = self.jobs.exporting
        self.heading.setText("Written" if written else "Will be written")
        self.report_label.setText("\n".join(report.lines()))
        self._show_remarks(report)
        if written:
            for reference in self._exported:
                labels = reference()
                if isinstance(labels, Labels):
                    recovery_of(self.session).mark_saved(labels)
            folder = report.files[0].parent
            self.status.say(f"Written to {folder} in {self.jobs.seconds:.1f} s")
        else:
            self.status.say("")

    def _show_remarks(self, report: Report) -> None:
        lines = list(report.remarks[:MOST_REMARKS])
        if len(report.remarks) > MOST_REMARKS:
            lines.append(f"and {len(report.remarks) - MOST_REMARKS:,} more")
        self.remarks.say("\n".join(lines), "warning" if lines else "info")

    def _on_failed(self, sentence: str) -> None:
        self._refuse(sentence)

    def _refuse(self, sentence: str) -> None:
        self.heading.setText("Will be written")
        self.report_label.setText("Nothing as it is")
        self.remarks.say("")
        self.status.say(sentence, "error")

    # ---- the person acts

    def _on_rested(self) -> None:
        pairs = self.layer_list.pairs()
        pixels = sum(_pixels(x) for x, _ in pairs if isinstance(x, Labels))
        if not pairs or not self.form.has_file():
            self.heading.setText("Will be written")
            self.report_label.setText("")
            self.remarks.say("")
            text = "Choose a file to write" if pairs else "Tick a layer to export"
            self.status.say(text)
        elif pixels > MAX_PIXELS:
            self.report_label.setText("These are large layers: press Check")
        else:
            self._on_check()

    def _on_check(self) -> None:
        self._rest.stop()
        request = self._valid_request()
        if request is not None:
            self.jobs.check(request)

    def _on_export(self) -> None:
        self._rest.stop()
        if not self.form.has_file():
            self.form.browse()
        request = self._valid_request()
        if request is not None:
            self.status.say("Starting")
            self._exported = [weakref.ref(x) for x, _ in self.layer_list.pairs()]
            self.jobs.export(request)

    def _valid_request(self) -> Request | None:
        try:
            return self.request()
        except (ValueError, OSError, MemoryError) as error:
            self._refuse(describe_error(error))
            return None

    def _on_cancel(self) -> None:
        self.jobs.cancel()
        self.status.say("Cancelled; the COCO file is as it was")


def _pixels(labels: Any) -> int:
    count = 1
    for size in spatial_shape(labels):
        count *= size
    return count
