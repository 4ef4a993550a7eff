"""The dock widget "Edit": mend the objects of a Labels layer, one undo step an act."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
)

from napari_maskrcnn.viewer.actions import action_named, actions_of
from napari_maskrcnn.viewer.drawn_words import invitation
from napari_maskrcnn.viewer.editor import MODES, editor_of
from napari_maskrcnn.viewer.keys import LayerKeys
from napari_maskrcnn.viewer.looking import Clicks
from napari_maskrcnn.viewer.selection import select, selected_ids
from napari_maskrcnn.widgets.boxes import LayerBox
from napari_maskrcnn.widgets.canvas_line import CanvasLine, canvas_in
from napari_maskrcnn.widgets.dock import Dock
from napari_maskrcnn.widgets.parts import StatusLine, action_button, bold
from napari_maskrcnn.widgets.recovery_bar import RecoveryBar

if TYPE_CHECKING:
    from napari.layers import Labels
    from qtpy.QtGui import QShowEvent

    from napari_maskrcnn.viewer.session import Session

EMPTY = "Segment an image first, or choose a Labels layer"
# The buttons in their groups, row by row; "parts" is the number beside "Split into".
GROUPS = (
    ("Join and split", (("merge", "split_line"), ("split_parts", "parts"))),
    (
        "Mend and delete",
        (("grow", "shrink"), ("smooth", "fill_holes"), ("keep_largest", "delete")),
    ),
    ("New objects", (("draw", "brush"),)),
    ("Last step", (("undo", "redo"),)),
)


class EditWidget(Dock):
    """Buttons, keys and modes of the mouse for the selected objects.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer, or napari's proxy of it.
    session : Session, optional
        By default the viewer's own.
    """

    def __init__(self, napari_viewer: Any, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self._empty = EMPTY
        editor = editor_of(self.session)
        if editor is None:
            raise RuntimeError("the viewer is gone")
        self.editor = editor
        self._keys: LayerKeys | None = None
        self._line: CanvasLine | None = None
        self._clicks: Clicks | None = None
        self._make_parts()
        self._lay_out()
        self._connect()
        self.use_theme()
        self._on_layers()

    # ---- building

    def _make_parts(self) -> None:
        self.recovery_bar = RecoveryBar(self.session, self)
        self.layer_box = LayerBox("The Labels layer to edit: of a stack, the plane")
        self.selected_label = QLabel()
        self.selected_label.setToolTip(
            "The buttons and keys act on this; click an object in the image, or in the "
            "table of the Review widget, where you can select several"
        )
        self.parts_box = QSpinBox()
        self.parts_box.setRange(2, 20)
        self.parts_box.setSuffix(" parts")
        self.parts_box.setValue(self.editor.parts)
        self.parts_box.setToolTip('How many parts "Split into" makes')
        self.parts_box.setAccessibleName("Number of parts")
        self.over_box = QCheckBox("Cover other objects")
        self.over_box.setChecked(self.editor.over_others)
        self.over_box.setToolTip(
            "Let a new outline cover other objects; otherwise they keep their pixels"
        )
        self.status = StatusLine()
        self.buttons: dict[str, QPushButton] = {}
        for action in (*actions_of("Edit"), action_named("undo"), action_named("redo")):
            self.buttons[action.name] = action_button(action)
            self.buttons[action.name].setCheckable(action.name in MODES)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.addWidget(self.recovery_bar)
        top = QHBoxLayout()
        top.addWidget(QLabel("Labels"))
        top.addWidget(self.layer_box, 1)
        column.addLayout(top)
        column.addWidget(self.selected_label)
        for title, rows in GROUPS:
            column.addWidget(bold(QLabel(title)))
            grid = QGridLayout()
            grid.setColumnStretch(0, 1)
            grid.setColumnStretch(1, 1)
            for row, names in enumerate(rows):
                for place, name in enumerate(names):
                    part = self.parts_box if name == "parts" else self.buttons[name]
                    grid.addWidget(part, row, place)
            if title.startswith("New"):
                grid.addWidget(self.over_box, 1, 0, 1, 2)
            column.addLayout(grid)
        column.addWidget(self.status)
        column.addStretch(1)
        self.setMinimumWidth(260)

    def _connect(self) -> None:
        session = self.session
        session.layers_changed.connect(self._on_layers)
        self.layer_box.currentIndexChanged.connect(self._on_layer)
        self.parts_box.valueChanged.connect(self._on_parts)
        self.over_box.toggled.connect(self._on_over)
        self.editor.said.connect(self.status.say)
        self.editor.mode_changed.connect(self._on_mode)
        for name, button in self.buttons.items():
            button.clicked.connect(partial(_press, weakref.ref(self), name))
        viewer = session.viewer
        if viewer is not None:
            viewer.layers.selection.events.active.connect(self._on_active)

    # ---- while the widget is docked

    def showEvent(self, event: QShowEvent | None) -> None:
        """Find the canvas."""
        super().showEvent(event)
        self._hold()

    def event(self, event: QEvent | None) -> bool:
        """Bind the keys when the widget is docked, give them back when it is not."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is None:
                self.release()
            else:
                self._hold()
        return bool(super().event(event))

    def _hold(self) -> None:
        viewer = self.session.viewer
        if viewer is None or self.parent() is None:
            return
        if self._keys is None:
            names = [action.name for action in actions_of("Edit")]
            self._keys = LayerKeys(
                viewer, {name: partial(self.editor.run, name) for name in names}
            )
        if self._clicks is None:
            self._clicks = Clicks(viewer, self.layer, self._on_clicked)
            self._clicks.listen()
        canvas = canvas_in(self.window())
        if self._line is None and canvas is not None:
            self._line = CanvasLine(canvas, viewer, self.editor.tracer)

    def release(self) -> None:
        """Give back the keys and the mouse; called when the dock is closed."""
        self.editor.stop()
        if self._keys is not None:
            self._keys.release()
            self._keys = None
        if self._clicks is not None:
            self._clicks.stop()
            self._clicks = None
        if self._line is not None:
            self._line.release()
            self._line = None

    # ---- what is shown

    def layer(self) -> Labels | None:
        """Return the chosen Labels layer."""
        return self.layer_box.layer()

    def _on_layers(self) -> None:
        self.layer_box.list_layers(self.session.all_labels())
        self._on_layer()

    def _on_active(self) -> None:
        """Follow the layer that is active in napari's list."""
        viewer, layers = self.session.viewer, self.session.all_labels()
        active = viewer.layers.selection.active if viewer is not None else None
        if active in layers:
            self.layer_box.setCurrentIndex(layers.index(active))

    def _on_layer(self, _index: int = 0) -> None:
        layer = self.layer()
        self.layer_box.follow(selected_label=self._on_selected)
        for button in self.buttons.values():
            button.setEnabled(layer is not None)
        if layer is None:
            self._empty = invitation(self.session, "Edit", EMPTY)
            self.status.say(self._empty)
        elif self.status.text() == self._empty:
            self.status.say("")
        self._on_selected()

    def _on_selected(self) -> None:
        layer = self.layer()
        ids = selected_ids(layer) if layer is not None else []
        words = f"Object {ids[0]}" if len(ids) == 1 else f"{len(ids)} objects"
        self.selected_label.setText(f"{words} selected" if ids else "Nothing selected")

    def _on_clicked(self, index: int) -> None:
        """Select the object that was clicked in the image, for buttons and keys."""
        layer, viewer = self.layer(), self.session.viewer
        if layer is None or viewer is None or self.editor.mode:
            return
        select(layer, [index])
        viewer.layers.selection.active = layer
        self._on_selected()

    def _on_mode(self) -> None:
        for name in MODES:
            self.buttons[name].setChecked(self.editor.mode == name)

    # ---- the person acts

    def press(self, name: str) -> None:
        """Do what a button says."""
        layer = self.layer()
        if layer is None:
            return
        if name in ("undo", "redo"):
            (layer.undo if name == "undo" else layer.redo)()
        else:
            viewer = self.session.viewer
            if viewer is not None:
                viewer.layers.selection.active = layer
            self.editor.run(name, layer)
        self._on_mode()
        self._on_selected()

    def _on_parts(self, count: int) -> None:
        self.editor.parts = count

    def _on_over(self, over: bool) -> None:
        self.editor.over_others = over


def _press(reference: weakref.ref[EditWidget], name: str, *_checked: bool) -> None:
    """Press a button of a widget without keeping the widget alive."""
    widget = reference()
    if widget is not None:
        widget.press(name)
