"""What follows when a person moves, adds or deletes boxes and keypoints.

A box or keypoint that was moved is the person's from then on: it loses its score, which
said how sure the network was of another place.  A box deleted takes its keypoints with
it.  A new keypoint becomes the first that the person it is next to in the layer does
not have yet; where that one has all, it begins another person.  The bones follow.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points, Shapes
from napari.layers.base import ActionType

from napari_maskrcnn.core.coco.keypoints import VISIBLE
from napari_maskrcnn.viewer.coco_origin import origin_of
from napari_maskrcnn.viewer.drawn_layers import (
    BONES,
    BOXES,
    KEYPOINTS,
    is_written,
    layer_of,
    point_colours,
    put_bones,
    role_of,
    skeletons_of,
    table_of,
    writing,
)
from napari_maskrcnn.viewer.drawn_tables import label_of
from napari_maskrcnn.viewer.layers import unwrap

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel

_followers: dict[int, Follower] = {}


def follow_drawn(viewer: Any) -> Follower:
    """Follow the layers of boxes and keypoints of a viewer, those to come included."""
    viewer = unwrap(viewer)
    key = id(viewer)
    if key not in _followers:
        _followers[key] = Follower(viewer)
        weakref.finalize(viewer, _followers.pop, key, None)
    return _followers[key]


class Follower:
    """Keeps tables and bones right; use `follow_drawn` to get it."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = weakref.ref(viewer)
        self._followed: weakref.WeakSet[Any] = weakref.WeakSet()
        self._leaving: list[int] = []
        viewer.layers.events.inserted.connect(self._on_layers)
        self._on_layers()

    def _on_layers(self) -> None:
        viewer = self._viewer()
        for layer in viewer.layers if viewer is not None else ():
            if role_of(layer) in (BOXES, KEYPOINTS) and layer not in self._followed:
                self._followed.add(layer)
                layer.events.data.connect(self._on_data)
            elif role_of(layer) == BONES and layer not in self._followed:
                self._followed.add(layer)
                layer.editable = False

    def _on_data(self, event: Any) -> None:
        layer = event.source
        if is_written(layer):
            return
        numbers = [int(i) % max(1, len(layer.data)) for i in event.data_indices or ()]
        if event.action == ActionType.REMOVING and isinstance(layer, Shapes):
            self._leaving = layer.features["index"].iloc[numbers].tolist()
        elif event.action == ActionType.REMOVED and isinstance(layer, Shapes):
            self._take_along(layer)
        elif event.action == ActionType.CHANGED:
            _take_over(layer, numbers)
        elif event.action == ActionType.ADDED and isinstance(layer, Points):
            _name_new(layer, numbers, self._free_person(layer))
        elif event.action == ActionType.ADDED:
            _take_over(layer, numbers)
        if isinstance(layer, Points) and event.action in (
            ActionType.ADDED,
            ActionType.CHANGED,
            ActionType.REMOVED,
        ):
            self.draw_bones(layer)

    def draw_bones(self, points: Points) -> None:
        """Bring the bones of a layer of keypoints up to date."""
        viewer = self._viewer()
        lines = layer_of(viewer, table_of(points), BONES) if viewer else None
        if lines is not None:
            put_bones(lines, points)

    def _free_person(self, points: Points) -> int:
        """Return an id that no object of these layers, or of their file, has."""
        viewer, origin = self._viewer(), origin_of(points.metadata)
        ids = [0, *points.features["person"]]
        boxes = layer_of(viewer, table_of(points), BOXES) if viewer else None
        if boxes is not None:
            ids += boxes.features["index"].tolist()
        for image in origin.planes.values() if origin is not None else ():
            ids += image.to_objects().ids.tolist()
        return int(max(ids)) + 1

    def _take_along(self, layer: Shapes) -> None:
        """Remove the keypoints of the boxes that were removed."""
        viewer, gone = self._viewer(), self._leaving
        self._leaving = []
        points = layer_of(viewer, table_of(layer), KEYPOINTS) if viewer else None
        if points is None or not gone:
            return
        of = np.flatnonzero(points.features["person"].isin(gone)).tolist()
        if of:
            with writing(points):
                points.remove(of)
            self.draw_bones(points)


def _take_over(layer: Any, numbers: list[int]) -> None:
    """Make rows those of a person: without a score, of the extent they have now."""
    table = layer.features.copy()
    rows = table.index[numbers]
    if isinstance(layer, Points):
        # A keypoint that the network did not trust is where the person put it.
        guessed = rows[table.loc[rows, "score"].notna()]
        table.loc[guessed, "visible"] = VISIBLE
        table.loc[rows, "score"] = np.nan
        _write(layer, table)
        return
    table.loc[rows, "score"] = np.nan
    for number, row in zip(numbers, rows, strict=True):
        low, high = layer.data[number].min(axis=0), layer.data[number].max(axis=0)
        sides = np.sort(high - low)[-2:]
        table.loc[row, "area"] = float(sides.prod())
        table.loc[row, "label"] = label_of(str(table.loc[row, "class"]), np.nan)
    _write(layer, table)


def _name_new(layer: Points, numbers: list[int], free: int) -> None:
    """Say which person's, and which, the keypoints are that a person added."""
    table = layer.features.copy()
    skeletons = skeletons_of(layer)
    known = table.drop(index=table.index[numbers])
    for number in numbers:
        person, name, keypoint = _next(table.iloc[number], known, skeletons, free)
        free = max(free, person + 1)
        values = {"person": person, "class": name, "keypoint": keypoint}
        for column, value in {**values, "score": np.nan, "visible": VISIBLE}.items():
            table.loc[table.index[number], column] = value
        known = table.loc[[*known.index, table.index[number]]]
    _write(layer, table)


def _next(
    given: Any, known: pd.DataFrame, skeletons: Any, free: int
) -> tuple[int, str, str]:
    """Return person, class and name of a new keypoint."""
    person, name = int(given["person"]), str(given["class"])
    if name not in skeletons:
        name = next(iter(skeletons), "")
    names = skeletons[name].names if name in skeletons else ("",)
    there = set(known["keypoint"][known["person"] == person])
    missing = [keypoint for keypoint in names if keypoint not in there]
    if person > 0 and missing:
        return person, name, missing[0]
    return free, name, names[0]


def _write(layer: Any, table: pd.DataFrame) -> None:
    with writing(layer):
        layer.features = table
        if isinstance(layer, Points):
            layer.face_color = point_colours(table)
        else:
            layer.refresh_text()
