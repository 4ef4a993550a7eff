"""The part of the Fine-tune widget that says how to train."""

from __future__ import annotations

from dataclasses import replace

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QLineEdit,
    QSpinBox,
    QWidget,
)

from napari_maskrcnn.core.class_names import choosable
from napari_maskrcnn.core.fine_tuning.config import PARTS, FineTuneConfig
from napari_maskrcnn.core.model_store import free_name
from napari_maskrcnn.widgets.boxes import DEFAULT_MODEL, Box, ModelBox
from napari_maskrcnn.widgets.parts import form_layout, row

MINUTES, STEPS = "minutes", "steps"
DEFAULTS = {MINUTES: 10, STEPS: 300}
TIPS = {
    "heads": "Quick, and enough where the model finds the objects but not their shape",
    "rpn": "Also where to look for objects",
    "fpn": "Also what the objects look like: for objects unlike those it knows",
    "all": "Slow; for hundreds of annotated objects",
}


class TrainingForm(QWidget):
    """Which model, under which name, what of it, for how long.

    Signals
    -------
    model_changed ()
        Another model to start from is chosen.
    """

    model_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        #: What the form does not ask for.
        self.base = FineTuneConfig()
        self._proposed = ""
        self.model_box = ModelBox("The model to start from; it stays as it is")
        self.name_edit = QLineEdit()
        self.name_edit.setToolTip("The new model's name in the list of models")
        self.train_box = Box("What of the network learns; the rest stays as it is")
        for place, (key, words) in enumerate(PARTS.items()):
            self.train_box.addItem(words[0].upper() + words[1:], key)
            self.train_box.setItemData(place, TIPS[key], Qt.ItemDataRole.ToolTipRole)
        self.length_box = QSpinBox()
        self.length_box.setRange(1, 100_000)
        self.length_box.setValue(DEFAULTS[MINUTES])
        self.length_box.setToolTip(
            "At most so long: the run ends when the model gets no better"
        )
        self.unit_box = QComboBox()
        self.unit_box.addItems([MINUTES, STEPS])
        self.unit_box.setToolTip(
            "Minutes depend on the machine; a run of so many steps can be repeated"
        )
        form = form_layout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Start from", self.model_box)
        form.addRow("New name", self.name_edit)
        form.addRow("Train", self.train_box)
        form.addRow("For at most", row(self.length_box, self.unit_box))
        self.setLayout(form)
        self.model_box.currentIndexChanged.connect(self._on_model)
        self.unit_box.currentTextChanged.connect(self._on_unit)

    def list_models(self) -> None:
        """List the models as they are now; the one that is chosen stays."""
        self.model_box.list_models()
        self.propose_name()

    def class_names(self) -> tuple[str, ...]:
        """Return the classes that the model knows."""
        entry = self.model_box.entry()
        return choosable(entry.class_names) if entry is not None else ()

    def name(self) -> str:
        """Return the new model's name."""
        return self.name_edit.text().strip()

    @property
    def name_is_ours(self) -> bool:
        """Whether nobody typed in another name than the one proposed."""
        return self.name() == self._proposed

    def propose_name(self) -> None:
        """Propose a name that is free, unless the person gave one."""
        if not self.name_is_ours and self.name():
            return
        self._proposed = free_name(self.model_box.name() or DEFAULT_MODEL)
        self.name_edit.setText(self._proposed)

    def train(self, part: str) -> None:
        """Choose what learns, a key of PARTS."""
        self.train_box.setCurrentIndex(self.train_box.findData(part))

    def config(self) -> FineTuneConfig:
        """Return what the form says."""
        length, steps = self.length_box.value(), self.unit_box.currentText() == STEPS
        return replace(
            self.base,
            train=str(self.train_box.currentData()),
            steps=length if steps else self.base.steps,
            minutes=None if steps else float(length),
        )

    def _on_model(self, _index: int) -> None:
        self.propose_name()
        self.model_changed.emit()

    def _on_unit(self, unit: str) -> None:
        self.length_box.setValue(DEFAULTS[unit])
