"""Keys bound to the layers of a viewer while somebody wants them."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.key_bindings import coerce_keybinding

from napari_maskrcnn.viewer.actions import action_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari.components import ViewerModel


class LayerKeys:
    """Keys of actions on all Labels layers of a viewer, those to come included.

    A key that somebody else bound to a layer stays theirs.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer; held weakly.
    handlers : dict of str to callable
        What each action calls, with the layer whose key was pressed.
    """

    def __init__(
        self, viewer: ViewerModel, handlers: Mapping[str, Callable[[Labels], object]]
    ) -> None:
        self._viewer = weakref.ref(viewer)
        self._handlers = {
            coerce_keybinding(action_named(name).key): handler
            for name, handler in handlers.items()
        }
        self._bound: weakref.WeakKeyDictionary[Labels, dict[Any, Any]] = (
            weakref.WeakKeyDictionary()
        )
        viewer.layers.events.inserted.connect(self._bind)
        self._bind()

    def _bind(self) -> None:
        viewer = self._viewer()
        for layer in viewer.layers if viewer is not None else ():
            if not isinstance(layer, Labels) or layer in self._bound:
                continue
            bound = self._bound[layer] = {}
            for key, handler in self._handlers.items():
                if key not in layer.keymap:
                    bound[key] = _calling(handler)
                    layer.bind_key(key, bound[key])

    def release(self) -> None:
        """Give the keys back; afterwards this object does nothing any more."""
        viewer = self._viewer()
        if viewer is not None:
            viewer.layers.events.inserted.disconnect(self._bind)
        for layer, bound in self._bound.items():
            for key, function in bound.items():
                if layer.keymap.get(key) is function:
                    layer.bind_key(key, None)
        self._bound.clear()


class BorrowedKeys:
    """Keys that a tool of the mouse takes for a while; what they did comes back.

    napari asks the active layer before the viewer, and layers have keys of their own:
    Escape drops a polygon of a Labels layer.  So a tool has to take its keys on every
    layer that it works on.

    Parameters
    ----------
    handlers : dict of str to callable
        What each key calls: bound methods, held weakly.
    """

    def __init__(self, handlers: Mapping[str, Callable[[], object]]) -> None:
        self._handlers = {
            coerce_keybinding(key): _calling_weakly(handler)
            for key, handler in handlers.items()
        }
        self._before: list[tuple[weakref.ref[Any], dict[Any, Any]]] = []

    def take(self, provider: Any) -> None:
        """Take the keys of a layer or a viewer, if that was not done yet."""
        if any(known() is provider for known, _ in self._before):
            return
        before = {key: provider.keymap.get(key) for key in self._handlers}
        self._before.append((weakref.ref(provider), before))
        for key, function in self._handlers.items():
            provider.bind_key(key, function, overwrite=True)

    def give_back(self) -> None:
        """Give all keys back, save those that somebody else has taken meanwhile."""
        for reference, before in self._before:
            provider = reference()
            if provider is None:
                continue
            for key, function in before.items():
                if provider.keymap.get(key) is self._handlers[key]:
                    provider.bind_key(key, function, overwrite=True)
        self._before.clear()


def _calling(handler: Callable[[Labels], object]) -> Callable[[Labels], None]:
    """Return a function that napari takes for no generator and no bound method."""

    def pressed(layer: Labels) -> None:
        handler(layer)

    return pressed


def _calling_weakly(handler: Callable[[], object]) -> Callable[[Any], None]:
    """Return a function for a key that does not keep the method's owner alive."""
    held = weakref.WeakMethod(handler)

    def pressed(_provider: Any) -> None:
        method = held()
        if method is not None:
            method()

    return pressed
