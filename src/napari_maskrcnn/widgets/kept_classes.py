"""Which of a model's classes its child keeps."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_maskrcnn.widgets.parts import button

ROWS = 4
# From so many classes on there are buttons to tick all or none.
MANY = 3


class KeptClasses(QWidget):
    """The classes of a model, each with a tick: those without one are dropped.

    Signals
    -------
    changed ()
        A tick came or went.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names: tuple[str, ...] = ()
        self.list = QListWidget()
        self.list.setToolTip(
            "The classes that the model knows. Clear the tick of one that the new "
            "model shall not have; the classes of your objects are added by themselves"
        )
        self.all_button = button("All", "Keep all classes")
        self.none_button = button("None", "Keep none: only those of your objects")
        buttons = QHBoxLayout()
        buttons.addWidget(self.all_button)
        buttons.addWidget(self.none_button)
        buttons.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.list)
        column.addLayout(buttons)
        self.list.itemChanged.connect(self._on_item)
        self.all_button.clicked.connect(self._on_all)
        self.none_button.clicked.connect(self._on_none)

    def use_classes(self, names: tuple[str, ...]) -> None:
        """List a model's classes, all of them kept; the same ones stay as they are."""
        if names == self._names:
            return
        self._names = names
        with signals_blocked(self.list):
            self.list.clear()
            for name in names:
                item = QListWidgetItem(name)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                item.setCheckState(Qt.CheckState.Checked)
                self.list.addItem(item)
        rows = max(1, min(ROWS, len(names)))
        height = max(18, self.list.sizeHintForRow(0))
        self.list.setFixedHeight(rows * height + 2 * self.list.frameWidth() + 4)
        for one in (self.all_button, self.none_button):
            one.setVisible(len(names) >= MANY)

    def dropped(self) -> tuple[str, ...]:
        """Return the classes without a tick."""
        return tuple(
            item.text()
            for item in self._items()
            if item.checkState() != Qt.CheckState.Checked
        )

    def _items(self) -> list[QListWidgetItem]:
        found = [self.list.item(row) for row in range(self.list.count())]
        return [item for item in found if item is not None]

    def _tick(self, on: bool) -> None:
        state = Qt.CheckState.Checked if on else Qt.CheckState.Unchecked
        with signals_blocked(self.list):
            for item in self._items():
                item.setCheckState(state)
        self.changed.emit()

    def _on_all(self) -> None:
        self._tick(True)

    def _on_none(self) -> None:
        self._tick(False)

    def _on_item(self, _item: QListWidgetItem) -> None:
        self.changed.emit()
