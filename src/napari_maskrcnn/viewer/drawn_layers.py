"""The layers of objects without masks: boxes, keypoints, and the bones between them.

Layers that belong together know it by a mark in their metadata (`table`), so that they
may be renamed; and what they are, by their `role`.  The bones are drawn from the
keypoints, never by hand (`viewer.drawn_edits` keeps them up).
"""

from __future__ import annotations

import uuid
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Points, Shapes
from napari.layers.utils.color_encoding import NominalColorEncoding
from napari.utils.colormaps.categorical_colormap import CategoricalColormap
from napari.utils.colormaps.standardize_color import transform_color

from napari_maskrcnn.core.coco.keypoints import HIDDEN, NOT_LABELLED
from napari_maskrcnn.viewer.classes import NO_CLASS_COLOUR, PALETTE, colours_of
from napari_maskrcnn.viewer.coco_origin import METADATA, kept_metadata
from napari_maskrcnn.viewer.drawn_tables import POINT_COLUMNS, Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_maskrcnn.core.skeletons import Skeleton

# Keys of our part of a layer's metadata, and the roles.
TABLE, ROLE, SKELETONS, CLASSES = "table", "role", "skeletons", "class_names"
WIDTH, SHAPE = "width", "shape"
BOXES, KEYPOINTS, BONES = "boxes", "keypoints", "skeleton"
# Lines and points keep a good width from small images to large ones.
_LINES, _POINTS = 240, 80
_TEXT_SIZE = 11
_FAINT = "60"  # the opacity of a bone that leads to a keypoint in grey, as hex

_written: weakref.WeakSet[Layer] = weakref.WeakSet()


def new_mark() -> str:
    """Return a mark for layers that belong together."""
    return uuid.uuid4().hex


@contextmanager
def writing(layer: Layer) -> Iterator[None]:
    """Have what happens to a layer taken for ours, not for a person's."""
    _written.add(layer)
    try:
        yield
    finally:
        _written.discard(layer)


def is_written(layer: Layer) -> bool:
    """Whether we are writing to a layer now."""
    return layer in _written


# ---- finding them


def role_of(layer: Any) -> str:
    """Return what a layer is among ours: BOXES, KEYPOINTS, BONES, or nothing."""
    kept = kept_metadata(layer.metadata)
    role = kept.get(ROLE)
    fits = {BOXES: Shapes, BONES: Shapes, KEYPOINTS: Points}
    return role if role in fits and isinstance(layer, fits[role]) else ""


def table_of(layer: Any) -> str:
    """Return the mark of the layers that a layer belongs to, empty for none."""
    return str(kept_metadata(layer.metadata).get(TABLE, ""))


def skeletons_of(layer: Any) -> dict[str, Skeleton]:
    """Return the skeletons of a layer of keypoints, by class."""
    return dict(kept_metadata(layer.metadata).get(SKELETONS, {}))


def layer_of(viewer: ViewerModel, mark: str, role: str) -> Any:
    """Return the layer of a mark and a role, None where there is none."""
    found = (x for x in viewer.layers if role_of(x) == role and table_of(x) == mark)
    return next(found, None) if mark else None


# ---- what is in them


def rows_of(layer: Shapes | Points) -> Rows:
    """Return the rows of a layer, in its own coordinates."""
    table = layer.features.reset_index(drop=True)
    if isinstance(layer, Shapes):
        return Rows(list(map(np.asarray, layer.data)), table, list(layer.shape_type))
    return Rows(list(np.asarray(layer.data, float)), table)


def put_boxes(layer: Shapes, rows: Rows, names: Sequence[str]) -> None:
    """Let a layer of boxes hold these rows."""
    with writing(layer):
        looks = _box_looks(rows.table, names)
        _put_shapes(layer, rows, looks.pop("edge_color"))
        if list(names) != kept_metadata(layer.metadata).get(CLASSES):
            layer.text = looks["text"]
            layer.metadata[METADATA][CLASSES] = list(names)
        layer.feature_defaults = looks["feature_defaults"]
        layer.refresh_text()


def put_points(layer: Points, rows: Rows) -> None:
    """Let a layer of keypoints hold these rows."""
    with writing(layer):
        layer.data = np.array(rows.places).reshape(-1, layer.ndim)
        layer.features = rows.table
        if len(rows):
            layer.face_color = point_colours(rows.table)
            layer.shown = rows.table["visible"].to_numpy() > NOT_LABELLED
        layer.selected_data = set()


