"""How large the objects are: found in the image, or said by the person."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QHBoxLayout, QWidget

# What the size is before a person or a run has said; no object is so small.
UNKNOWN_SIZE, USUAL_SIZE = 1, 24


class SizeRow(QWidget):
    """A check box "Automatic" and a number of pixels beside it.

    Parameters
    ----------
    size : float or None
        To begin with; None for automatic.
    """

    def __init__(self, size: float | None) -> None:
        super().__init__()
        self.auto = QCheckBox("Automatic")
        self.auto.setChecked(size is None)
        self.auto.setToolTip("Find the typical size of the objects in the image")
        self.box = QDoubleSpinBox()
        self.box.setRange(UNKNOWN_SIZE, 2000)
        self.box.setSpecialValueText("\N{EN DASH}")
        self.box.setDecimals(0)
        self.box.setSuffix(" px")
        self.box.setValue(size or UNKNOWN_SIZE)
        self.box.setEnabled(size is not None)
        self.box.setToolTip("Typical width of an object, in pixels of the image")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.auto)
        layout.addWidget(self.box, 1)
        self.auto.toggled.connect(self._on_auto)

    def value(self) -> float | None:
        """Return the size in pixels, or None where it is to be found."""
        return None if self.auto.isChecked() else self.box.value()

    def show_found(self, size: float) -> None:
        """Show the size that a run found, unless the person said one."""
        if self.auto.isChecked():
            self.box.setValue(size)

    def _on_auto(self, automatic: bool) -> None:
        self.box.setEnabled(not automatic)
        if not automatic and self.box.value() == UNKNOWN_SIZE:
            self.box.setValue(USUAL_SIZE)
