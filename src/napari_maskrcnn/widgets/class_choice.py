"""Which classes of a model are wanted: a button that opens a list to tick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_maskrcnn.widgets.parts import button, row

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL = "All"
# So many names stand on the button; of more, the number.
SHOWN = 2
_FLAGS = Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsEnabled


class ClassChoice(QWidget):
    """The classes to keep; none ticked keeps all.

    Signals
    -------
    changed ()
        A person ticked or cleared a class.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.button = QPushButton(ALL)
        self.button.setCheckable(True)
        self.button.setToolTip(
            "Show objects of some classes only: opens the list, to be ticked before "
            "or after the run"
        )
        self.list = QListWidget()
        self.list.setToolTip("Tick the classes to keep; with none ticked all are kept")
        self.list.setMaximumHeight(150)
        self.find_edit = QLineEdit()
        self.find_edit.setPlaceholderText("Find a class")
        self.find_edit.setToolTip("Show the classes with these letters in their name")
        self.find_edit.setClearButtonEnabled(True)
        self.clear_button = button("Clear", "Keep all classes again")
        self._panel = QWidget()
        inside = QVBoxLayout(self._panel)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addLayout(row(self.find_edit, self.clear_button))
        inside.addWidget(self.list)
        self._panel.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.button)
        column.addWidget(self._panel)
        self.button.toggled.connect(self._panel.setVisible)
        self.find_edit.textChanged.connect(self._on_find)
        self.list.itemChanged.connect(self._on_ticked)
        self.clear_button.clicked.connect(self._on_clear)

    def chosen(self) -> tuple[str, ...]:
        """Return the ticked classes; empty for all."""
        ticked = Qt.CheckState.Checked
        return tuple(x.text() for x in self._items() if x.checkState() == ticked)

    def list_classes(self, names: Sequence[str]) -> None:
        """List another model's classes without a signal; ticks stay if they can."""
        if [item.text() for item in self._items()] == list(names):
            return
        chosen = self.chosen()
        with signals_blocked(self.list):
            self.list.clear()
            for name in names:
                item = QListWidgetItem(name, self.list)
                item.setFlags(_FLAGS)
                item.setCheckState(_state(name in chosen))
        self.find_edit.clear()
        self._say()

    def tick(self, name: str, on: bool = True) -> None:
        """Tick a class as a person does, with a signal."""
        for item in self._items():
            if item.text() == name:
                item.setCheckState(_state(on))

    def _items(self) -> list[QListWidgetItem]:
        found = (self.list.item(number) for number in range(self.list.count()))
        return [item for item in found if item is not None]

    def _say(self) -> None:
        chosen = self.chosen()
        few = ", ".join(chosen) if len(chosen) <= SHOWN else f"{len(chosen)} classes"
        self.button.setText(few or ALL)

    def _on_find(self, text: str) -> None:
        for item in self._items():
            item.setHidden(text.strip().lower() not in item.text().lower())

    def _on_ticked(self, _item: QListWidgetItem) -> None:
        self._say()
        self.changed.emit()

    def _on_clear(self) -> None:
        if not self.chosen():
            return
        with signals_blocked(self.list):
            for item in self._items():
                item.setCheckState(Qt.CheckState.Unchecked)
        self._say()
        self.changed.emit()


def _state(on: bool) -> Qt.CheckState:
    return Qt.CheckState.Checked if on else Qt.CheckState.Unchecked
