"""The dock widget "Prompt": a box or a click, and an object appears."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QLabel

from napari_maskrcnn.core.class_names import choosable
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.viewer.classes import classes_of
from napari_maskrcnn.viewer.drawn_words import correcting
from napari_maskrcnn.viewer.models import models_of
from napari_maskrcnn.viewer.pointing import BOX, POINT
from napari_maskrcnn.viewer.prompting import PromptTool, prompts_of
from napari_maskrcnn.viewer.settings import device_choice
from napari_maskrcnn.widgets.boxes import DEFAULT_MODEL, Box, LayerBox, ModelBox
from napari_maskrcnn.widgets.dock import Dock
from napari_maskrcnn.widgets.parts import ProgressRow, StatusLine, button, form_layout
from napari_maskrcnn.widgets.recovery_bar import RecoveryBar
from napari_maskrcnn.widgets.rubber_band import RubberBand

if TYPE_CHECKING:
    from napari.layers import Image
    from qtpy.QtGui import QHideEvent, QShowEvent

    from napari_maskrcnn.core.progress import Progress
    from napari_maskrcnn.viewer.session import Session

HINTS = {
    BOX: "Drag a box around an object",
    POINT: "Click an object; drag to move the image",
    "": "Choose Box or Point, then work in the image",
}
EMPTY = "Open an image to begin"
UNENCODED = "The first prompt on an image encodes it, which takes longer"
ALWAYS = "Alt-click removes an object, Escape ends, Ctrl-Z takes back"


class PromptWidget(Dock):
    """Make objects with the network where the mouse points.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer, or napari's proxy of it.
    session : Session, optional
        By default the viewer's own.
    """

    def __init__(self, napari_viewer: Any, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        tool = prompts_of(self.session)
        if tool is None:
            raise RuntimeError("the viewer of this widget is gone")
        self.tool: PromptTool = tool
        # The model of each image's result that the box has followed.
        self._followed: weakref.WeakKeyDictionary[Image, str] = (
            weakref.WeakKeyDictionary()
        )
        self._make_parts()
        self._lay_out()
        self._connect()
        self.use_theme()
        self._list_models()
        if models_of(self.session).name:
            self._use_model(models_of(self.session).name)
        self._on_layers()

    # ---- building

    def _make_parts(self) -> None:
        self.recovery_bar = RecoveryBar(self.session)
        self.image_box = LayerBox("The image to make objects in: of a stack, the plane")
        self.model_box = ModelBox(
            "The network; an image that another one encoded is encoded again"
        )
        self.class_box = Box("The class of new objects")
        self.box_button = button(
            "Box", "Drag boxes: the network draws the object inside"
        )
        self.point_button = button(
            "Point", "Click objects: the network finds their outlines"
        )
        self._modes = QButtonGroup(self)
        self._modes.setExclusive(False)
        for one in (self.box_button, self.point_button):
            one.setCheckable(True)
            one.setMinimumHeight(34)
            # A click leaves the keys with the canvas; Tab still comes here.
            one.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            self._modes.addButton(one)
        self.hint = QLabel()
        self.hint.setWordWrap(True)
        self.always = QLabel(ALWAYS)
        self.always.setWordWrap(True)
        self.run_row = ProgressRow(
            "How far the encoding has come", "Give up the prompt that runs"
        )
        self.status = StatusLine()
        self.band = RubberBand(self)

    def _lay_out(self) -> None:
        form = form_layout()
        form.addRow("Image", self.image_box)
        form.addRow("Model", self.model_box)
        form.addRow("Class", self.class_box)
        modes = QHBoxLayout()
        modes.addWidget(self.box_button)
        modes.addWidget(self.point_button)
        self.stack(
            self.recovery_bar,
            form,
            modes,
            self.hint,
            self.always,
            self.run_row,
            self.status,
            width=280,
        )

    def _connect(self) -> None:
        self.session.layers_changed.connect(self._on_layers)
        self.session.shown_changed.connect(self._on_shown)
        self.tool.changed.connect(self._on_tool)
        self.tool.progressed.connect(self._on_progress)
        self.tool.said.connect(self.status.say)
        self.tool.pointer.dragged.connect(self.band.show_box)
        self.image_box.currentIndexChanged.connect(self._on_image)
        self.model_box.currentIndexChanged.connect(self._on_model)
        models = models_of(self.session)
        models.changed.connect(self._list_models)
        models.chosen.connect(self._use_model)
        self.class_box.currentIndexChanged.connect(self._on_class)
        self.box_button.clicked.connect(self._on_box)
        self.point_button.clicked.connect(self._on_point)
        self.run_row.cancel_button.clicked.connect(self._on_cancel)

    # ---- filling the form

    def image(self) -> Image | None:
        """Return the chosen image layer."""
        return self.image_box.layer()

    def _on_layers(self) -> None:
        self.image_box.list_layers(self.session.images())
        self._on_image()

    def _on_image(self, _index: int = 0) -> None:
        image = self.image()
        self.tool.image = image
        self._follow_result()
        self._use_recipe()
        self._list_classes()
        self._on_tool()

    def _on_shown(self) -> None:
        self._follow_result()
        self._list_classes()
        self._on_tool()

    def _list_models(self) -> None:
        self.model_box.list_models(models_of(self.session).name)
        self._use_recipe()

    def _use_model(self, name: str) -> None:
        """Take the model that a person chose elsewhere, for the images of now too."""
        for image in self.session.images():
            self._result_is_new(image)
        self.model_box.choose(name)

    def _follow_result(self) -> None:
        """Take the model that has segmented the image, once for each result."""
        image = self.image()
        record = self.session.results.record_of(image) if image is not None else None
        if image is None or record is None or record.recipe is None:
            return
        if self._result_is_new(image):
            self.model_box.choose(record.recipe.model)

    def _result_is_new(self, image: Image) -> bool:
        """Whether an image's result is of another model than when last asked."""
        record = self.session.results.record_of(image)
        if record is None or record.recipe is None:
            return False
        before = self._followed.get(image)
        self._followed[image] = record.recipe.model
        return before != record.recipe.model

    def _use_recipe(self) -> None:
        """Tell the tool how to encode: as in the last run, with the chosen model."""
        image = self.image()
        record = self.session.results.record_of(image) if image is not None else None
        model = self.model_box.name() or DEFAULT_MODEL
        last = record.recipe if record is not None else None
        self.tool.recipe = Recipe(
            model=model,
            object_size=last.object_size if last is not None else None,
            channel=last.channel if last is not None else None,
            device=device_choice(),
        )

    def _on_model(self, _index: int) -> None:
        self._use_recipe()

    def _list_classes(self) -> None:
        image = self.image()
        labels = self.session.results.labels_of(image) if image is not None else None
        record = self.session.results.record_of(image) if image is not None else None
        known = choosable(record.instances.class_names) if record is not None else ()
        names = classes_of(labels, known) if labels is not None else list(known)
        now = [self.class_box.itemData(i) for i in range(1, self.class_box.count())]
        if now == names and self.class_box.count():
            return
        chosen = self.class_box.currentData()
        self.class_box.clear()
        self.class_box.addItem("As the network sees it", "")
        for name in names:
            self.class_box.addItem(name, name)
        self.class_box.setCurrentIndex(max(0, self.class_box.findData(chosen)))

    def _on_class(self, _index: int) -> None:
        self.tool.class_name = str(self.class_box.currentData() or "")

    # ---- the tool tells

    def _on_tool(self) -> None:
        image = self.image()
        mode, running = self.tool.mode, self.tool.jobs.running
        for one, own in ((self.box_button, BOX), (self.point_button, POINT)):
            one.setEnabled(image is not None)
            one.setChecked(mode == own)
        self.hint.setText(HINTS[mode])
        self.run_row.set_running(running)
        if not running:
            self.run_row.hide()
        record = self.session.results.record_of(image) if image is not None else None
        drawn = image is not None and self.session.drawn.record_of(image) is not None
        if image is None:
            self.status.say(EMPTY)
        elif drawn and record is None and self.status.text() in ("", EMPTY, UNENCODED):
            self.status.say(f"Prompts draw masks. {correcting(self.session)}")
        elif not running and self.status.text() in ("", EMPTY):
            encoded = record is not None and record.encoding is not None
            self.status.say("" if encoded else UNENCODED)

    def _on_progress(self, progress: Progress) -> None:
        # A prompt on an encoded image is over before a bar could be seen.
        if "ncod" in progress.message or progress.total:
            self.run_row.show()
        self.run_row.show_progress(progress.done, progress.total)
        if progress.message:
            self.status.say(progress.message)

    # ---- the person acts

    def _on_box(self, checked: bool) -> None:
        self._begin(BOX if checked else "")

    def _on_point(self, checked: bool) -> None:
        self._begin(POINT if checked else "")

    def _begin(self, mode: str) -> None:
        if mode:
            self.tool.start(mode)
        else:
            self.tool.stop()
        self._on_tool()

    def _on_cancel(self) -> None:
        self.tool.cancel()
        self.status.say("Cancelled; nothing was changed")

    def showEvent(self, event: QShowEvent | None) -> None:
        """Look for new models, and take the image that was segmented meanwhile."""
        super().showEvent(event)
        self._list_models()
        self._on_layers()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Give the mouse back when the dock is closed or another one is on top."""
        super().hideEvent(event)
        self.tool.stop()
