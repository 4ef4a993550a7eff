"""Combo boxes that the dock widgets share: of anything, of layers, of models."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QComboBox
from superqt.utils import signals_blocked

from napari_maskrcnn.core.class_names import class_count
from napari_maskrcnn.core.model_list import list_models

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Layer

    from napari_maskrcnn.core.model_list import ModelEntry

DEFAULT_MODEL = "nuclei"
PUBLISHER = "torchvision"
MEGABYTE = 1_000_000


class Box(QComboBox):
    """A combo box that does not widen the dock for a long name.

    Parameters
    ----------
    tip : str
        The tooltip.
    letters : int
        For so many there is room at least.
    """

    def __init__(self, tip: str, letters: int = 12) -> None:
        super().__init__()
        self.setToolTip(tip)
        self.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(letters)


class LayerBox(Box):
    """Layers to choose one from; none is kept alive."""

    def __init__(self, tip: str, letters: int = 12) -> None:
        super().__init__(tip, letters)
        self._followed: weakref.ref[Layer] | None = None

    def layer(self) -> Any:
        """Return the chosen layer, or None."""
        reference = self.currentData()
        return reference() if reference is not None else None

    def list_layers(self, layers: Sequence[Layer]) -> None:
        """List other layers without a signal; the chosen one stays if it can."""
        chosen = self.layer()
        with signals_blocked(self):
            self.clear()
            for layer in layers:
                self.addItem(layer.name, weakref.ref(layer))
            if chosen in layers:
                self.setCurrentIndex(layers.index(chosen))

    def follow(self, **slots: Callable[[], None]) -> None:
        """Follow these events of the chosen layer, and no longer those of the last."""
        last = self._followed() if self._followed is not None else None
        layer = self.layer()
        if last is layer:
            return
        for name, slot in slots.items():
            if last is not None:
                getattr(last.events, name).disconnect(slot)
            if layer is not None:
                getattr(layer.events, name).connect(slot)
        self._followed = weakref.ref(layer) if layer is not None else None


class ModelBox(Box):
    """The models to choose one from; those of torchvision in a group of their own.

    Parameters
    ----------
    tip : str
        The tooltip.
    absent : bool
        Whether models that are still to be downloaded are listed.
    """

    def __init__(self, tip: str, *, absent: bool = False) -> None:
        super().__init__(tip)
        self._absent = absent
        self._entries: dict[str, ModelEntry] = {}

    def name(self) -> str:
        """Return the name of the chosen model; empty where there is none."""
        return str(self.currentData() or "")

    def entry(self) -> ModelEntry | None:
        """Return what is known of the chosen model."""
        return self._entries.get(self.name())

    def choose(self, name: str) -> None:
        """Choose a model by its name."""
        self.setCurrentIndex(max(0, self.findData(name)))

    def list_models(self, default: str = "") -> None:
        """List the models as they are now, without a signal; the chosen one stays.

        Parameters
        ----------
        default : str
            The model to choose where none is yet.
        """
        chosen = self.name() or default or DEFAULT_MODEL
        self._entries = {
            entry.name: entry
            for entry in list_models()
            if entry.downloaded or self._absent
        }
        with signals_blocked(self):
            self.clear()
            group = ""
            for entry in self._entries.values():
                if entry.source == PUBLISHER != group:
                    self._add_heading("Trained on COCO, by torchvision")
                group = entry.source
                self._add_entry(entry)
            self.choose(chosen)

    def _add_entry(self, entry: ModelEntry) -> None:
        text = entry.name
        if not entry.downloaded:
            text += f"  (download {entry.size / MEGABYTE:.0f} MB)"
        self.addItem(text, entry.name)
        tip = entry.description or class_count(entry.class_names)
        self.setItemData(self.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)

    def _add_heading(self, text: str) -> None:
        """Add a line that cannot be chosen."""
        self.insertSeparator(self.count())
        self.addItem(text)
        items = self.model()
        if isinstance(items, QStandardItemModel):
            heading = items.item(self.count() - 1)
            if heading is not None:
                heading.setEnabled(False)
