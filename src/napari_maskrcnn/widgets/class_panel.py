"""The list of classes in the Review widget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QGroupBox,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_maskrcnn.widgets.parts import button

if TYPE_CHECKING:
    from collections.abc import Sequence

SWATCH = 18
KEYS = 9
_NAME = Qt.ItemDataRole.UserRole


class ClassPanel(QGroupBox):
    """The classes with their colours and keys, and what can be done with them.

    Signals
    -------
    given (str)
        The selected objects are to have this class.
    added (str), renamed (str, str)
        A person typed a new class, or another name for one.
    coloured (bool)
        The objects are to be coloured by class, or as before.
    """

    given = Signal(str)
    added = Signal(str)
    renamed = Signal(str, str)
    coloured = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Classes", parent)
        self.list = QListWidget()
        self.list.setToolTip(
            "The classes. Double-click one to rename it. The keys 1 to 9 give a class "
            "to the selected objects while the table above has the focus; Alt and the "
            "number do so in the image too, where napari has 1 to 7 for its tools"
        )
        self.list.setMaximumHeight(104)
        self.set_button = button(
            "Set class",
            "Give the class chosen here to the objects selected in the table",
        )
        self.name_edit = QLineEdit()
        self.name_edit.setPlaceholderText("New class")
        self.name_edit.setToolTip("The name of a class to add; Enter adds it")
        self.name_edit.setMaxLength(100)
        self.add_button = button("Add", "Add a class with the name on the left")
        self.colour_box = QCheckBox("Colour by class")
        self.colour_box.setToolTip(
            "Paint the objects in the colours of their classes; those without a class "
            "are grey. Clear it to have the former colours back"
        )
        self._lay_out()
        self.set_button.clicked.connect(self._on_set)
        self.add_button.clicked.connect(self._on_add)
        self.name_edit.returnPressed.connect(self._on_add)
        self.colour_box.toggled.connect(self.coloured)
        self.list.itemChanged.connect(self._on_item)

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.name_edit, 1)
        row.addWidget(self.add_button)
        last = QHBoxLayout()
        last.addWidget(self.colour_box, 1)
        last.addWidget(self.set_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 8, 6, 6)
        column.addWidget(self.list)
        column.addLayout(row)
        column.addLayout(last)

    def names(self) -> list[str]:
        """Return the classes as listed."""
        items = (self.list.item(row) for row in range(self.list.count()))
        return [item.data(_NAME) for item in items if item is not None]

    def show_classes(self, names: Sequence[str], colours: Sequence[str]) -> None:
        """List other classes; the chosen row stays."""
        if list(names) == self.names():
            return
        row = self.list.currentRow()
        rows = zip(names, colours, strict=True)
        with signals_blocked(self.list):
            self.list.clear()
            for number, (name, colour) in enumerate(rows, 1):
                item = QListWidgetItem(_swatch(number, colour), name)
                item.setData(_NAME, name)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
                self.list.addItem(item)
            self.list.setCurrentRow(min(max(row, 0), self.list.count() - 1))

    def show_coloured(self, on: bool) -> None:
        """Set the check box without a signal."""
        with signals_blocked(self.colour_box):
            self.colour_box.setChecked(on)

    def _on_set(self) -> None:
        item = self.list.currentItem()
        if item is not None:
            self.given.emit(item.data(_NAME))

    def _on_add(self) -> None:
        name = self.name_edit.text()
        self.name_edit.clear()
        self.added.emit(name)

    def _on_item(self, item: QListWidgetItem) -> None:
        old, new = item.data(_NAME), item.text()
        if new != old:
            # Until the list is filled anew it says what is so.
            with signals_blocked(self.list):
                item.setText(old)
            self.renamed.emit(old, new)


def _swatch(number: int, colour: str) -> QIcon:
    """Return a square in the class's colour with its key in it."""
    pixmap = QPixmap(SWATCH, SWATCH)
    pixmap.fill(QColor(colour))
    if number <= KEYS:
        painter = QPainter(pixmap)
        light = QColor(colour).lightness() > 120
        painter.setPen(QColor("black" if light else "white"))
        font = painter.font()
        font.setPixelSize(13)
        font.setBold(True)
        painter.setFont(font)
        painter.drawText(pixmap.rect(), Qt.AlignmentFlag.AlignCenter, str(number))
        painter.end()
    return QIcon(pixmap)
