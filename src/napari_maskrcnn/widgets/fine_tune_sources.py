"""The part of the Fine-tune widget that says what to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_maskrcnn.viewer.annotated_layers import in_words, take
from napari_maskrcnn.viewer.fine_tuning_records import Files
from napari_maskrcnn.widgets.export_layers import LayerList
from napari_maskrcnn.widgets.parts import form_layout, row

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_maskrcnn.viewer.annotated_layers import LabelledPlane
    from napari_maskrcnn.viewer.session import Session

NONE, LAYERS, FILES = "none", "layers", "files"
COUNTS = 2


class AnnotatedLayers(LayerList):
    """Labels layers to tick, each with its image and what of it counts."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self.setColumnCount(3)
        self.setHeaderLabels(["Labels", "Image", "Counts"])
        self.setToolTip(
            "The layers to learn from. What you approved in Review counts; of layers "
            "without marks and without scores, drawn by hand or opened from a file, "
            "everything does"
        )
        header = self.header()
        if header is not None:
            header.setSectionResizeMode(COUNTS, QHeaderView.ResizeMode.ResizeToContents)

    def list_layers(self) -> None:
        """List the layers of the viewer, the topmost first."""
        super().list_layers()
        self.count()

    def count(self) -> bool:
        """Write down what of each layer counts; return whether that changed."""
        changed = False
        with signals_blocked(self):
            for item, labels in self._rows():
                text = in_words(labels)
                changed |= item.text(COUNTS) != text
                item.setText(COUNTS, text)
        return changed

    def signature(self) -> tuple[Any, ...]:
        """Return what tells one choice from another."""
        words = {id(labels): item.text(COUNTS) for item, labels in self._rows()}
        return tuple(
            (id(labels), id(image), words[id(labels)]) for labels, image in self.pairs()
        )


