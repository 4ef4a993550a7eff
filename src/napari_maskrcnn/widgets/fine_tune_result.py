"""The part of the Fine-tune widget that shows how a run ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices, QImage, QPixmap
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_maskrcnn.viewer.before_after import MISSED, RIGHT, WRONG
from napari_maskrcnn.widgets.fine_tune_words import counts, details, verdict
from napari_maskrcnn.widgets.parts import bold, button, paragraph

if TYPE_CHECKING:
    from pathlib import Path

    from napari_maskrcnn.viewer.before_after import Outcome
    from napari_maskrcnn.viewer.fine_tuning_records import Trained

# Side of a picture in the widget; two stand beside each other.
PICTURE = 140


class ResultPanel(QWidget):
    """Before and after, in words and pictures, and what to do next.

    Signals
    -------
    use_wanted (), next_wanted ()
        The person pressed a button.
    """

    use_wanted = Signal()
    next_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._folder: Path | None = None
        self.verdict_label = bold(paragraph())
        self.details_label = paragraph()
        self.use_button = button("", "Segment with the new model from now on")
        self.next_button = button(
            "Segment the next image",
            "Show the image or plane after those that were learnt from, and segment it",
        )
        self.next_button.setEnabled(False)
        self.folder_button = button(
            "Show folder", "Open the folder with the run's curves"
        )
        self._legend = QLabel(
            ", ".join(
                f'<span style="color:{colour}">\N{BLACK SQUARE}</span> {word}'
                for colour, word in (
                    (RIGHT, "right"), (WRONG, "wrong"), (MISSED, "missed")
                )
            )
        )  # fmt: skip
        self.pictures = QWidget()
        self._grid = QGridLayout(self.pictures)
        self._grid.setContentsMargins(0, 0, 0, 0)
        buttons = QHBoxLayout()
        buttons.addWidget(self.use_button, 1)
        buttons.addWidget(self.next_button, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.verdict_label)
        column.addLayout(buttons)
        column.addWidget(self.details_label)
        column.addWidget(self._legend)
        column.addWidget(self.pictures)
        column.addWidget(self.folder_button)
        self.use_button.clicked.connect(self.use_wanted)
        self.next_button.clicked.connect(self.next_wanted)
        self.folder_button.clicked.connect(self._on_folder)

    def show_outcome(self, outcome: Trained) -> None:
        """Show the end of a run."""
        self._folder = outcome.folder
        self.verdict_label.setText(verdict(outcome))
        self.details_label.setText("\n".join(details(outcome)))
        self.use_button.setText(
            "Use this model" if outcome.better else "Use it all the same"
        )
        self.use_button.setEnabled(True)
        self.next_button.setEnabled(False)
        self._show_pictures(outcome)

    def show_used(self, name: str, next_name: str | None) -> None:
        """Say that the new model is in use, and which image comes next."""
        self.use_button.setText(f"{name} is in use")
        self.use_button.setEnabled(False)
        self.next_button.setEnabled(next_name is not None)
        self.next_button.setToolTip(
            f"Show {next_name} and segment it with the new model"
            if next_name is not None
            else "All open images were learnt from: open another one"
        )

    def _show_pictures(self, outcome: Trained) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            part = item.widget()
            if part is not None:
                part.setParent(None)
                part.deleteLater()
        self._legend.setVisible(bool(outcome.examples))
        self.pictures.setVisible(bool(outcome.examples))
        if outcome.examples:
            self._grid.addWidget(QLabel("Before"), 0, 0)
            self._grid.addWidget(QLabel("After"), 0, 1)
        for number, example in enumerate(outcome.examples):
            for column, seen in enumerate((example.before, example.after)):
                when = "after" if column else "before"
                tip = f"{example.name}, {when}: {counts(seen)}"
                self._grid.addWidget(_picture(seen, tip), 2 * number + 1, column)
                caption = paragraph()
                caption.setText(counts(seen))
                self._grid.addWidget(caption, 2 * number + 2, column)

    def _on_folder(self) -> None:
        if self._folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder)))


def _picture(seen: Outcome, tip: str) -> QLabel:
    height, width, _ = seen.picture.shape
    # The image does not copy: the pixmap must be made while the bytes are there.
    data = seen.picture.tobytes()
    image = QImage(data, width, height, 3 * width, QImage.Format.Format_RGB888)
    pixmap = QPixmap.fromImage(image).scaled(
        PICTURE,
        PICTURE,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    label = QLabel()
    label.setPixmap(pixmap)
    label.setToolTip(tip)
    label.setAccessibleName(tip)
    return label
