"""Which objects of a Labels layer are selected: one, as napari knows, or several.

The selected object is ``layer.selected_label``.  Several are kept beside it; as soon as
another object becomes the selected one, whoever did it, that one is the selection.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Labels

_several: weakref.WeakKeyDictionary[Labels, tuple[int, ...]] = (
    weakref.WeakKeyDictionary()
)


def selected_ids(layer: Labels) -> list[int]:
    """Return the ids of the selected objects, the first selected first."""
    one = int(layer.selected_label)
    several = _several.get(layer, ())
    if several and several[0] == one:
        return list(several)
    return [one] if one > 0 else []


def select(layer: Labels, ids: Iterable[int]) -> None:
    """Select objects; the first becomes ``layer.selected_label``."""
    chosen = tuple(dict.fromkeys(int(index) for index in ids))
    _several[layer] = chosen
    if chosen and layer.selected_label != chosen[0]:
        layer.selected_label = chosen[0]
