"""The dock widget "Segment": from an image layer to editable instances."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
)

from napari_maskrcnn.core.progress import duration
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.words import counted
from napari_maskrcnn.viewer.models import models_of
from napari_maskrcnn.viewer.settings import device_choice
from napari_maskrcnn.widgets.boxes import DEFAULT_MODEL, Box, LayerBox, ModelBox
from napari_maskrcnn.widgets.command import segment_command
from napari_maskrcnn.widgets.dock import Dock
from napari_maskrcnn.widgets.parts import (
    PrimaryButton,
    ProgressRow,
    Slider,
    StatusLine,
    bold,
    button,
    form_layout,
)
from napari_maskrcnn.widgets.recovery_bar import RecoveryBar

if TYPE_CHECKING:
    from napari.layers import Image
    from qtpy.QtGui import QShowEvent

    from napari_maskrcnn.core.progress import Progress
    from napari_maskrcnn.viewer.jobs import Outcome
    from napari_maskrcnn.viewer.session import Session

# What the size is before a person or a run has said; no object is so small.
UNKNOWN_SIZE, USUAL_SIZE = 1, 24
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
            "The image layer to segment: of a stack, the plane shown"
        )
        self.model_box = ModelBox("The network to use; its purpose is in its tooltip")
        self.channel_box = Box("Which colour channel the network sees")
        self.size_auto = QCheckBox("Automatic")
        self.size_auto.setChecked(recipe.object_size is None)
        self.size_auto.setToolTip("Find the typical size of the objects in the image")
        self.size_box = QDoubleSpinBox()
        self.size_box.setRange(UNKNOWN_SIZE, 2000)
        self.size_box.setSpecialValueText("\N{EN DASH}")
        self.size_box.setDecimals(0)
        self.size_box.setSuffix(" px")
        self.size_box.setValue(recipe.object_size or UNKNOWN_SIZE)
        self.size_box.setEnabled(not self.size_auto.isChecked())
        self.size_box.setToolTip("Typical width of an object, in pixels of the image")
        self.device_label = QLabel()
        self.device_label.setToolTip(
            "Where the network runs; to be changed in Preferences > Mask R-CNN"
        )
        self.run_button = PrimaryButton("Segment instances")
        self.run_button.setToolTip("Find the objects in the plane that is shown")
        self.run_row = ProgressRow(
            "How far the run has come", "Stop the run; the layers stay as they are"
        )
        self.status = StatusLine()
        self.score_slider = Slider(0.05, 1.0, 0.01)
        self.mask_slider = Slider(0.05, 0.95, 0.01)
        self.overlap_slider = Slider(0.0, 1.0, 0.01)
        self.area_slider = Slider(0, 1000, 1)
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
        self._name_sliders()
        self.mask_slider.set_value(recipe.mask_threshold)
        self.overlap_slider.set_value(recipe.nms_threshold)
        self.area_slider.set_value(recipe.min_area)

    def _name_sliders(self) -> None:
        names = ("Score", "Mask", "Overlap", "Smallest area")
        tips = (
            "Show the objects that the network is at least this sure of. It starts "
            "where the model did best",
            "The probability from which on a pixel belongs to an object: lower means "
            "larger objects",
            "Of two objects that overlap by more than this share, the surer one stays",
            "Leave out objects of fewer pixels",
        )
        for slider, name, tip in zip(self._sliders(), names, tips, strict=True):
            slider.setToolTip(tip)
            slider.slider.setAccessibleName(name)
            slider.number.setAccessibleName(name)

    def _lay_out(self) -> None:
        size_row = QHBoxLayout()
        size_row.addWidget(self.size_auto)
        size_row.addWidget(self.size_box, 1)
        self._form = form_layout()
        self._form.addRow("Image", self.image_box)
        self._form.addRow("Model", self.model_box)
        self._form.addRow("Channel", self.channel_box)
        self._form.addRow("Object size", size_row)
        self._form.addRow("Device", self.device_label)
        sliders = form_layout()
        for slider in self._sliders():
            sliders.addRow(slider.slider.accessibleName(), slider)
        last = QVBoxLayout()
        last.addWidget(self.keep_box)
        last.addWidget(self.copy_button)
        self.stack(
            self.recovery_bar,
            self._form,
            self.run_button,
            self.run_row,
            self.status,
            self.count_label,
            sliders,
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
        self.size_auto.toggled.connect(self._on_size_auto)
        self.run_button.clicked.connect(self._on_run)
        self.run_row.cancel_button.clicked.connect(self._on_cancel)
        self.copy_button.clicked.connect(self._on_copy)
        for slider in self._sliders():
            slider.moved.connect(self._on_moved)
            slider.rested.connect(self._on_rested)

    def _sliders(self) -> tuple[Slider, Slider, Slider, Slider]:
        return (
            self.score_slider,
            self.mask_slider,
            self.overlap_slider,
            self.area_slider,
        )

    # ---- reading and filling the form

    def image(self) -> Image | None:
        """Return the chosen image layer."""
        return self.image_box.layer()

    def recipe(self) -> Recipe:
        """Return what the form says."""
        return Recipe(
            model=self.model_box.name() or DEFAULT_MODEL,
            object_size=None if self.size_auto.isChecked() else self.size_box.value(),
            channel=self.channel_box.currentData() if self._has_channels() else None,
            score_threshold=self.score_slider.value(),
            mask_threshold=self.mask_slider.value(),
            nms_threshold=self.overlap_slider.value(),
            min_area=int(self.area_slider.value()),
            device=device_choice(),
        )

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
        count = self.session.results.count(image) if image is not None else None
        if image is None:
            text = ""
        elif count is None:
            text = "No result for this plane yet" if image.ndim > 2 else "No result yet"
        else:
            text = counted(count, "object")
        self.count_label.setText(text)

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

    def _on_finished(self, outcome: Outcome) -> None:
        found = float(outcome.encoding.object_size)
        if self.size_auto.isChecked():
            self.size_box.setValue(found)
        areas = outcome.instances.areas
        if len(areas):
            largest = max(100, int(areas.max()), int(self.area_slider.value()))
            self.area_slider.set_high(min(largest, 10_000))
        self._update_device()
        if self.status.level != "warning":
            self.status.say(f"Done in {self.session.jobs.seconds:.1f} s")
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
        if entry is not None and entry.name != self._model:
            self._model = entry.name
            self.score_slider.set_value(entry.score_threshold)

    def _on_size_auto(self, automatic: bool) -> None:
        self.size_box.setEnabled(not automatic)
        if not automatic and self.size_box.value() == UNKNOWN_SIZE:
            self.size_box.setValue(USUAL_SIZE)

    def _on_run(self) -> None:
        image = self.image()
        if image is None:
            return
        self.status.say("Starting")
        try:
            self.session.segment(
                image, self.recipe(), keep_edited=self.keep_box.isChecked()
            )
        except ValueError as error:
            self.status.say(str(error), "error")

    def _on_cancel(self) -> None:
        self.session.cancel()
        self.status.say("Cancelled; nothing was changed")

    def _on_moved(self) -> None:
        image = self.image()
        if image is None:
            return
        painted = self.session.repaint(
            image, self.recipe(), keep_edited=self.keep_box.isChecked()
        )
        if painted:
            self._on_shown()

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
