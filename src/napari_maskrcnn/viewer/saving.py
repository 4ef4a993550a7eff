"""Hear of a layer being saved by napari, which has no event for that.

``viewer.layers.save`` and ``layer.save`` are what napari's menus and scripts call.
Both are replaced on the one object by a function that calls them and then tells.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari.layers import Labels

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_maskrcnn.viewer.recovery import Recovery


def tell_when_saved(viewer: ViewerModel, recovery: Recovery) -> None:
    """Have `recovery` told of every Labels layer of a viewer that was saved."""
    teller = _Teller(viewer, recovery)
    viewer.layers.save = teller.save_layers
    viewer.layers.events.inserted.connect(teller.follow)
    teller.follow()


class _Teller:
    def __init__(self, viewer: ViewerModel, recovery: Recovery) -> None:
        self._layers = weakref.ref(viewer.layers)
        self._recovery = weakref.ref(recovery)
        self._followed: weakref.WeakSet[Labels] = weakref.WeakSet()

    def follow(self) -> None:
        for layer in self._layers() or ():
            if isinstance(layer, Labels) and layer not in self._followed:
                self._followed.add(layer)
                layer.save = _LayerSave(layer, self)

    def save_layers(
        self, path: str, *, selected: bool = False, **arguments: Any
    ) -> list[str]:
        layers = self._layers()
        if layers is None:
            return []
        chosen = [x for x in layers if x in layers.selection] if selected else layers
        kept = list(chosen)
        written: list[str] = type(layers).save(
            layers, path, selected=selected, **arguments
        )
        if written:
            for layer in kept:
                self.tell(layer)
        return written

    def tell(self, layer: Any) -> None:
        recovery = self._recovery()
        if recovery is not None and isinstance(layer, Labels):
            recovery.mark_saved(layer)


class _LayerSave:
    """Takes the place of a layer's ``save``."""

    def __init__(self, layer: Labels, teller: _Teller) -> None:
        self._layer = weakref.ref(layer)
        self._teller = weakref.ref(teller)

    def __call__(self, path: str, plugin: str | None = None) -> list[str]:
        layer = self._layer()
        if layer is None:
            return []
        written: list[str] = type(layer).save(layer, path, plugin=plugin)
        teller = self._teller()
        if written and teller is not None:
            teller.tell(layer)
        return written
