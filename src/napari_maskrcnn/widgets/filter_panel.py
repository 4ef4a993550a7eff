"""The filters of the Review widget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_maskrcnn.viewer.listing import Filter
from napari_maskrcnn.widgets.boxes import Box

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL, NO_CLASS = "All classes", "No class"


class FilterPanel(QWidget):
    """Which objects the table shows.

    Signals
    -------
    changed ()
        A person changed a filter.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.class_box = Box("Show the objects of one class only", 8)
        self.low_box, self.high_box = _fraction(0.0), _fraction(1.0)
        self.low_box.setToolTip(
            "The lowest score to show; what a person made has none and is left out"
        )
        self.high_box.setToolTip(
            "The highest score to show; what a person made has none and is left out"
        )
        self.unreviewed_box = QCheckBox("Not reviewed")
        self.unreviewed_box.setToolTip("Show only what was not approved yet")
        self.flagged_box = QCheckBox("With notes")
        self.flagged_box.setToolTip("Show only objects with something to note")
        self._lay_out()
        self.set_classes([])
        self.class_box.currentIndexChanged.connect(self._on_changed)
        for box in (self.low_box, self.high_box):
            box.valueChanged.connect(self._on_changed)
        for check in (self.unreviewed_box, self.flagged_box):
            check.toggled.connect(self._on_changed)

    def _lay_out(self) -> None:
        scores = QHBoxLayout()
        scores.addWidget(self.low_box)
        scores.addWidget(QLabel("to"))
        scores.addWidget(self.high_box)
        scores.addStretch(1)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(QLabel("Class"), 0, 0)
        grid.addWidget(self.class_box, 0, 1)
        grid.addWidget(self.unreviewed_box, 0, 2)
        grid.addWidget(QLabel("Score"), 1, 0)
        grid.addLayout(scores, 1, 1)
        grid.addWidget(self.flagged_box, 1, 2)
        grid.setColumnStretch(1, 1)

    def filter(self) -> Filter:
        """Return what the form says."""
        return Filter(
            class_name=self.class_box.currentData(),
            lowest=self.low_box.value(),
            highest=self.high_box.value(),
            unreviewed=self.unreviewed_box.isChecked(),
            flagged=self.flagged_box.isChecked(),
        )

    def set_classes(self, names: Sequence[str]) -> None:
        """Offer other classes; the chosen one stays if it can, without a signal."""
        wanted = [(ALL, None), *((name, name) for name in names), (NO_CLASS, "")]
        box = self.class_box
        present = [(box.itemText(i), box.itemData(i)) for i in range(box.count())]
        if wanted == present:
            return
        chosen = box.currentData()
        values = [value for _, value in wanted]
        with signals_blocked(box):
            box.clear()
            for text, value in wanted:
                box.addItem(text, value)
            box.setCurrentIndex(values.index(chosen) if chosen in values else 0)

    def _on_changed(self) -> None:
        self.changed.emit()


def _fraction(value: float) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(0.0, 1.0)
    box.setSingleStep(0.05)
    box.setDecimals(2)
    box.setValue(value)
    box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
    # napari's style leaves room for the buttons that are not there.
    box.setStyleSheet(
        "QDoubleSpinBox { min-width: 34px; max-width: 34px; padding: 1px 4px; }"
    )
    return box
