"""The table of objects in the Review widget: a model over arrays, and its view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import (
    QAbstractTableModel,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from napari_maskrcnn.core.review import flag_names
from napari_maskrcnn.viewer.listing import FLAG_NAMES, FLAG_TIPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from qtpy.QtGui import QKeyEvent

    from napari_maskrcnn.viewer.listing import Listing

DONE, ID, CLASS, SCORE, SURE, AREA, NOTES = range(7)
HEADERS = ("\N{CHECK MARK}", "Id", "Class", "Score", "Sure", "Area", "Notes")
TIPS = (
    "Approved; click to approve, or to take it back",
    "The value of its pixels in the Labels layer",
    "The class; set it with the number keys",
    "How sure the network is; empty for what a person made",
    "The order of review, the least sure first: score, sharpness of the outline, and "
    "what the notes say. Objects made by hand come last",
    "Pixels on this plane",
    "What may be wrong with it",
)
# Together they fit into the narrowest dock; the notes take what is left over.
WIDTHS = (22, 36, 80, 42, 42, 42, 40)
DASH = "\N{EN DASH}"


class ObjectModel(QAbstractTableModel):
    """Rows of a listing, filtered and sorted; nothing is kept per cell.

    Signals
    -------
    ticked (int, bool)
        A person clicked the check mark of an id.
    reordered ()
        A person chose another column to sort by.
    """

    ticked = Signal(int, bool)
    reordered = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.listing: Listing | None = None
        self._rows: NDArray[np.int64] = np.empty(0, np.int64)
        self._passing = self._rows
        self._column, self._descending = SURE, False
        self._colours: dict[str, QColor] = {}

    # ---- what is shown

    def show(
        self,
        listing: Listing | None,
        passing: NDArray[np.int64],
        colours: dict[str, str],
    ) -> None:
        """Show other objects.

        Parameters
        ----------
        listing : Listing or None
            The objects.
        passing : ndarray
            Shape (M,), int64: positions in the listing that the filter lets pass.
        colours : dict of str to str
            The colour of each class.
        """
        self.beginResetModel()
        self.listing, self._passing = listing, passing
        self._colours = {name: QColor(code) for name, code in colours.items()}
        self._rows = self._ordered()
        self.endResetModel()

    @property
    def ids(self) -> NDArray[np.int64]:
        """Shape (M,), int64: the ids shown, from the top."""
        if self.listing is None:
            return np.empty(0, np.int64)
        return self.listing.ids[self._rows]

    def position(self, row: int) -> int:
        """Return where in the listing a row of the table comes from."""
        return int(self._rows[row])

    def _ordered(self) -> NDArray[np.int64]:
        listing = self.listing
        if listing is None or not self._passing.size:
            return self._passing
        keys = (
            listing.reviewed,
            listing.ids,
            listing.classes.astype(str),
            np.nan_to_num(listing.scores, nan=2.0),
            listing.certainty,
            listing.areas,
            np.bitwise_count(listing.flags),
        )
        _, key = np.unique(keys[self._column][self._passing], return_inverse=True)
        # Equals stand by certainty, then by id, whichever way the column is sorted.
        order = np.lexsort(
            (
                listing.ids[self._passing],
                listing.certainty[self._passing],
                -key if self._descending else key,
            )
        )
        return self._passing[order]

    # ---- what Qt asks

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many objects are shown."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many columns there are."""
        return 0 if parent is not None and parent.isValid() else len(HEADERS)

    def sort(
        self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder
    ) -> None:
        """Sort by a column."""
        descending = order == Qt.SortOrder.DescendingOrder
        if column < 0 or (column, descending) == (self._column, self._descending):
            return
        self._column, self._descending = column, descending
        self.beginResetModel()
        self._rows = self._ordered()
        self.endResetModel()
        self.reordered.emit()

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = 0
    ) -> Any:
        """Return a column's name and tooltip."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return HEADERS[section]
            if role == Qt.ItemDataRole.ToolTipRole:
                return TIPS[section]
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Return what can be done with a cell."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if index.column() == DONE:
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Return what a cell shows."""
        listing = self.listing
        if listing is None or not index.isValid():
            return None
        place, column = self.position(index.row()), index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(listing, place, column)
        if role == Qt.ItemDataRole.CheckStateRole and column == DONE:
            done = bool(listing.reviewed[place])
            return Qt.CheckState.Checked if done else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.DecorationRole and column == CLASS:
            return self._colours.get(listing.classes[place])
        if role == Qt.ItemDataRole.ToolTipRole and column == NOTES:
            tips = flag_names(int(listing.flags[place]), tuple(FLAG_TIPS.values()))
            return "\n".join(tips) or None
        if role == Qt.ItemDataRole.TextAlignmentRole and column in _NUMBERS:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = 0) -> bool:
        """Take a click on a check mark."""
        if role != Qt.ItemDataRole.CheckStateRole or self.listing is None:
            return False
        checked = Qt.CheckState(value) == Qt.CheckState.Checked
        self.ticked.emit(int(self.ids[index.row()]), checked)
        return True

    def _text(self, listing: Listing, place: int, column: int) -> str | None:
        if column == ID:
            return str(listing.ids[place])
        if column == CLASS:
            return listing.classes[place] or DASH
        if column == SCORE:
            score = listing.scores[place]
            return DASH if np.isnan(score) else f"{score:.2f}"
        if column == SURE:
            return f"{listing.certainty[place]:.2f}"
        if column == AREA:
            return f"{listing.areas[place]:,}"
        if column == NOTES:
            names = tuple(FLAG_NAMES.values())
            return ", ".join(flag_names(int(listing.flags[place]), names))
        return None


_NUMBERS = (ID, SCORE, SURE, AREA)


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


def rows_after(ids: Sequence[int], current: int | None) -> list[int]:
    """Return the ids in the order in which "next" comes to them, round the end."""
    listed = list(ids)
    if current not in listed:
        return listed
    place = listed.index(current)
    return listed[place + 1 :] + listed[:place]