def put_bones(layer: Shapes, points: Points) -> None:
    """Draw the bones between the keypoints of a layer."""
    rows, colours = bones(rows_of(points), skeletons_of(points))
    with writing(layer):
        _put_shapes(layer, rows, colours)
        layer.editable = False  # which napari forgets when there are no more shapes


def _put_shapes(layer: Shapes, rows: Rows, colours: Sequence[str]) -> None:
    """Bring the shapes of a layer to these: those that are there already stay.

    napari takes a millisecond or more for each shape that it makes, too much for a
    slider that is dragged over a hundred.
    """
    wanted: dict[Any, list[int]] = {}
    for number, (place, kind) in enumerate(zip(rows.places, rows.kinds, strict=True)):
        key = (kind, colours[number], place.shape, np.round(place, 3).tobytes())
        wanted.setdefault(key, []).append(number)
    order, going = [], []
    edges = [_hex(colour) for colour in layer.edge_color]
    for old, (place, kind) in enumerate(zip(layer.data, layer.shape_type, strict=True)):
        place = np.asarray(place, np.float64)
        key = (kind, edges[old], place.shape, np.round(place, 3).tobytes())
        if wanted.get(key):
            order.append(wanted[key].pop(0))
        else:
            going.append(old)
    if going:
        layer.remove(going)
    new = sorted(number for numbers in wanted.values() for number in numbers)
    if new:
        layer.add(
            [rows.places[number] for number in new],
            shape_type=[rows.kinds[number] for number in new],
            edge_color=[colours[number] for number in new],
            edge_width=float(kept_metadata(layer.metadata).get(WIDTH, 1.0)),
            face_color="#00000000",
        )
    layer.features = rows.table.iloc[order + new].reset_index(drop=True)


def _hex(colour: NDArray[Any]) -> str:
    """Return red, green, blue, opacity in [0, 1] as "#RRGGBBAA"."""
    return "#" + "".join(f"{round(float(value) * 255):02X}" for value in colour)


def bones(points: Rows, skeletons: Mapping[str, Skeleton]) -> tuple[Rows, list[str]]:
    """Return a line for each bone with both ends, and the colours of the lines."""
    lines, said, colours = [], [], []
    groups = _groups(points)
    for (person, name), ends in groups.items():
        skeleton = skeletons.get(name)
        for one, other in skeleton.bones if skeleton is not None else ():
            first, second = skeleton.names[one], skeleton.names[other]  # type: ignore[union-attr]
            if first not in ends or second not in ends:
                continue
            (place, visible), (end, sees) = ends[first], ends[second]
            if NOT_LABELLED in (visible, sees) or place[0:1].size == 0:
                continue
            lines.append(np.stack([place, end]))
            said.append((person, f"{first} - {second}"))
            faint = _FAINT if HIDDEN in (visible, sees) else "FF"
            colours.append(person_colour(person) + faint)
    table = pd.DataFrame(
        {
            "person": np.array([person for person, _ in said], np.int64),
            "bone": np.array([bone for _, bone in said], object),
        }
    )
    return Rows(lines, table, ["line"] * len(lines)), colours


def _groups(points: Rows) -> dict[tuple[int, str], dict[str, tuple[Any, int]]]:
    """Return place and visibility of the keypoints of each person, by name."""
    groups: dict[tuple[int, str], dict[str, tuple[Any, int]]] = {}
    columns = (points.table[c] for c in ("person", "class", "keypoint", "visible"))
    for place, person, name, keypoint, visible in zip(
        points.places, *columns, strict=True
    ):
        groups.setdefault((int(person), str(name)), {})[str(keypoint)] = (
            place,
            int(visible),
        )
    return groups


# ---- how they look


def person_colour(person: int) -> str:
    """Return the colour of a person, "#RRGGBB"."""
    return PALETTE[(person - 1) % len(PALETTE)]


def point_colours(table: pd.DataFrame) -> list[str]:
    """Return the colours of keypoints: of their persons, grey where one is not sure."""
    return [
        NO_CLASS_COLOUR if visible <= HIDDEN else person_colour(person)
        for person, visible in zip(
            table["person"].tolist(), table["visible"].tolist(), strict=True
        )
    ]


