"""The table of objects in the Review widget, with the keys of review."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QItemSelection, QItemSelectionModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from napari_maskrcnn.widgets.object_model import HEADERS, ID, SURE, WIDTHS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from qtpy.QtGui import QKeyEvent

    from napari_maskrcnn.widgets.object_model import ObjectModel


class ObjectTable(QTableView):
    """The view: whole rows, several at once, number keys for the classes.

    Signals
    -------
    chosen (list)
        A person selected other rows: their ids, the current one first.
    key_pressed (str)
        "approve", "reject", "next", "previous", or the number of a class.
    """

    chosen = Signal(list)
    key_pressed = Signal(str)

    def __init__(self, model: ObjectModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setModel(model)
        self._model = model
        self._quiet = False
        self._kept: tuple[list[int], int | None] = ([], None)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self._set_headers()
        model.modelAboutToBeReset.connect(self._on_reset_begins)
        model.modelReset.connect(self._on_reset)
        self._selection().selectionChanged.connect(self._on_selection)

    def _set_headers(self) -> None:
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        if rows is not None:
            # A height for all rows: Qt need not ask each of them.
            rows.hide()
            rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
            rows.setDefaultSectionSize(22)
            rows.setMinimumSectionSize(22)
        if columns is not None:
            columns.setStretchLastSection(True)
            columns.setMinimumSectionSize(20)
            columns.setSortIndicator(SURE, Qt.SortOrder.AscendingOrder)
            columns.setHighlightSections(False)
        for column, width in enumerate(WIDTHS):
            self.setColumnWidth(column, width)
        self.setSortingEnabled(True)

    def _selection(self) -> QItemSelectionModel:
        selection = self.selectionModel()
        if selection is None:
            raise RuntimeError("a view with a model has a selection")
        return selection

    # ---- the selection, by ids

    def selected(self) -> list[int]:
        """Return the selected ids, the current one first, then from the top."""
        ids = self._model.ids
        rows = [index.row() for index in self._selection().selectedRows()]
        current = self.currentIndex().row()
        rows = sorted(set(rows), key=lambda row: (row != current, row))
        return [int(ids[row]) for row in rows]

    def current(self) -> int | None:
        """Return the id of the current row."""
        row = self.currentIndex().row()
        return int(self._model.ids[row]) if row >= 0 else None

    def following(self) -> list[int]:
        """Return the ids in the order in which "next" comes to them, round the end."""
        listed, current = self._model.ids.tolist(), self.current()
        if current not in listed:
            return listed
        place = listed.index(current)
        return listed[place + 1 :] + listed[:place]

    def select(self, ids: Iterable[int]) -> bool:
        """Select the rows of these ids without a signal; the first is current.

        Returns whether the first one is shown at all.
        """
        wanted = [int(index) for index in ids]
        shown = self._model.ids
        rows = np.flatnonzero(np.isin(shown, wanted))
        self._quiet = True
        try:
            selection = self._selection()
            if not rows.size:
                selection.clear()
                return False
            first = np.flatnonzero(shown == wanted[0])
            current = int(first[0]) if first.size else int(rows[0])
            index = self._model.index(current, ID)
            selection.setCurrentIndex(index, QItemSelectionModel.SelectionFlag.NoUpdate)
            selection.select(
                self._stretches(rows),
                QItemSelectionModel.SelectionFlag.ClearAndSelect
                | QItemSelectionModel.SelectionFlag.Rows,
            )
            self.scrollTo(index)
            return bool(first.size)
        finally:
            self._quiet = False

    def _stretches(self, rows: NDArray[np.int64]) -> QItemSelection:
        """Return a selection of as few stretches of rows as there are."""
        selection = QItemSelection()
        for stretch in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            selection.select(
                self._model.index(int(stretch[0]), 0),
                self._model.index(int(stretch[-1]), len(HEADERS) - 1),
            )
        return selection

    def _on_selection(self) -> None:
        if not self._quiet:
            self.chosen.emit(self.selected())

    def _on_reset_begins(self) -> None:
        self._kept = (self.selected(), self.current())
        self._quiet = True

    def _on_reset(self) -> None:
        self._quiet = False
        ids, _ = self._kept
        if ids:
            self.select(ids)

    # ---- keys

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Take the keys of review; leave the others to the table or to napari."""
        if event is None:
            return
        command = self._command(event)
        if command is not None:
            self.key_pressed.emit(command)
        elif event.key() in _MOVES or event.modifiers() & _SELECTS:
            super().keyPressEvent(event)
        else:
            # Letters are napari's keys, not a search in the table.
            event.ignore()

    def _command(self, event: QKeyEvent) -> str | None:
        plain = not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        key = event.key()
        if plain and Qt.Key.Key_1 <= key <= Qt.Key.Key_9:
            return str(key - Qt.Key.Key_0)
        if event.modifiers() == Qt.KeyboardModifier.ShiftModifier:
            return "previous" if key == Qt.Key.Key_N else None
        return _COMMANDS.get(Qt.Key(key)) if plain else None


_COMMANDS = {
    Qt.Key.Key_A: "approve",
    Qt.Key.Key_Return: "approve",
    Qt.Key.Key_Enter: "approve",
    Qt.Key.Key_R: "reject",
    Qt.Key.Key_Delete: "reject",
    Qt.Key.Key_Backspace: "reject",
    Qt.Key.Key_N: "next",
}
_MOVES = (
    Qt.Key.Key_Up,
    Qt.Key.Key_Down,
    Qt.Key.Key_Left,
    Qt.Key.Key_Right,
    Qt.Key.Key_PageUp,
    Qt.Key.Key_PageDown,
    Qt.Key.Key_Home,
    Qt.Key.Key_End,
    Qt.Key.Key_Space,
)
_SELECTS = Qt.KeyboardModifier.ControlModifier