class ReplayedLayers(AnnotatedLayers):
    """The same list for layers to replay: none of them to begin with."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self.setToolTip(
            "Layers of what the model knows already, other ones than above. What of "
            "them counts is decided in the same way"
        )

    def ticked_at_first(self, labels: Labels) -> bool:
        """Whether a layer is ticked before the person chooses."""
        return False


class PathRow(QWidget):
    """A line for a path, with buttons to look for a folder or a file.

    Signals
    -------
    changed ()
        Another path stands there.
    """

    changed = Signal()

    def __init__(
        self, tip: str, *, files: bool = False, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.line = QLineEdit()
        self.line.setToolTip(tip)
        self.folder_button = QPushButton("Folder\N{HORIZONTAL ELLIPSIS}")
        self.folder_button.clicked.connect(self._on_folder)
        layout = row(self.line, self.folder_button)
        layout.setContentsMargins(0, 0, 0, 0)
        if files:
            self.file_button = QPushButton("File\N{HORIZONTAL ELLIPSIS}")
            self.file_button.clicked.connect(self._on_file)
            layout.addWidget(self.file_button)
        self.setLayout(layout)
        self.line.textChanged.connect(self._on_text)

    def path(self) -> Path | None:
        """Return the path, None while the line is empty."""
        text = self.line.text().strip()
        return Path(text).expanduser() if text else None

    def _on_text(self, _text: str) -> None:
        self.changed.emit()

    def _on_folder(self) -> None:
        found = QFileDialog.getExistingDirectory(self, "Folder", self.line.text())
        if found:
            self.line.setText(found)

    def _on_file(self) -> None:
        found, _ = QFileDialog.getOpenFileName(
            self, "COCO file", self.line.text(), "COCO annotations (*.json)"
        )
        if found:
            self.line.setText(found)


class SourcePanel(QWidget):
    """Open layers, or folders and COCO files.

    Signals
    -------
    changed ()
        Something else is chosen.
    """

    changed = Signal()
    TITLE = "Learn from"
    TIP = "Where the images and their objects are"
    KINDS: ClassVar[dict[str, str]] = {LAYERS: "Open layers", FILES: "Files"}
    LIST: type[AnnotatedLayers] = AnnotatedLayers

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.kind_box = QComboBox()
        self.kind_box.setToolTip(self.TIP)
        for kind, words in self.KINDS.items():
            self.kind_box.addItem(words, kind)
        self.layers = self.LIST(session)
        self.images_row = PathRow("The folder of the images")
        self.labels_row = PathRow(
            "A folder of label images of the same names, or a COCO file", files=True
        )
        self.class_box = QComboBox()
        self.class_box.setEditable(True)
        self.class_box.setToolTip(
            "The class of objects without one: choose one that the model knows, or "
            "type in a new one"
        )
        self._form = form_layout()
        self._form.addRow(self.TITLE, self.kind_box)
        self._form.addRow("Images", self.images_row)
        self._form.addRow("Labels", self.labels_row)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._form)
        column.addWidget(self.layers)
        self._last = form_layout()
        self._last.addRow("Default class", self.class_box)
        column.addLayout(self._last)
        self.kind_box.currentIndexChanged.connect(self._on_kind)
        self.layers.chosen.connect(self.changed)
        self.images_row.changed.connect(self.changed)
        self.labels_row.changed.connect(self.changed)
        self.class_box.currentTextChanged.connect(self._on_class)
        self._show_kind()

    @property
    def kind(self) -> str:
        """NONE, LAYERS or FILES."""
        return str(self.kind_box.currentData())

    def use_classes(self, names: tuple[str, ...]) -> None:
        """Offer the classes of a model; its only one is taken."""
        typed = self.class_box.currentText()
        offered = [self.class_box.itemText(i) for i in range(self.class_box.count())]
        if offered == ["", *names]:
            return
        only = names[0] if len(names) == 1 else ""
        with signals_blocked(self.class_box):
            self.class_box.clear()
            self.class_box.addItems(["", *names])
            # What the person typed stays; what another model offered goes.
            self.class_box.setEditText(only if not typed or typed in offered else typed)

    def is_empty(self) -> bool:
        """Whether something is still to be chosen."""
        if self.kind == NONE:
            return False
        if self.kind == LAYERS:
            return not self.layers.pairs()
        return None in self.paths()

    def paths(self) -> tuple[Path | None, Path | None]:
        """Return the images and the labels that are typed in."""
        return self.images_row.path(), self.labels_row.path()

    def signature(self) -> tuple[Any, ...]:
        """Return what tells one choice from another."""
        if self.kind == NONE:
            return (NONE,)
        if self.kind == LAYERS:
            return (LAYERS, self._unnamed(), self.layers.signature())
        return (FILES, self._unnamed(), self.paths())

    def sources(self) -> tuple[LabelledPlane | Files, ...]:
        """Copy what is chosen.

        Raises
        ------
        ValueError
            When it cannot be learnt from; the message says why.
        """
        if self.kind == FILES:
            images, labels = self.paths()
            if images is None or labels is None:
                raise ValueError("Choose the images and their labels")
            return (Files(images, labels, self._unnamed()),)
        viewer = self.session.viewer
        if viewer is None or self.kind == NONE:
            return ()
        pairs = []
        for labels, image in self.layers.pairs():
            if image is None:
                raise ValueError(
                    f"{labels.name} has no image: choose one, or clear its tick"
                )
            pairs.append((labels, image))
        return tuple(take(viewer, pairs, self._unnamed()))

    def _unnamed(self) -> str:
        return " ".join(self.class_box.currentText().split())

    def _on_class(self, _text: str) -> None:
        self.changed.emit()

    def _on_kind(self, _index: int) -> None:
        self._show_kind()
        self.changed.emit()

    def _show_kind(self) -> None:
        files = self.kind == FILES
        self.layers.setVisible(self.kind == LAYERS)
        self._last.setRowVisible(self.class_box, self.kind != NONE)
        self._form.setRowVisible(self.images_row, files)
        self._form.setRowVisible(self.labels_row, files)


class ReplayPanel(SourcePanel):
    """Images of what the model knows already, or none."""

    TITLE = "Replay"
    TIP = (
        "Images of what the model knows already, so that it is not forgotten: it sees "
        "them in between, and is measured on a part of them before and after"
    )
    KINDS: ClassVar[dict[str, str]] = {NONE: "None", **SourcePanel.KINDS}
    LIST = ReplayedLayers

    def refuse_same(self, learnt: SourcePanel) -> None:
        """Refuse what is learnt from as well: it would not show what is forgotten.

        Raises
        ------
        ValueError
            When the same layer, or the same files, are chosen twice.
        """
        if self.kind != learnt.kind:
            return
        if self.kind == FILES and self.paths() == learnt.paths():
            raise ValueError("the replay images are those to learn from: choose others")
        if self.kind == LAYERS:
            others = [labels for labels, _ in learnt.layers.pairs()]
            for labels, _ in self.layers.pairs():
                if labels in others:
                    raise ValueError(
                        f"ticked twice, to learn from and to replay: {labels.name}"
                    )
