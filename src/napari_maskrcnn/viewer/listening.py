"""Keys and clicks in a viewer, for as long as the widget that wants them is seen."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from napari_maskrcnn.viewer.keys import LayerKeys
from napari_maskrcnn.viewer.looking import Clicks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari.components import ViewerModel
    from napari.layers import Labels


class Listening:
    """Takes keys and clicks on one chosen Labels layer, and gives them back.

    All callables are bound methods, held weakly.

    Parameters
    ----------
    chosen : callable
        Returns the layer that is meant, or None.
    clicked : callable
        Called with the id of an object that was clicked.
    pressed : callable
        Called with a command, when its key was pressed on the chosen layer.
    commands : dict of str to str
        The command of each action, by the action's name; see `viewer.actions`.
    """

    def __init__(
        self,
        chosen: Callable[[], Labels | None],
        clicked: Callable[[int], None],
        pressed: Callable[[str], None],
        commands: Mapping[str, str],
    ) -> None:
        self._chosen, self._clicked = chosen, clicked
        self._handlers = {
            action: _if_chosen(
                weakref.WeakMethod(chosen), weakref.WeakMethod(pressed), command
            )
            for action, command in commands.items()
        }
        self._keys: LayerKeys | None = None
        self._clicks: Clicks | None = None

    def start(self, viewer: ViewerModel) -> None:
        """Take the keys and the clicks; doing so twice is no harm."""
        if self._clicks is None:
            self._clicks = Clicks(viewer, self._chosen, self._clicked)
        self._clicks.listen()
        if self._keys is None:
            self._keys = LayerKeys(viewer, self._handlers)

    def stop(self) -> None:
        """Give them back."""
        if self._clicks is not None:
            self._clicks.stop()
        if self._keys is not None:
            self._keys.release()
            self._keys = None


def _if_chosen(
    chosen: weakref.WeakMethod[Callable[[], Labels | None]],
    pressed: weakref.WeakMethod[Callable[[str], None]],
    command: str,
) -> Callable[[Labels], object]:
    """Return what a key calls."""

    def handler(layer: Labels) -> None:
        ask, tell = chosen(), pressed()
        if ask is not None and tell is not None and ask() is layer:
            tell(command)

    return handler
