"""One plane of boxes and keypoints: what was found, drawn, and made by a person.

What a person made goes before what the network found, as it does with masks:

* a row without a score is a person's and stays (`viewer.drawn_edits` takes the score of
  what is moved); so does an object of another class than the network said, and a person
  of whom a keypoint was moved, added or deleted, with box and keypoints;
* what the network drew and is no longer there was deleted, and does not come back;
* a new detection gives way where its box overlaps such a one, kept or deleted, by more
  than half (intersection over union).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.viewer.drawn_layers import (
    classes_in,
    put_bones,
    put_boxes,
    put_points,
    rows_of,
)
from napari_maskrcnn.viewer.drawn_tables import (
    Rows,
    no_points,
    on_plane,
    rows_of_instances,
)

if TYPE_CHECKING:
    from napari.layers import Points, Shapes
    from numpy.typing import NDArray

    from napari_maskrcnn.core.instances import Instances
    from napari_maskrcnn.core.recipe import Recipe
    from napari_maskrcnn.viewer.encodings import EncodingKey
    from napari_maskrcnn.viewer.layers import Plane

# The overlap with what a person decided from which on a detection is left out.
GIVES_WAY = 0.5


@dataclass(frozen=True, slots=True)
class DrawnPlane:
    """A plane of the layers of an image's boxes and keypoints.

    Parameters
    ----------
    layer : Shapes
        The boxes.
    points, bones : Points, Shapes or None
        The keypoints and the lines between them, for networks that give them.
    plane : Plane
        Which plane of them.
    names : tuple of str
        The classes, in the order of their colours.
    """

    layer: Shapes
    points: Points | None
    bones: Shapes | None
    plane: Plane
    names: tuple[str, ...]

    def rows(self) -> tuple[Rows, Rows, Rows, Rows]:
        """Return boxes and keypoints of this plane, then those of other planes."""
        boxes = rows_of(self.layer)
        here = on_plane(self.plane, boxes.places)
        if self.points is None:
            nothing = no_points()
            return boxes.select(here), nothing, boxes.select(~here), nothing
        points = rows_of(self.points)
        there = on_plane(self.plane, points.places)
        return (
            boxes.select(here), points.select(there),
            boxes.select(~here), points.select(~there),
        )  # fmt: skip

    def put(self, boxes: Rows, points: Rows) -> None:
        """Let the layers hold these rows, and the bones between the keypoints."""
        put_boxes(self.layer, boxes, classes_in([boxes], self.names))
        if self.points is not None:
            put_points(self.points, points)
            if self.bones is not None:
                put_bones(self.bones, self.points)


@dataclass(slots=True, eq=False, weakref_slot=True)
class DrawnRecord:
    """What is kept of one plane whose objects have no masks.

    Parameters
    ----------
    target : DrawnPlane
        Where they are drawn.
    instances : Instances
        All kept detections, unfiltered; their ids are those in the tables.
    drawn : dict of int to int
        What was last drawn: of each id how many keypoints.
    settled : set of int
        Ids of detections that a person changed or deleted: they are not drawn again.
    decided : ndarray
        Shape (M, 4), xyxy: boxes that a person kept or deleted in earlier runs.
    encoding : object
        The detector's encoding of the plane, while the memory budget allows.
    encoded_as : EncodingKey or None
        What the encoding depends on.
    recipe : Recipe or None
        What the plane was last drawn with.
    """

    target: DrawnPlane
    instances: Instances
    drawn: dict[int, int] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)
    decided: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))
    encoding: Any = None
    encoded_as: EncodingKey | None = None
    recipe: Recipe | None = None

    def count(self) -> int:
        """Return how many objects the plane has: boxes, and persons without one."""
        boxes, points, _, _ = self.target.rows()
        persons = set(points.table["person"]) - set(boxes.table["index"])
        return len(boxes) + len(persons)

    def live(self, *, keep_edited: bool) -> Redraw:
        """Begin a change, with a look at what a person made."""
        return Redraw(self, keep_edited=keep_edited)

    def edited(self, boxes: Rows, points: Rows) -> set[int]:
        """Return the ids of the objects that are a person's."""
        table, spots = boxes.table, points.table
        ids = table["index"].to_numpy(np.int64)
        said = dict(zip(self.instances.ids.tolist(), self.instances.names, strict=True))
        own = table["score"].isna().to_numpy(bool)
        own |= np.array(
            [
                said.get(index) != name
                for index, name in zip(ids.tolist(), table["class"], strict=True)
            ],
            bool,
        )
        found = set(ids[own].tolist())
        found |= set(spots["person"][spots["score"].isna()].tolist())
        persons, counts = np.unique(spots["person"].to_numpy(), return_counts=True)
        for person, count in zip(persons.tolist(), counts.tolist(), strict=True):
            if self.drawn.get(person) != count:
                found.add(person)
        return found

    def settle(self, boxes: Rows, points: Rows) -> set[int]:
        """Note what a person changed or deleted since; return what is the person's."""
        there = set(boxes.table["index"]) | set(points.table["person"])
        edited = self.edited(boxes, points)
        own = set(self.instances.ids.tolist())
        self.settled |= (set(self.drawn) - there) | (edited & own)
        return edited

    def boxes_decided(self) -> NDArray[np.float64]:
        """Return the boxes (M, 4) of what a person kept or deleted, in any run."""
        boxes, points, _, _ = self.target.rows()
        edited = self.settle(boxes, points)
        gone = np.isin(self.instances.ids, list(self.settled))
        return np.concatenate(
            [
                self.decided,
                self.instances.boxes[gone],
                _extents(self.target.plane, boxes, "index", edited),
                _extents(self.target.plane, points, "person", edited),
            ]
        )


