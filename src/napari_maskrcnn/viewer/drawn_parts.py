"""What of layers of boxes, shapes and keypoints goes into an export."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Points, Shapes

from napari_maskrcnn.core.coco import CocoObjects, concatenated
from napari_maskrcnn.core.coco.keypoints import NOT_LABELLED
from napari_maskrcnn.viewer.coco_origin import kept_metadata, origin_of
from napari_maskrcnn.viewer.drawn_layers import (
    BONES,
    KEYPOINTS,
    ROLE,
    SHAPE,
    SKELETONS,
    role_of,
    rows_of,
)
from napari_maskrcnn.viewer.drawn_outlines import (
    DECIMALS,
    bounds_of,
    outline_of,
    with_polygons,
)
from napari_maskrcnn.viewer.drawn_tables import Rows, on_plane
from napari_maskrcnn.viewer.export_naming import Named
from napari_maskrcnn.viewer.export_parts import NO_CLASS, Picture
from napari_maskrcnn.viewer.layers import Plane

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_maskrcnn.core.skeletons import Skeleton
    from napari_maskrcnn.viewer.coco_origin import CocoOrigin

# What nobody moved by more, in pixels, is written with the numbers of its file.
_UNMOVED = 10**-DECIMALS
LINES = ("line", "path")


def is_exportable(layer: Any) -> bool:
    """Whether a Shapes or Points layer can go into a COCO file."""
    if layer.ndim not in (2, 3):
        return False
    if isinstance(layer, Points):
        return role_of(layer) == KEYPOINTS
    return isinstance(layer, Shapes) and not (
        role_of(layer) == BONES or "napari-maskrcnn outlines" in layer.metadata
    )


@dataclass(frozen=True, slots=True, eq=False)
class DrawnPart(Named):
    """One layer of shapes or keypoints: a snapshot.

    Parameters
    ----------
    name : str
        Of the layer.
    rows : Rows
        What is in it.
    image_shape : tuple of int
        Of the image that it belongs to, ``(H, W)`` or ``(N, H, W)``.
    has_keypoints : bool
        Whether the rows are keypoints, not shapes.
    metadata, picture, origin, axis
        As of `export_parts.Part`.
    """

    name: str
    rows: Rows
    image_shape: tuple[int, ...]
    has_keypoints: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    picture: Picture | None = None
    origin: CocoOrigin | None = None
    axis: str = "t"

    @property
    def shape(self) -> tuple[int, ...]:
        """``(H, W)`` or ``(N, H, W)`` of the image."""
        return self.image_shape

    def objects(self, plane: int) -> tuple[CocoObjects, int]:
        """Return the shapes of a plane as objects, and how many have no class."""
        place, rows = self._on(plane)
        known = self._known(plane)
        shape = self.image_shape[-2], self.image_shape[-1]
        rows = rows.select(~np.isin(np.array(rows.kinds, object), LINES))
        outlines = [
            outline_of(kind, points[:, list(place.axes)])
            for kind, points in zip(rows.kinds, rows.places, strict=True)
        ]
        ids = _ids(rows.table, known)
        names = _texts(rows.table, "class")
        unnamed = sum(not name for name in names)
        listed = [str(name) for name in self.metadata.get("class_names", ())]
        names = [
            name or (listed[0] if len(listed) == 1 else NO_CLASS) for name in names
        ]
        classes = tuple(dict.fromkeys([*listed, *names]))
        scores = rows.table.get("score", pd.Series(np.nan, index=rows.table.index))
        objects = CocoObjects.from_boxes(
            np.array([bounds_of(outline) for outline in outlines]).reshape(-1, 4),
            ids,
            image_shape=shape,
            class_names=classes,
            class_ids=[classes.index(name) + 1 for name in names],
            scores=pd.to_numeric(scores, errors="coerce").to_numpy(np.float64),
        )
        objects = with_polygons(objects, outlines)
        # Where no class is known at all, there is nothing to say.
        missing = 0 if len(listed) == 1 or not listed else unnamed
        return _as_known(objects, known), missing

    def skipped(self, plane: int) -> int:
        """Return how many shapes of a plane have no inside: lines and paths."""
        _, rows = self._on(plane)
        return sum(kind in LINES for kind in rows.kinds)

    def keypoints(self, plane: int) -> CocoObjects:
        """Return the persons of a plane: boxes around their keypoints."""
        place, rows = self._on(plane)
        known = self._known(plane)
        skeletons: dict[str, Skeleton] = dict(self.metadata.get(SKELETONS, {}))
        persons: dict[int, tuple[str, NDArray[np.float64]]] = {}
        columns = (rows.table[c] for c in ("person", "class", "keypoint", "visible"))
        for spot, person, name, keypoint, visible in zip(
            rows.places, *columns, strict=True
        ):
            skeleton = skeletons.get(str(name))
            if skeleton is None or keypoint not in skeleton.names:
                continue
            nowhere = np.zeros((len(skeleton.names), 3))
            _, table = persons.setdefault(int(person), (str(name), nowhere))
            y, x = spot[list(place.axes)].round(DECIMALS)
            table[skeleton.names.index(str(keypoint))] = x, y, int(visible)
        if known is not None:
            _use_known(persons, known)
        ids = np.array(list(persons), np.int64)
        classes = tuple(dict.fromkeys([*skeletons, *(n for n, _ in persons.values())]))
        objects = CocoObjects.from_boxes(
            np.array([_around(table) for _, table in persons.values()]).reshape(-1, 4),
            ids,
            image_shape=(self.image_shape[-2], self.image_shape[-1]),
            class_names=classes,
            class_ids=[classes.index(name) + 1 for name, _ in persons.values()],
        )
        objects = replace(
            objects,
            keypoints=tuple(table for _, table in persons.values()),
            skeletons=skeletons,
        )
        return _as_known(objects, known)

    def _on(self, plane: int) -> tuple[Plane, Rows]:
        place = Plane((0, 1)) if self.planes is None else Plane((1, 2), (plane,))
        return place, self.rows.select(on_plane(place, self.rows.places))

    def _known(self, plane: int) -> CocoObjects | None:
        read = self.origin.planes.get(plane) if self.origin is not None else None
        return read.to_objects() if read is not None else None


def drawn_part(
    kind: str,
    name: str,
    rows: Rows,
    metadata: Any,
    picture: Picture | None,
    ndim: int,
) -> DrawnPart:
    """Return the part of a layer of shapes or keypoints.

    Raises
    ------
    ValueError
        If the layer is neither on an image nor on a stack, its image is not known, or
        points have no skeleton.
    """
    kept, origin = kept_metadata(metadata), origin_of(metadata)
    if ndim not in (2, 3):
        raise ValueError(
            f"{name} has {ndim} axes; COCO holds images and stacks of images"
        )
    if kind == "points" and kept.get(ROLE) != KEYPOINTS:
        raise ValueError(f"{name} holds points without a skeleton, no keypoints")
    shape = tuple(kept.get(SHAPE, ()))
    if picture is not None:
        shape = tuple(int(size) for size in picture.data.shape[:ndim])
    if len(shape) != ndim:
        raise ValueError(f"Choose the image that {name} belongs to")
    axis = origin.axis if origin is not None and origin.axis else "t"
    return DrawnPart(
        name, rows, shape, kind == "points", dict(kept), picture, origin, axis
    )


def part_of_layer(layer: Shapes | Points, picture: Picture | None) -> DrawnPart:
    """Return a snapshot of a layer and of the image that it belongs to.

    Raises
    ------
    ValueError
        As of `drawn_part`.
    """
    kind = "points" if isinstance(layer, Points) else "shapes"
    rows = rows_of(layer)
    rows = Rows([p.copy() for p in rows.places], rows.table.copy(), rows.kinds)
    return drawn_part(kind, layer.name, rows, layer.metadata, picture, layer.ndim)


def part_of_data(
    kind: str, data: Any, meta: Mapping[str, Any], picture: Picture | None
) -> DrawnPart:
    """Return the part of a layer of which only (data, properties) are known."""
    places = [np.asarray(place, np.float64) for place in data]
    features = meta.get("features")
    table = features if isinstance(features, pd.DataFrame) else pd.DataFrame()
    table = table.reindex(range(len(places))) if not len(table) else table
    kinds = meta.get("shape_type", "rectangle") if kind == "shapes" else []
    kinds = [kinds] * len(places) if isinstance(kinds, str) else list(kinds)
    rows = Rows(places, table.reset_index(drop=True), kinds)
    ndim = int(meta.get("ndim") or (places[0].shape[-1] if places else 2))
    name = str(meta.get("name", kind))
    return drawn_part(kind, name, rows, meta.get("metadata"), picture, ndim)


def merged(tables: Sequence[CocoObjects]) -> CocoObjects:
    """Return the objects of layers that share their ids; new ones get free ids."""
    taken = np.empty(0, np.int64)
    fitting = []
    for table in tables:
        ids = table.ids.copy()
        last = max(int(ids.max(initial=0)), int(taken.max(initial=0)))
        clash = np.flatnonzero(np.isin(ids, taken))
        ids[clash] = np.arange(last + 1, last + 1 + len(clash))
        taken = np.union1d(taken, ids)
        fitting.append(replace(table, ids=ids))
    return fitting[0] if len(fitting) == 1 else concatenated(fitting)


def with_keypoints(objects: CocoObjects | None, persons: CocoObjects) -> CocoObjects:
    """Give objects the keypoints of the persons of the same ids.

    Objects without a person have none; persons without an object become objects.
    """
    if objects is None:
        return persons
    of = dict(zip(persons.ids.tolist(), persons.keypoints, strict=True))
    objects = replace(
        objects,
        keypoints=tuple(of.get(label) for label in objects.ids.tolist()),
        skeletons={**objects.skeletons, **persons.skeletons},
    )
    alone = ~np.isin(persons.ids, objects.ids)
    return concatenated([objects, persons.select(alone)]) if alone.any() else objects


# ---- what the file said


def _as_known(objects: CocoObjects, known: CocoObjects | None) -> CocoObjects:
    """Give objects that come from a file what they have there beside their places.

    One whose box nobody moved is written with the box of its file.
    """
    if known is None:
        return objects
    _, here, there = np.intersect1d(objects.ids, known.ids, return_indices=True)
    columns: dict[str, Any] = {}
    for name in ("track_ids", "reviewed", "crowd", "annotation_ids", "orders"):
        columns[name] = getattr(objects, name).copy()
        columns[name][here] = getattr(known, name)[there]
    boxes = objects.boxes.copy()
    lists = {n: list(getattr(objects, n)) for n in ("extras", "keypoints", "extents")}
    for one, other in zip(here.tolist(), there.tolist(), strict=True):
        lists["extras"][one] = known.extras[other]
        if lists["keypoints"][one] is None:
            lists["keypoints"][one] = known.keypoints[other]
        extent = objects.extents[one]
        unmoved = np.abs(boxes[one] - known.boxes[other]).max() <= _UNMOVED
        if unmoved and extent is not None and not extent.segmentation:
            boxes[one] = known.boxes[other]
            lists["extents"][one] = known.extents[other] or extent
    columns |= {name: tuple(values) for name, values in lists.items()}
    return replace(
        objects,
        boxes=boxes,
        skeletons={**known.skeletons, **objects.skeletons},
        **columns,
    )


def _use_known(
    persons: dict[int, tuple[str, NDArray[np.float64]]], known: CocoObjects
) -> None:
    """Take the numbers of the file for keypoints that nobody moved.

    Persons of whom nothing is labelled are in no layer; they are in the file, and stay.
    """
    for label, class_id, table in zip(
        known.ids.tolist(), known.class_ids.tolist(), known.keypoints, strict=True
    ):
        if table is None:
            continue
        if label not in persons:
            if not table.any():
                persons[label] = (known.class_names[class_id - 1], table)
            continue
        own = persons[label][1]
        if own.shape == table.shape:
            near = np.abs(own[:, :2] - table[:, :2]).max(axis=1) <= _UNMOVED
            own[near, :2] = table[near, :2]


def _around(table: NDArray[np.float64]) -> list[float]:
    """Return the box around the labelled keypoints, in pixel edges."""
    places = table[table[:, 2] > NOT_LABELLED, :2]
    if not len(places):
        return [0.0, 0.0, 0.0, 0.0]
    (x0, y0), (x1, y1) = places.min(axis=0), places.max(axis=0)
    return [float(x0), float(y0), float(x1) + 1, float(y1) + 1]


# ---- tables


def _ids(table: pd.DataFrame, known: CocoObjects | None) -> NDArray[np.int64]:
    """Return the ids of shapes; those that have none, or one twice, get new ones."""
    given = table.get("index", pd.Series(0, table.index))
    given = pd.to_numeric(given, errors="coerce").fillna(0)
    ids = given.to_numpy(np.int64).copy()
    # Not that of an object of the file that was deleted: it is another one.
    there = int(known.ids.max(initial=0)) if known is not None else 0
    free = max(int(ids.max(initial=0)), there) + 1
    seen: set[int] = set()
    for number, label in enumerate(ids.tolist()):
        if label < 1 or label in seen:
            ids[number], free = free, free + 1
        seen.add(int(ids[number]))
    return ids


def _texts(table: pd.DataFrame, column: str) -> list[str]:
    given = table.get(column, pd.Series("", table.index))
    return [name if isinstance(name, str) else "" for name in given]
