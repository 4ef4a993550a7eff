"""Objects without masks as tables: a row for each box, and one for each keypoint.

The rows become a Shapes layer and a Points layer (`viewer.drawn_layers`).  They come
from a network or from a file, and say the same in either case:

* boxes: index (the object), class, score, area, and the label that is drawn;
* keypoints: person (the object), class, keypoint (its name), score, and visible, which
  is COCO's: 2 visible, 1 labelled and not visible, or of a score too low to believe.

A row without a score is a person's: drawn, moved, or read from a file.

Places of keypoints are COCO's: 0 is the middle of the first pixel, as in napari.  Boxes
go along the edges of pixels, half a pixel further out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_maskrcnn.core.coco.keypoints import NOT_LABELLED, coco_keypoints
from napari_maskrcnn.viewer.layers import Plane

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_maskrcnn.core.coco import CocoObjects
    from napari_maskrcnn.core.instances import Instances
    from napari_maskrcnn.core.skeletons import Skeleton

BOX_COLUMNS = ["index", "class", "score", "area", "label"]
POINT_COLUMNS = ["person", "class", "keypoint", "score", "visible"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Places and what is said of them, row by row.

    Parameters
    ----------
    places : list of ndarray
        For boxes the corners, (4, D) each or (P, D) of another shape; for keypoints
        (D,) each; in the coordinates of a layer of D axes.
    table : DataFrame
        As many rows, see the module.
    kinds : list of str
        Of shapes: "rectangle", "polygon" ...; empty for keypoints.
    """

    places: list[NDArray[np.float64]]
    table: pd.DataFrame
    kinds: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.places)

    def select(self, which: NDArray[np.bool_]) -> Rows:
        """Return some of the rows."""
        numbers = np.flatnonzero(which).tolist()
        return Rows(
            [self.places[number] for number in numbers],
            self.table.iloc[numbers].reset_index(drop=True),
            [self.kinds[number] for number in numbers] if self.kinds else [],
        )

    def joined(self, other: Rows) -> Rows:
        """Return these rows, then the other ones."""
        tables = [rows.table for rows in (self, other) if len(rows)]
        table = pd.concat(tables, ignore_index=True) if tables else self.table
        return Rows(self.places + other.places, table, self.kinds + other.kinds)


def no_boxes() -> Rows:
    """Return no rows of boxes."""
    nothing = np.empty(0, np.int64)
    return box_rows(Plane((0, 1)), np.empty((0, 4)), nothing, [], np.empty(0))


def no_points() -> Rows:
    """Return no rows of keypoints."""
    return Rows([], points_table([]))


def label_of(class_name: str, score: float) -> str:
    """Return what is written at a box: the class, and a score if there is one."""
    return class_name if np.isnan(score) else f"{class_name} {score:.2f}"


def box_rows(
    plane: Plane,
    boxes: NDArray[Any],
    ids: NDArray[np.int64],
    names: Sequence[str],
    scores: NDArray[Any],
) -> Rows:
    """Return the rows of boxes (N, 4), xyxy in pixel edges, on a plane."""
    x0, y0, x1, y1 = boxes.astype(np.float64).reshape(-1, 4).T - 0.5
    corners = np.stack(
        [np.stack(point, 1) for point in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))], 1
    )
    scores = np.asarray(scores, np.float64)
    table = pd.DataFrame(
        {
            "index": np.asarray(ids, np.int64),
            "class": np.array(names, object),
            "score": scores,
            "area": (x1 - x0) * (y1 - y0),
            "label": np.array(
                [label_of(*row) for row in zip(names, scores, strict=True)], object
            ),
        }
    )
    places = [embedded(plane, corner) for corner in corners]
    return Rows(places, table, ["rectangle"] * len(table))


def point_rows(
    plane: Plane,
    keypoints: Sequence[NDArray[Any] | None],
    scores: Sequence[NDArray[Any] | None],
    ids: NDArray[np.int64],
    names: Sequence[str],
    skeletons: Mapping[str, Skeleton],
) -> Rows:
    """Return the rows of keypoints.

    Parameters
    ----------
    plane : Plane
        The plane.
    keypoints : sequence
        For each object (K, 3): x, y, v; or None.
    scores : sequence
        For each object (K,); or None.
    ids, names : sequence
        Of the objects: their ids and classes.
    skeletons : mapping
        By class.
    """
    places: list[NDArray[np.float64]] = []
    rows: list[tuple[Any, ...]] = []
    for points, own, index, name in zip(keypoints, scores, ids, names, strict=True):
        if points is None:
            continue
        for number, (x, y, visible) in enumerate(points.tolist()):
            # What is not labelled is nowhere: COCO writes 0, 0, 0.
            if visible == NOT_LABELLED and x == y == 0:
                continue
            score = np.nan if own is None else float(own[number])
            keypoint = skeletons[name].names[number]
            places.append(embedded(plane, np.array([y, x])))
            rows.append((int(index), name, keypoint, score, int(visible)))
    return Rows(places, points_table(rows))


def points_table(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Return the table of keypoints; without rows it has its dtypes all the same."""
    person, name, keypoint, score, visible = (
        zip(*rows, strict=True) if rows else ((),) * 5
    )
    return pd.DataFrame(
        {
            "person": np.array(person, np.int64),
            "class": np.array(name, object),
            "keypoint": np.array(keypoint, object),
            "score": np.array(score, np.float64),
            "visible": np.array(visible, np.int64),
        }
    )


def embedded(plane: Plane, points: NDArray[Any]) -> NDArray[np.float64]:
    """Return points (..., 2), y and x of a plane, in the layer's coordinates."""
    count = len(plane.position) + 2
    placed = np.empty((*points.shape[:-1], count))
    others = [axis for axis in range(count) if axis not in plane.axes]
    placed[..., others] = plane.position
    placed[..., list(plane.axes)] = points
    return placed


def on_plane(plane: Plane, places: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    """Return which places lie on a plane: nearest to it, as napari shows them."""
    if not plane.position:
        return np.ones(len(places), bool)
    others = [axis for axis in range(len(plane.position) + 2) if axis not in plane.axes]
    firsts = [np.atleast_2d(place)[0, others] for place in places]
    found = np.rint(np.array(firsts).reshape(-1, len(others)))
    on: NDArray[np.bool_] = (found == plane.position).all(axis=1)
    return on


def rows_of_instances(plane: Plane, instances: Instances) -> tuple[Rows, Rows]:
    """Return boxes and keypoints of what a network found."""
    names, ids = instances.names, instances.ids
    boxes = box_rows(plane, instances.boxes, ids, names, instances.scores)
    if instances.keypoints is None or instances.skeleton is None:
        return boxes, no_points()
    points = point_rows(
        plane,
        list(coco_keypoints(instances.keypoints)),
        list(instances.keypoints[..., 2]),
        ids,
        names,
        dict.fromkeys(names, instances.skeleton),
    )
    return boxes, points


def rows_of_objects(plane: Plane, objects: CocoObjects) -> tuple[Rows, Rows]:
    """Return the boxes of the objects without a mask, and the keypoints of all."""
    names = [objects.class_names[class_id - 1] for class_id in objects.class_ids]
    bare = np.flatnonzero(objects.runs.areas() == 0)
    boxes = box_rows(
        plane,
        objects.boxes[bare],
        objects.ids[bare],
        [names[number] for number in bare],
        objects.scores[bare],
    )
    points = point_rows(
        plane,
        objects.keypoints,
        [None] * len(objects),
        objects.ids,
        names,
        objects.skeletons,
    )
    return boxes, points