class Redraw:
    """A change of one plane: begun once, shown many times, then finished.

    Parameters
    ----------
    record : DrawnRecord
        The plane and its detections.
    keep_edited : bool
        Whether what a person made stays.
    """

    def __init__(self, record: DrawnRecord, *, keep_edited: bool) -> None:
        self.record = record
        boxes, points, *self._elsewhere = record.target.rows()
        instances = record.instances
        hidden = np.zeros(len(instances), bool)
        kept: set[int] = set()
        if keep_edited:
            kept = record.settle(boxes, points)
            hidden = np.isin(instances.ids, list(kept | record.settled))
            hidden |= _overlapping(
                instances.boxes,
                np.concatenate(
                    [
                        record.decided,
                        _extents(record.target.plane, boxes, "index", kept),
                    ]
                ),
            )
        self._boxes = boxes.select(_among(boxes, "index", kept))
        self._points = points.select(_among(points, "person", kept))
        self._hidden = instances.ids[hidden]

    def show(self, recipe: Recipe) -> None:
        """Draw with these thresholds."""
        record = self.record
        # First the thresholds: a box that was deleted still stands for the ones beneath
        # it, which non-maximum suppression took for the same object.
        found = recipe.apply(record.instances)
        found = found[~np.isin(found.ids, self._hidden)]
        boxes, points = rows_of_instances(record.target.plane, found)
        others, spots = self._elsewhere
        record.target.put(
            others.joined(self._boxes).joined(boxes),
            spots.joined(self._points).joined(points),
        )
        persons = points.table["person"].tolist()
        # Not what is kept: it may be deleted, but that is no news of a detection.
        record.drawn = {index: persons.count(index) for index in found.ids.tolist()}
        record.recipe = recipe

    def finish(self) -> None:
        """Do nothing: napari keeps no undo steps of shapes and points."""


def _among(rows: Rows, column: str, ids: set[int]) -> NDArray[np.bool_]:
    return np.isin(rows.table[column].to_numpy(np.int64), list(ids))


def _extents(
    plane: Plane, rows: Rows, column: str, ids: set[int]
) -> NDArray[np.float64]:
    """Return the boxes (M, 4), xyxy, around the rows of each of some objects."""
    found = []
    table = rows.table[column].tolist()
    # Every shape that a person drew has the id 0: they are taken one by one.
    keys = [index or -number for number, index in enumerate(table, start=1)]
    for key in dict.fromkeys(keys):
        numbers = [n for n, other in enumerate(keys) if other == key]
        if table[numbers[0]] not in ids:
            continue
        places = np.concatenate([np.atleast_2d(rows.places[n]) for n in numbers])
        y, x = places[:, plane.axes[0]], places[:, plane.axes[1]]
        found.append((x.min(), y.min(), x.max(), y.max()))
    return np.array(found, np.float64).reshape(-1, 4) + 0.5


def _overlapping(
    boxes: NDArray[Any], decided: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which boxes (N, 4) overlap one of the other ones (M, 4) by too much."""
    if not len(boxes) or not len(decided):
        return np.zeros(len(boxes), bool)
    low = np.maximum(boxes[:, None, :2], decided[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], decided[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (boxes, decided)]
    union = areas[0][:, None] + areas[1][None] - shared
    over: NDArray[np.bool_] = (shared > GIVES_WAY * union).any(axis=1)
    return over
