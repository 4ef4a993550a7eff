"""The form of the Export COCO widget: how masks and images are written, and where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QLineEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_maskrcnn.viewer.export_request import ENDING, Request, coco_path
from napari_maskrcnn.widgets.boxes import Box
from napari_maskrcnn.widgets.parts import button, form_layout, row

if TYPE_CHECKING:
    from napari_maskrcnn.viewer.export_request import AnyPart

MODES = (
    ("Polygons; holes as RLE", "auto"),
    ("RLE", "rle"),
    ("Polygons; holes filled", "polygon"),
)
PICTURES = (
    ("Leave in place", "leave"),
    ("Write them as 8-bit PNG", "png"),
    ("Write them as 16-bit TIFF", "tiff"),
)


class ExportForm(QWidget):
    """What is chosen beside the layers.

    Signals
    -------
    changed ()
        Something else is chosen.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._file_chosen = False
        self._make_parts()
        self._lay_out()
        self._connect()
        self._on_split()

    def _make_parts(self) -> None:
        self.mode_box = Box("How masks are written: all but the last lose none")
        self.picture_box = Box(
            "What becomes of the images; they are written beside the file"
        )
        for box, choices in ((self.mode_box, MODES), (self.picture_box, PICTURES)):
            for text, value in choices:
                box.addItem(text, value)
        self.file_edit = QLineEdit()
        self.file_edit.setPlaceholderText(f"annotations{ENDING}")
        self.file_edit.setToolTip("The file to write")
        self.browse_button = button("Browse", "Choose the file to write")
        self.append_box = QCheckBox("Add to the file if it is there")
        self.append_box.setToolTip(
            "What is in the file stays and keeps its ids; otherwise it is replaced"
        )
        self.split_box = QCheckBox("Set apart for validation")
        self.split_box.setToolTip(
            "Write two files, _train and _val; planes of a stack stay together"
        )
        self.share_box = _number(1, 90, 20, "Share of the images set apart")
        self.share_box.setSuffix(" %")
        self.seed_box = _number(0, 9999, 0, "Another number chooses other images")
        self.seed_box.setPrefix("seed ")

    def _lay_out(self) -> None:
        form = form_layout()
        form.addRow("Masks", self.mode_box)
        form.addRow("Images", self.picture_box)
        form.addRow("File", row(self.file_edit, self.browse_button))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        column.addWidget(self.append_box)
        column.addWidget(self.split_box)
        column.addLayout(row(self.share_box, self.seed_box))

    def _connect(self) -> None:
        self.mode_box.currentIndexChanged.connect(self._on_changed)
        self.picture_box.currentIndexChanged.connect(self._on_changed)
        self.file_edit.textEdited.connect(self._on_file)
        self.append_box.toggled.connect(self._on_changed)
        self.split_box.toggled.connect(self._on_split)
        self.share_box.valueChanged.connect(self._on_changed)
        self.seed_box.valueChanged.connect(self._on_changed)
        self.browse_button.clicked.connect(self.browse)

    def has_file(self) -> bool:
        """Whether a file is named."""
        return bool(self.file_edit.text().strip())

    def propose_folder(self, folder: Path | None) -> None:
        """Name a file in a folder, unless the person has named one."""
        if not self._file_chosen:
            name = "" if folder is None else str(folder / f"annotations{ENDING}")
            self.file_edit.setText(name)

    def request(self, parts: tuple[AnyPart, ...]) -> Request:
        """Return the export of some layers as the form has it.

        Raises
        ------
        ValueError
            If no file is named.
        """
        share = self.share_box.value() / 100
        return Request(
            coco_path(self.file_edit.text()),
            parts,
            mode=self.mode_box.currentData(),
            pictures=self.picture_box.currentData(),
            append=self.append_box.isChecked(),
            validation=share if self.split_box.isChecked() else None,
            seed=self.seed_box.value(),
        )

    def browse(self, _checked: bool = False) -> None:
        """Let the person choose the file."""
        start = self.file_edit.text() or str(Path.cwd() / f"annotations{ENDING}")
        name, _ = QFileDialog.getSaveFileName(
            self,
            "Export COCO",
            start,
            f"COCO (*{ENDING} *.json)",
            # The widget itself says what will happen to a file that is there.
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if name:
            self.file_edit.setText(name)
            self._on_file(name)

    def _on_file(self, _text: str) -> None:
        self._file_chosen = True
        self.changed.emit()

    def _on_split(self, _checked: bool = False) -> None:
        self.share_box.setEnabled(self.split_box.isChecked())
        self.seed_box.setEnabled(self.split_box.isChecked())
        self.changed.emit()

    def _on_changed(self, _value: Any) -> None:
        self.changed.emit()


def _number(low: int, high: int, value: int, tip: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setValue(value)
    box.setToolTip(tip)
    return box
