"""The dock widget "Review": objects one after the other, the least certain first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_maskrcnn.viewer import classes, deciding
from napari_maskrcnn.viewer.drawn_words import invitation
from napari_maskrcnn.viewer.layers import current_plane
from napari_maskrcnn.viewer.listening import Listening
from napari_maskrcnn.viewer.listing import Lister, labels_layers
from napari_maskrcnn.viewer.looking import show_object
from napari_maskrcnn.viewer.rectangles import RectangleTool, show_regions
from napari_maskrcnn.viewer.selection import select, selected_ids
from napari_maskrcnn.widgets.boxes import LayerBox
from napari_maskrcnn.widgets.class_panel import KEYS, ClassPanel
from napari_maskrcnn.widgets.decide_bar import DecideBar
from napari_maskrcnn.widgets.dock import Dock
from napari_maskrcnn.widgets.parts import (
    StatusLine,
)
from napari_maskrcnn.widgets.recovery_bar import RecoveryBar
from napari_maskrcnn.widgets.review_list import ReviewList

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Labels
    from qtpy.QtGui import QHideEvent, QShowEvent

    from napari_maskrcnn.viewer.session import Session

EMPTY = "Segment an image first, or choose a Labels layer"
# What the keys of the actions do here.
COMMANDS = {name: name for name in ("approve", "reject", "next", "previous")} | {
    f"class_{number}": str(number) for number in range(1, KEYS + 1)
}
# How long the table and the pixels must rest before the list follows them.
TABLE_MS, PIXELS_MS = 40, 350


class ReviewWidget(Dock):
    """Look through the objects of a Labels layer, approve, reject and class them.

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
        self._lister = Lister(self.session)
        self._selecting = False
        self._listening = Listening(
            self.layer, self._on_clicked, self._on_key, COMMANDS
        )
        self._make_parts()
        self._lay_out()
        self._connect()
        self.use_theme()
        self._on_layers()

    # ---- building

    def _make_parts(self) -> None:
        self.recovery_bar = RecoveryBar(self.session, self)
        self.layer_box = LayerBox("The Labels layer to review: of a stack, the plane")
        self.list = ReviewList()
        self.table, self.model = self.list.table, self.list.model
        self.decide_bar = DecideBar()
        self.classes = ClassPanel()
        self.status = StatusLine()
        # Room for two lines, so that the table does not jump.
        self.status.setMinimumHeight(2 * self.fontMetrics().lineSpacing() + 8)
        self.rectangle = RectangleTool(self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        top.addWidget(QLabel("Labels"))
        top.addWidget(self.layer_box, 1)
        column_layout = QVBoxLayout(self)
        column_layout.addWidget(self.recovery_bar)
        column_layout.addLayout(top)
        column_layout.addWidget(self.list, 1)
        column_layout.addWidget(self.decide_bar)
        column_layout.addWidget(self.classes)
        column_layout.addWidget(self.status)
        self.setMinimumWidth(340)

    def _connect(self) -> None:
        session = self.session
        session.layers_changed.connect(self._on_layers)
        session.shown_changed.connect(self._on_shown)
        self.layer_box.currentIndexChanged.connect(self._on_layer)
        self.list.filled.connect(self.decide_bar.show_count)
        self.list.walked_to.connect(self.go_to)
        self.table.chosen.connect(self._on_chosen)
        self.table.key_pressed.connect(self._on_key)
        self.model.ticked.connect(self._on_ticked)
        bar = self.decide_bar
        bar.approve_button.clicked.connect(self.approve)
        bar.reject_button.clicked.connect(self.reject)
        bar.shown_button.clicked.connect(self.approve_shown)
        bar.plane_button.clicked.connect(self.approve_plane)
        bar.region_button.toggled.connect(self._on_region)
        self.rectangle.drawn.connect(self._on_drawn)
        self.rectangle.ended.connect(self._on_drawing_ended)
        self.classes.given.connect(self.set_class)
        self.classes.added.connect(self._on_class_added)
        self.classes.renamed.connect(self._on_class_renamed)
        self.classes.coloured.connect(self._on_coloured)
        self._timer.timeout.connect(self.refresh)

    # ---- what is shown

    def layer(self) -> Labels | None:
        """Return the chosen Labels layer."""
        return self.layer_box.layer()

    def refresh(self) -> None:
        """List the objects of the plane that is shown; costs little if little changed.

        Nothing is done while the widget cannot be seen: it is when it is shown again.
        """
        self._timer.stop()
        if not self.isVisible():
            return
        layer, listing = self.layer(), None
        if layer is not None:
            try:
                listing = self._lister.list(layer)
            except ValueError as error:
                self.status.say(str(error), "error")
        names = self._show_classes()
        colours = classes.colours_of(len(names))
        self.list.show_listing(listing, dict(zip(names, colours, strict=True)))
        self._show_what_can_be_done()
        viewer = self.session.viewer
        if viewer is not None and layer is not None and listing is not None:
            show_regions(viewer, layer, listing.plane)

    def _show_what_can_be_done(self) -> None:
        self.decide_bar.show_plane(self.list.listing is not None)
        if self.layer() is None:
            self._empty = invitation(self.session, "Review", EMPTY)
            self.status.say(self._empty)
        elif self.status.text() == self._empty:
            self.status.say("")

    def _show_classes(self) -> list[str]:
        layer = self.layer()
        names = classes.classes_of(layer, self._model_classes()) if layer else []
        self.classes.setEnabled(layer is not None)
        self.classes.show_classes(names, classes.colours_of(len(names)))
        if layer is not None:
            classes.follow_classes(layer, self._model_classes())
        self.classes.show_coloured(layer is not None and classes.is_coloured(layer))
        return list(names)

    def _model_classes(self) -> tuple[str, ...]:
        layer = self.layer()
        return self._lister.model_classes(layer) if layer is not None else ()

    # ---- the viewer tells

    def showEvent(self, event: QShowEvent | None) -> None:
        """Follow the viewer while the widget can be seen."""
        super().showEvent(event)
        viewer = self.session.viewer
        if viewer is not None:
            self._listening.start(viewer)
        self.refresh()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Give keys and clicks back."""
        super().hideEvent(event)
        self.rectangle.stop()
        self._listening.stop()

    def _on_layers(self) -> None:
        viewer, chosen = self.session.viewer, self.layer()
        self.layer_box.list_layers(labels_layers(viewer) if viewer is not None else [])
        if self.layer() is not chosen or chosen is None:
            self._on_layer()

    def _on_layer(self, _index: int = 0) -> None:
        """Follow the events of the chosen layer, and no longer those of the last."""
        self.layer_box.follow(
            features=self._on_table,
            metadata=self._on_table,
            colormap=self._on_table,
            set_data=self._on_shown,
            data=self._on_shown,
            selected_label=self._on_selected_label,
        )
        self.refresh()

    def _on_table(self) -> None:
        if not self._timer.isActive() or self._timer.interval() <= TABLE_MS:
            self._timer.start(TABLE_MS)

    def _on_shown(self) -> None:
        self._timer.start(PIXELS_MS)

    def _on_selected_label(self) -> None:
        layer = self.layer()
        if layer is not None and not self._selecting:
            self.table.select(selected_ids(layer))

    def _on_clicked(self, index: int) -> None:
        layer = self.layer()
        if layer is not None:
            select(layer, [index])
            self.table.select([index])

    # ---- going from object to object

    def _on_chosen(self, ids: list[int]) -> None:
        """Select in the viewer what was selected in the table."""
        layer, viewer = self.layer(), self.session.viewer
        listing = self.list.listing
        if not ids or layer is None or viewer is None or listing is None:
            return
        self._selecting = True
        try:
            select(layer, ids)
            # So that the keys for Labels layers work from now on.
            viewer.layers.selection.active = layer
        except ValueError as error:
            self.status.say(str(error), "error")
        finally:
            self._selecting = False
        row = listing.row_of(ids[0])
        if row is not None:
            box = listing.boxes[row].tolist()
            show_object(viewer, layer, listing.plane, box, self._canvas_size())

    def _canvas_size(self) -> tuple[int, int]:
        """Return about how large the canvas is, (height, width)."""
        parent: QWidget | None = self
        while parent is not None and not isinstance(parent, QMainWindow):
            parent = parent.parentWidget()
        middle = parent.centralWidget() if isinstance(parent, QMainWindow) else None
        return (middle.height(), middle.width()) if middle is not None else (600, 800)

    def go_to(self, index: int) -> None:
        """Select an object in the table and in the viewer, and show it."""
        self.table.select([index])
        self._on_chosen([index])

    # ---- deciding

    def approve(self) -> None:
        """Approve the selected objects and go to the next that is not reviewed."""
        ids = self._selected()
        if ids:
            self._decide(deciding.approve, ids)

    def reject(self) -> None:
        """Delete the selected objects and go to the next that is not reviewed."""
        ids = self._selected()
        if ids:
            self._decide(deciding.reject, ids)

    def approve_shown(self) -> None:
        """Approve all objects that the table shows."""
        self._act(deciding.approve, self.model.ids.tolist())

    def approve_plane(self) -> None:
        """Say that everything on the plane is right."""
        self._act(deciding.approve_plane)

    def set_class(self, name: str) -> None:
        """Give the selected objects a class."""
        ids = self._selected()
        if ids:
            self._act(deciding.give_class, ids, name, self._model_classes())

    def _selected(self) -> list[int]:
        ids = self.table.selected()
        if not ids and self.layer() is not None:
            self.status.say("Select an object in the table first, or click on one")
        return ids

    def _decide(self, act: Callable[..., str], ids: Sequence[int]) -> None:
        following = self.list.next_open(ids)
        if self._act(act, ids) and following is not None:
            self.go_to(following)

    def _act(self, act: Callable[..., str], *arguments: Any) -> bool:
        """Do something with the plane that is shown; return whether it was done."""
        layer, viewer = self.layer(), self.session.viewer
        if layer is None or viewer is None:
            return False
        try:
            self.status.say(act(layer, current_plane(layer, viewer), *arguments))
        except (ValueError, OverflowError) as error:
            self.status.say(str(error), "error")
            return False
        finally:
            self.refresh()
        return True

    def _on_ticked(self, index: int, on: bool) -> None:
        if on:
            self._act(deciding.approve, [index])
        else:
            self._act(deciding.take_back, index)

    def _on_key(self, command: str) -> None:
        if command.isdigit():
            names = self.classes.names()
            if int(command) <= len(names):
                self.set_class(names[int(command) - 1])
            else:
                self.status.say(f"There is no class {command}")
            return
        {
            "approve": self.approve,
            "reject": self.reject,
            "next": self.list.go_on,
            "previous": self.list.go_back,
        }[command]()

    # ---- classes and regions

    def _on_class_added(self, name: str) -> None:
        self._act(deciding.add_class, name, self._model_classes())

    def _on_class_renamed(self, old: str, new: str) -> None:
        self._act(deciding.rename_class, old, new, self._model_classes())

    def _on_coloured(self, on: bool) -> None:
        layer = self.layer()
        if layer is None:
            return
        try:
            classes.colour_by_class(layer, on, self._model_classes())
        except ValueError as error:
            self.status.say(str(error), "error")
            self.classes.show_coloured(False)

    def _on_region(self, on: bool) -> None:
        layer, viewer = self.layer(), self.session.viewer
        if not on:
            self.rectangle.stop()
        elif layer is not None and viewer is not None:
            self.rectangle.start(viewer, layer, current_plane(layer, viewer))
            self.status.say("Drag a rectangle in which everything is right")

    def _on_drawn(self, box: tuple[int, int, int, int]) -> None:
        self._act(deciding.add_region, box)

    def _on_drawing_ended(self) -> None:
        with signals_blocked(self.decide_bar.region_button):
            self.decide_bar.region_button.setChecked(False)
