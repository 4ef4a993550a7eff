"""What a person decides in Review: acts on a plane, each with a sentence about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core.editing import delete
from napari_maskrcnn.core.words import counted
from napari_maskrcnn.viewer import classes, edits, marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Labels

    from napari_maskrcnn.viewer.layers import Plane


def approve(layer: Labels, plane: Plane, ids: Sequence[int]) -> str:
    marks.set_reviewed(layer, plane, ids)
    return f"Approved {counted(len(ids), 'object')}"


def take_back(layer: Labels, plane: Plane, index: int) -> str:
    before = len(marks.regions(layer))
    marks.set_reviewed(layer, plane, [index], reviewed=False)
    gone = before > len(marks.regions(layer))
    rest = ", and the region it was in" if gone else ""
    return f"Object {index} is no longer approved{rest}"


def reject(layer: Labels, plane: Plane, ids: Sequence[int]) -> str:
    # Before anything is computed: of a layer that is not in memory nothing can be.
    edits.check_editable(layer)
    edits.apply(layer, plane, delete(layer.data[plane.index], ids))
    return f"Deleted {counted(len(ids), 'object')}; Ctrl-Z brings back"


def approve_plane(layer: Labels, plane: Plane) -> str:
    count = marks.approve_plane(layer, plane)
    return f"Everything on this plane is right: {counted(count, 'object')}"


def add_region(layer: Labels, plane: Plane, box: tuple[int, int, int, int]) -> str:
    count = marks.add_region(layer, plane, box)
    return f"Everything in the region is right: {counted(count, 'object')}"


def give_class(
    layer: Labels, plane: Plane, ids: Sequence[int], name: str, others: Sequence[str]
) -> str:
    classes.set_class(layer, plane, ids, name, others)
    return f"{counted(len(ids), 'object').capitalize()} now {name}"


def add_class(layer: Labels, _plane: Plane, name: str, others: Sequence[str]) -> str:
    return f"Added {classes.add_class(layer, name, others)}"


def rename_class(
    layer: Labels, _plane: Plane, old: str, new: str, others: Sequence[str]
) -> str:
    return f"Renamed {old} to {classes.rename_class(layer, old, new, others)}"
