"""The dock widget "Segment": from an image layer to editable instances."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QLabel,
    QVBoxLayout,
)

from napari_maskrcnn.core.class_names import choosable
from napari_maskrcnn.core.progress import duration
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.words import counted
from napari_maskrcnn.viewer.models import models_of
from napari_maskrcnn.viewer.settings import device_choice
from napari_maskrcnn.viewer.workers import describe_error
from napari_maskrcnn.widgets.boxes import DEFAULT_MODEL, Box, LayerBox, ModelBox
from napari_maskrcnn.widgets.class_choice import ClassChoice
from napari_maskrcnn.widgets.command import segment_command
from napari_maskrcnn.widgets.dock import Dock
from napari_maskrcnn.widgets.download_row import DownloadRow
from napari_maskrcnn.widgets.frames_row import FramesRow
from napari_maskrcnn.widgets.parts import (
    PrimaryButton,
    ProgressRow,
    StatusLine,
    bold,
    button,
    form_layout,
)
from napari_maskrcnn.widgets.recovery_bar import RecoveryBar
from napari_maskrcnn.widgets.size_row import SizeRow
from napari_maskrcnn.widgets.thresholds import Thresholds

if TYPE_CHECKING:
    from napari.layers import Image
    from qtpy.QtGui import QShowEvent

    from napari_maskrcnn.core.progress import Progress
    from napari_maskrcnn.viewer.segmenting import Run
    from napari_maskrcnn.viewer.session import Session

CHANNELS = ("Red", "Green", "Blue")


class SegmentWidget(Dock):
    """Choose an image and a model, segment, and filter the result with live sliders.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer, or napari's proxy of it.
    session : Session, optional
        By default the viewer's own.
    """

    def __init__(self, napari_viewer: Any, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        # The model at whose own score threshold the slider was set.
        self._model = ""
        self._make_parts()
        self._lay_out()
        self._connect()
        self.use_theme()
        self._list_models()
        self._update_device()
        self._on_layers()

    # ---- building

    def _make_parts(self) -> None:
        recipe = Recipe()
        self.recovery_bar = RecoveryBar(self.session)
        self.image_box = LayerBox(
            "The image layer to segment; of a stack, one plane or many"
        )
        self.model_box = ModelBox(
            "The network to use; its purpose is in its tooltip", absent=True
        )
        self.frames_row = FramesRow()
        self.channel_box = Box("Which colour channel the network sees")
        self.download_row = DownloadRow(self.session)
        self.class_choice = ClassChoice()
        self.size_row = SizeRow(recipe.object_size)
        self.size_auto, self.size_box = self.size_row.auto, self.size_row.box
        self.device_label = QLabel()
        self.device_label.setToolTip(
            "Where the network runs; to be changed in Preferences > Mask R-CNN"
        )
        self.run_button = PrimaryButton("Segment instances")
        self.run_button.setToolTip("Find the objects in what is chosen above")
        self.run_row = ProgressRow(
            "How far the run has come", "Stop the run; frames that are done stay"
        )
        self.status = StatusLine()
        self.thresholds = Thresholds(recipe)
        self.score_slider = self.thresholds.score_slider
        self.mask_slider = self.thresholds.mask_slider
        self.overlap_slider = self.thresholds.overlap_slider
        self.area_slider = self.thresholds.area_slider
        self.count_label = bold(QLabel())
        self.keep_box = QCheckBox("Keep objects I edited or approved")
        self.keep_box.setChecked(True)
        self.keep_box.setToolTip(
            "Objects that you drew, changed, deleted or approved stay as you left them "
            "when you segment again or move a slider. Clear it to have them replaced"
        )
        self.copy_button = button(
            "Copy command",
            "Copy the command that does the same in a terminal, for one image or many",
        )

    def _lay_out(self) -> None:
        self._form = form_layout()
        self._form.addRow("Image", self.image_box)
        self._form.addRow("Frames", self.frames_row)
        self._form.addRow("Model", self.model_box)
        self._form.addRow("Channel", self.channel_box)
        self._form.addRow("Classes", self.class_choice)
        self._form.addRow("Object size", self.size_row)
        self._form.addRow("Device", self.device_label)
        last = QVBoxLayout()
        last.addWidget(self.keep_box)
        last.addWidget(self.copy_button)
        self.stack(
            self.recovery_bar,
            self._form,
            self.download_row,
            self.run_button,
            self.run_row,
            self.status,
            self.count_label,
            self.thresholds,
            last,
            width=280,
        )

    def _connect(self) -> None:
        session = self.session
        session.layers_changed.connect(self._on_layers)
        session.shown_changed.connect(self._on_shown)
        session.job_changed.connect(self._on_job)
        session.progressed.connect(self._on_progress)
        session.finished.connect(self._on_finished)
        session.failed.connect(self._on_failed)
        session.warned.connect(self._on_warned)
        models = models_of(session)
        models.changed.connect(self._list_models)
        models.chosen.connect(self.model_box.choose)
        models.follow(self.recipe)
        self.image_box.currentIndexChanged.connect(self._on_image)
        self.model_box.currentIndexChanged.connect(self._on_model)
        self.class_choice.changed.connect(self._on_classes)
        self.run_button.clicked.connect(self._on_run)
        self.run_row.cancel_button.clicked.connect(self._on_cancel)
        self.copy_button.clicked.connect(self._on_copy)
        self.thresholds.moved.connect(self._on_moved)
        self.thresholds.rested.connect(self._on_rested)

    # ---- reading and filling the form

    def image(self) -> Image | None:
        """Return the chosen image layer."""
        return self.image_box.layer()

    def recipe(self) -> Recipe:
        """Return what the form says."""
        return Recipe(
            model=self.model_box.name() or DEFAULT_MODEL,
            object_size=None if self._one_image_size() else self.size_row.value(),
            channel=self.channel_box.currentData() if self._has_channels() else None,
            score_threshold=self.score_slider.value(),
            mask_threshold=self.mask_slider.value(),
            nms_threshold=self.overlap_slider.value(),
            min_area=int(self.area_slider.value()),
            classes=self.class_choice.chosen(),
            device=device_choice(),
        )

    def _one_image_size(self) -> bool:
        entry = self.model_box.entry()
        return entry is not None and entry.image_size_model

    def _has_channels(self) -> bool:
        image = self.image()
        return image is not None and bool(image.rgb)

    def _list_models(self) -> None:
        self.model_box.list_models(models_of(self.session).name)
        self._on_model()

    # ---- the session tells

    def showEvent(self, event: QShowEvent | None) -> None:
        """Look for new models."""
        super().showEvent(event)
        self._list_models()
        self._update_device()

    def _on_layers(self) -> None:
        self.image_box.list_layers(self.session.images())
        self._on_image()

    def _on_image(self, _index: int = 0) -> None:
        image = self.image()
        self._form.setRowVisible(self.channel_box, self._has_channels())
        if image is not None and image.rgb:
            self.channel_box.clear()
            self.channel_box.addItem("Automatic (colour)", None)
            for index, name in enumerate(CHANNELS):
                self.channel_box.addItem(name, index)
        self._on_job()
        self._on_shown()

    def _on_shown(self) -> None:
        image = self.image()
        plane = self.session.plane_of(image) if image is not None else None
        has_frames = self.frames_row.show_image(image, plane)
        self._form.setRowVisible(self.frames_row, has_frames)
        count = self.session.count(image) if image is not None else None
        if image is None:
            text = ""
        elif count is None:
            text = "No result for this plane yet" if image.ndim > 2 else "No result yet"
        else:
            text = counted(count, "object")
        self.count_label.setText(text)
        record = self.session.record_of(image) if image is not None else None
        # Boxes have no outline that would grow or shrink.
        self.mask_slider.setEnabled(record is None or record.instances.has_masks)

    def _on_job(self) -> None:
        running = self.session.jobs.running
        self.run_button.setEnabled(not running and self.image() is not None)
        self.run_row.set_running(running)
        if self.session.jobs.waiting:
            self.status.say("Waiting for the last run to stop")
        elif self.image() is None:
            self.status.say("Open an image to begin")

    def _on_progress(self, progress: Progress) -> None:
        left = self.session.jobs.seconds_left(progress)
        self.run_row.show_progress(progress.done, progress.total)
        text = progress.message or "Segmenting"
        if left is not None and left >= 1:
            text += f", about {duration(left)} left"
        self.status.say(text)
        self._update_device()

    def _on_finished(self, run: Run) -> None:
        if run.object_size is not None:
            self.size_row.show_found(run.object_size)
        if run.largest_area:
            self.thresholds.allow_area(run.largest_area)
        self._update_device()
        done = run.done_words(self.session.jobs.seconds)
        if self.status.level != "warning":
            self.status.say(done)
        elif run.job is not None:
            self._on_warned(done)
        self._on_shown()

    def _on_failed(self, sentence: str) -> None:
        self.status.say(sentence, "error")

    def _on_warned(self, sentence: str) -> None:
        before = self.status.text() if self.status.level == "warning" else ""
        self.status.say(f"{before}\n{sentence}".strip(), "warning")

    def _update_device(self) -> None:
        self.device_label.setText(self.session.loaded.device_text or device_choice())

    # ---- the person acts

    def _on_model(self, _index: int = 0) -> None:
        entry = self.model_box.entry()
        self.download_row.show_entry(entry)
        if entry is None:
            return
        names = choosable(entry.class_names)
        self.class_choice.list_classes(names)
        self._form.setRowVisible(self.class_choice, len(names) > 1)
        self._form.setRowVisible(self.size_row, not entry.image_size_model)
        if entry.name != self._model:
            self._model = entry.name
            self.score_slider.set_value(entry.score_threshold)
            self.overlap_slider.set_value(entry.nms_threshold)

    def _on_run(self) -> None:
        image = self.image()
        if image is None:
            return
        entry = self.model_box.entry()
        if entry is not None and not entry.downloaded:
            self.status.say(f"{entry.name} must be downloaded first", "warning")
            return
        self.status.say("Starting")
        try:
            self.session.segment(
                image,
                self.recipe(),
                keep_edited=self.keep_box.isChecked(),
                frames=self.frames_row.frames(),
            )
        except ValueError as error:
            self.status.say(describe_error(error), "error")

    def _on_cancel(self) -> None:
        self.status.say(self.session.cancel())

    def _on_moved(self) -> None:
        image = self.image()
        if image is None:
            return
        try:
            painted = self.session.repaint(
                image, self.recipe(), keep_edited=self.keep_box.isChecked()
            )
        except ValueError as error:
            # The result shown is another model's, which lacks a class ticked here.
            self.status.say(describe_error(error), "warning")
            return
        if painted:
            self._on_shown()

    def _on_classes(self) -> None:
        self._on_moved()
        self._on_rested()

    def _on_rested(self) -> None:
        self.session.commit()

    def _on_copy(self) -> None:
        image = self.image()
        path = image.source.path if image is not None else None
        command = segment_command(self.recipe(), Path(path) if path else None)
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(command)
        self.status.say(
            "Command copied"
            if path
            else "Command copied; put your file in the place of IMAGE"
        )
