"""The list of the Review widget: what is there, how much is done, and going through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_maskrcnn.viewer.actions import action_named
from napari_maskrcnn.widgets.filter_panel import FilterPanel
from napari_maskrcnn.widgets.object_model import ObjectModel
from napari_maskrcnn.widgets.object_table import ObjectTable
from napari_maskrcnn.widgets.parts import ProgressBar, action_button, row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_maskrcnn.viewer.listing import Listing


class ReviewList(QWidget):
    """The objects of a plane that the filters let pass, in a table to walk through.

    Signals
    -------
    filled (int)
        The table shows so many objects now.
    walked_to (int)
        The person goes to this object.
    """

    filled = Signal(int)
    walked_to = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._listing: Listing | None = None
        self._colours: Mapping[str, str] = {}
        self.progress_bar = ProgressBar()
        self.progress_bar.setToolTip("The objects on this plane that you approved")
        self.filters = FilterPanel()
        self.model = ObjectModel(self)
        self.table = ObjectTable(self.model)
        self.table.setMinimumHeight(150)
        self.count_label = QLabel()
        self.previous_button = action_button(action_named("previous"))
        self.next_button = action_button(action_named("next"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.progress_bar)
        column.addWidget(self.filters)
        column.addWidget(self.table, 1)
        column.addLayout(row(self.count_label, self.previous_button, self.next_button))
        self.filters.changed.connect(self.fill)
        self.previous_button.clicked.connect(self.go_back)
        self.next_button.clicked.connect(self.go_on)

    @property
    def listing(self) -> Listing | None:
        """What is listed now, the filtered objects included."""
        return self._listing

    def show_listing(self, listing: Listing | None, colours: Mapping[str, str]) -> None:
        """List the objects of a plane, or nothing.

        Parameters
        ----------
        listing : Listing or None
            The objects.
        colours : mapping of str to str
            Of the classes by name, "#RRGGBB".
        """
        self._listing, self._colours = listing, colours
        self.filters.set_classes(list(colours))
        self.fill()
        self._show_progress()

    def fill(self) -> None:
        """Fill the table with what the filters let pass."""
        listing = self._listing
        rows = np.empty(0, np.int64)
        if listing is not None:
            rows = self.filters.filter().rows(listing)
        self.model.show(listing, rows, dict(self._colours))
        total = len(listing) if listing is not None else 0
        shown = f"{len(rows):,} of {total:,} shown" if len(rows) < total else ""
        self.count_label.setText(shown)
        for one in (self.previous_button, self.next_button):
            one.setEnabled(len(rows) > 0)
        self.filled.emit(len(rows))

    def _show_progress(self) -> None:
        listing = self._listing
        total = len(listing) if listing is not None else 0
        done = int(listing.reviewed.sum()) if listing is not None else 0
        self.progress_bar.setMaximum(max(1, total))
        self.progress_bar.setValue(done)
        left = "all reviewed" if done == total else f"{total - done:,} left"
        words = f"{done:,} of {total:,} reviewed, {left}" if total else "No objects"
        self.progress_bar.setFormat(words)

    def go_on(self) -> None:
        """Go to the next object of the table, after the last one to the first."""
        after = self.table.following()
        if after:
            self.walked_to.emit(after[0])

    def go_back(self) -> None:
        """Go to the object before it."""
        after = self.table.following()
        if after:
            self.walked_to.emit(after[-1])

    def next_open(self, without: Sequence[int]) -> int | None:
        """Return the next object that is neither reviewed nor one of `without`."""
        listing = self._listing
        if listing is None:
            return None
        after = np.array(self.table.following(), np.int64)
        still = ~np.isin(after, listing.ids[listing.reviewed])
        still &= ~np.isin(after, np.asarray(without, np.int64))
        return int(after[still][0]) if still.any() else None
