"""The rows and cells of the table of objects: a Qt model over arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor

from napari_maskrcnn.core.review import flag_names
from napari_maskrcnn.viewer.listing import FLAG_NAMES, FLAG_TIPS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

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
WIDTHS = (20, 34, 80, 40, 49, 42, 39)
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
