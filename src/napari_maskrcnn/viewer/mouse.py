"""One tool at a time has the mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel


def take_mouse(viewer: ViewerModel) -> None:
    """End the mode of whatever tool of ours listens to the mouse.

    Such a tool has an attribute ``takes_mouse`` and a method ``stop``; it is found by
    its callback on the viewer or on a layer.
    """
    for listening in (viewer, *viewer.layers):
        for callback in list(listening.mouse_drag_callbacks):
            owner: Any = getattr(callback, "__self__", None)
            if getattr(owner, "takes_mouse", False):
                owner.stop()