def _box_looks(table: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Return edges, labels and what a box drawn by hand begins with."""
    by_name = dict(zip(names, colours_of(len(names)), strict=True))
    colours = [by_name.get(str(name), NO_CLASS_COLOUR) for name in table["class"]]
    colours = [f"{colour.upper()}FF" for colour in colours]
    first = names[0] if len(names) == 1 else ""
    return {
        "edge_color": colours or NO_CLASS_COLOUR,
        "text": {
            "string": "{label}",
            "size": _TEXT_SIZE,
            "anchor": "upper_left",
            "color": NominalColorEncoding(
                feature="class", colormap=_class_colormap(by_name)
            ),
        },
        "feature_defaults": pd.DataFrame(
            {"index": [0], "class": [first], "score": [np.nan], "area": [0.0],
             "label": [first]}
        ),
    }  # fmt: skip


def _class_colormap(by_name: Mapping[str, str]) -> CategoricalColormap:
    return CategoricalColormap(
        colormap={name: np.array(transform_color(c)[0]) for name, c in by_name.items()},
        fallback_color={"values": [NO_CLASS_COLOUR]},
    )


def box_properties(
    rows: Rows, names: Sequence[str], shape: Sequence[int], mark: str, **kept: Any
) -> dict[str, Any]:
    """Return what `add_shapes` takes for a layer of boxes.

    Parameters
    ----------
    rows : Rows
        What is to be in it.
    names : sequence of str
        The classes, in the order of their colours.
    shape : sequence of int
        Of the image; its last two axes say how wide lines are.
    mark : str
        See `new_mark`.
    **kept
        More for our part of the metadata.
    """
    width = max(1.0, max(shape[-2:]) / _LINES)
    return {
        **_box_looks(rows.table, names),
        "ndim": len(shape),
        "shape_type": rows.kinds or "rectangle",
        "edge_width": width,
        "face_color": "#00000000",
        "opacity": 1.0,
        "features": rows.table,
        "metadata": _metadata(
            BOXES, mark, width, shape, **{CLASSES: list(names)}, **kept
        ),
    }


def point_properties(
    rows: Rows,
    skeletons: Mapping[str, Skeleton],
    shape: Sequence[int],
    mark: str,
    **kept: Any,
) -> dict[str, Any]:
    """Return what `add_points` takes for a layer of keypoints."""
    size = max(2.0, max(shape[-2:]) / _POINTS)
    kept = {CLASSES: list(skeletons), SKELETONS: dict(skeletons), **kept}
    return {
        "ndim": len(shape),
        "features": rows.table[POINT_COLUMNS],
        "face_color": point_colours(rows.table) or NO_CLASS_COLOUR,
        "border_color": "#000000",
        "border_width": 0.08,
        "size": size,
        "shown": rows.table["visible"].to_numpy() > NOT_LABELLED if len(rows) else True,
        "opacity": 1.0,
        "metadata": _metadata(KEYPOINTS, mark, size, shape, **kept),
    }


def bone_properties(
    rows: Rows, colours: Sequence[str], shape: Sequence[int], mark: str
) -> dict[str, Any]:
    """Return what `add_shapes` takes for a layer of bones."""
    width = max(1.0, max(shape[-2:]) / _LINES)
    return {
        "ndim": len(shape),
        "shape_type": rows.kinds or "line",
        "edge_color": list(colours) or NO_CLASS_COLOUR,
        "edge_width": width,
        "face_color": "#00000000",
        "opacity": 1.0,
        "features": rows.table,
        "metadata": _metadata(BONES, mark, width, shape),
    }


def _metadata(
    role: str, mark: str, width: float, shape: Sequence[int], **kept: Any
) -> dict[str, Any]:
    ours = {ROLE: role, TABLE: mark, WIDTH: width, SHAPE: tuple(shape)}
    return {METADATA: {**ours, **kept}}


def classes_in(rows: Iterable[Rows], listed: Sequence[str]) -> list[str]:
    """Return the classes listed, then others that occur in rows."""
    found = [str(name) for part in rows for name in part.table["class"] if name]
    return list(dict.fromkeys([*listed, *found]))


def places_array(rows: Rows, ndim: int) -> NDArray[np.float64] | None:
    """Return places as `add_points` takes them, None where there are none."""
    return np.array(rows.places).reshape(-1, ndim) if len(rows) else None
