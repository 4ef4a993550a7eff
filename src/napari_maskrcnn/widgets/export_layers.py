"""The list of Labels layers to export, each with the image that it belongs to."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_maskrcnn.viewer.drawn_layers import role_of
from napari_maskrcnn.viewer.drawn_parts import is_exportable
from napari_maskrcnn.viewer.export_parts import fitting_images, likely_image
from napari_maskrcnn.widgets.boxes import LayerBox

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_maskrcnn.viewer.session import Session

_ROLE = int(Qt.ItemDataRole.UserRole)
_MOST_ROWS = 6


class LayerList(QTreeWidget):
    """Labels layers to tick; visible ones are ticked to begin with.

    Signals
    -------
    chosen ()
        Another layer is ticked, or belongs to another image.
    """

    chosen = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.setColumnCount(2)
        self.setHeaderLabels(["Labels", "Image"])
        self.setRootIsDecorated(False)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setToolTip(
            "The layers to export. Layers of one image become one image in the file"
        )
        header = self.header()
        if header is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
            header.setSectionsMovable(False)
        self.itemChanged.connect(self._on_item)
        # What the person chose, for layers that are listed again.
        self._ticked: weakref.WeakKeyDictionary[Labels, bool] = (
            weakref.WeakKeyDictionary()
        )
        self._images: weakref.WeakKeyDictionary[Labels, weakref.ref[Image] | None] = (
            weakref.WeakKeyDictionary()
        )

    def list_layers(self) -> None:
        """List the layers of the viewer, the topmost first."""
        viewer = self.session.viewer
        layers = [] if viewer is None else [x for x in viewer.layers if self.lists(x)]
        with signals_blocked(self):
            self.clear()
            for labels in reversed(layers):
                self._add(labels)
        rows = min(max(len(layers), 2), _MOST_ROWS)
        height = self.sizeHintForRow(0) if layers else 24
        self.setFixedHeight((rows + 1) * max(height, 24) + 6)

    def _add(self, labels: Labels) -> None:
        item = QTreeWidgetItem([labels.name, ""])
        item.setFlags(Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsEnabled)
        ticked = self._ticked.setdefault(labels, self.ticked_at_first(labels))
        item.setCheckState(
            0, Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked
        )
        item.setData(0, _ROLE, weakref.ref(labels))
        item.setToolTip(0, labels.name)
        self.addTopLevelItem(item)
        box = LayerBox("The image that the labels belong to", 6)
        box.setAccessibleName(f"Image of {labels.name}")
        box.addItem("none", None)
        for image in fitting_images(self.session, labels):
            box.addItem(image.name, weakref.ref(image))
        chosen = self._image_of(labels)
        for place in range(1, box.count()):
            if box.itemData(place)() is chosen:
                box.setCurrentIndex(place)
        box.currentIndexChanged.connect(self._on_image)
        self.setItemWidget(item, 1, box)

    def lists(self, layer: Any) -> bool:
        """Whether a layer can be ticked here."""
        return isinstance(layer, Labels)

    def ticked_at_first(self, labels: Labels) -> bool:
        """Whether a layer is ticked before the person chooses."""
        return bool(labels.visible)

    def _image_of(self, labels: Labels) -> Image | None:
        if labels in self._images:
            reference = self._images[labels]
            image = reference() if reference is not None else None
            if reference is None or image in self.session.images():
                return image
        return likely_image(self.session, labels)

    def pairs(self) -> list[tuple[Labels, Image | None]]:
        """Return the ticked layers, the topmost first, each with its image."""
        found = []
        for item, labels in self._rows():
            if item.checkState(0) == Qt.CheckState.Checked:
                found.append((labels, self._chosen_image(item)))
        return found

    def tick(self, labels: Labels, ticked: bool) -> None:
        """Tick a layer, or clear it, as a person does."""
        for item, layer in self._rows():
            if layer is labels:
                state = Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked
                item.setCheckState(0, state)

    def image_box(self, labels: Labels) -> LayerBox:
        """Return the box in which the image of a layer is chosen.

        Raises
        ------
        KeyError
            If the layer is not listed.
        """
        for item, layer in self._rows():
            box = self.itemWidget(item, 1)
            if layer is labels and isinstance(box, LayerBox):
                return box
        raise KeyError(labels.name)

    def _chosen_image(self, item: QTreeWidgetItem) -> Image | None:
        box = self.itemWidget(item, 1)
        return box.layer() if isinstance(box, LayerBox) else None

    def _rows(self) -> list[tuple[QTreeWidgetItem, Labels]]:
        rows = []
        for number in range(self.topLevelItemCount()):
            item = self.topLevelItem(number)
            labels = item.data(0, _ROLE)() if item is not None else None
            if item is not None and labels is not None:
                rows.append((item, labels))
        return rows

    def _on_item(self, item: QTreeWidgetItem, column: int) -> None:
        labels = item.data(0, _ROLE)()
        if column == 0 and labels is not None:
            self._ticked[labels] = item.checkState(0) == Qt.CheckState.Checked
            self.chosen.emit()

    def _on_image(self, _index: int) -> None:
        for item, labels in self._rows():
            image = self._chosen_image(item)
            self._images[labels] = None if image is None else weakref.ref(image)
        self.chosen.emit()


class ObjectLayers(LayerList):
    """Labels, shapes and keypoints to tick; a person's own shapes are not at first."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self.setHeaderLabels(["Objects", "Image"])
        self.setToolTip(
            "The layers to export: labels, boxes and polygons, keypoints. Layers of "
            "one image become one image in the file"
        )

    def lists(self, layer: Any) -> bool:
        """Whether a layer can be ticked here."""
        return is_listed(layer)

    def ticked_at_first(self, labels: Any) -> bool:
        """Whether a layer is ticked before the person chooses."""
        known = isinstance(labels, Labels) or bool(role_of(labels))
        return known and super().ticked_at_first(labels)


def is_listed(layer: Any) -> bool:
    """Whether a layer may hold objects to export."""
    return isinstance(layer, Labels) or is_exportable(layer)
