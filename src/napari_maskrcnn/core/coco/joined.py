"""Several tables of objects on one image as one, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.coco.objects import CocoObjects
from napari_maskrcnn.core.coco.runs import gathered
from napari_maskrcnn.core.coco.values import whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_maskrcnn.core.skeletons import Skeleton

# The key of an annotation that says of which table it is, and under which label.
LAYER_KEY = "layer"


def joined(parts: Sequence[tuple[str, CocoObjects]]) -> CocoObjects:
    """Put the objects of several named tables into one; `parted` undoes it.

    Parameters
    ----------
    parts : sequence of (str, CocoObjects)
        Tables of images of the same shape; their objects may overlap.  A single table
        comes back as it is.

    Raises
    ------
    ValueError
        If there is no table, the shapes differ, or a class has two sets of keypoints.
    """
    if not parts:
        raise ValueError("there is no table of objects to join")
    shapes = {objects.image_shape for _, objects in parts}
    if len(shapes) > 1:
        raise ValueError(f"objects of one image have one shape, got {sorted(shapes)}")
    if len(parts) == 1:
        return parts[0][1]
    tables = [objects for _, objects in parts]
    lasts = np.cumsum([0, *(int(table.ids.max(initial=0)) for table in tables)])
    together = concatenated(tables)
    return replace(
        together,
        ids=np.concatenate([t.ids + n for t, n in zip(tables, lasts, strict=False)]),
        extras=tuple(
            {**extra, LAYER_KEY: {"name": name, "label": label}}
            for name, table in parts
            for label, extra in zip(table.ids.tolist(), table.extras, strict=True)
        ),
    )


def concatenated(tables: Sequence[CocoObjects]) -> CocoObjects:
    """Put tables of one image below each other; their ids stay as they are.

    Raises
    ------
    ValueError
        If a class has two sets of keypoints.
    """
    names = tuple(dict.fromkeys(name for t in tables for name in t.class_names))
    firsts = np.cumsum([0, *(len(table) for table in tables)])
    places = [
        np.array([0, *(names.index(name) + 1 for name in table.class_names)])
        for table in tables
    ]
    runs = [
        (np.arange(first, first + len(table)), table.runs)
        for first, table in zip(firsts[:-1].tolist(), tables, strict=True)
    ]
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(table, name) for table in tables])
        for name in (
            *("scores", "track_ids", "reviewed", "crowd", "boxes"),
            *("annotation_ids", "orders", "ids"),
        )
    }
    return CocoObjects(
        runs=gathered(tables[0].image_shape, int(firsts[-1]), runs),
        class_ids=np.concatenate(
            [place[t.class_ids] for t, place in zip(tables, places, strict=True)]
        ),
        class_names=names,
        extras=tuple(extra for table in tables for extra in table.extras),
        keypoints=tuple(points for table in tables for points in table.keypoints),
        skeletons=_skeletons(tables),
        extents=tuple(known for table in tables for known in table.extents),
        **columns,
    )


def _skeletons(tables: Sequence[CocoObjects]) -> dict[str, Skeleton]:
    skeletons: dict[str, Skeleton] = {}
    for table in tables:
        for name, skeleton in table.skeletons.items():
            if skeletons.setdefault(name, skeleton).names != skeleton.names:
                raise ValueError(f"two layers name the keypoints of {name!r} otherwise")
    return skeletons


def parted(objects: CocoObjects) -> dict[str, CocoObjects]:
    """Return the tables that `joined` put together, by name.

    Objects that do not say where they belong are under the name ``""``.
    """
    numbers: dict[str, list[int]] = {}
    labels: dict[str, list[int]] = {}
    for number, extra in enumerate(objects.extras):
        name, label = _place(extra.get(LAYER_KEY), int(objects.ids[number]))
        numbers.setdefault(name, []).append(number)
        labels.setdefault(name, []).append(label)
    if not numbers:
        return {"": objects}
    return {
        name: _part(objects, np.array(of), np.array(labels[name]), bool(name))
        for name, of in numbers.items()
    }


def _place(value: Any, own: int) -> tuple[str, int]:
    if isinstance(value, dict) and isinstance(value.get("name"), str) and value["name"]:
        label = whole(value.get("label"))
        if label is not None and label > 0:
            return value["name"], label
    return "", own


def _part(
    objects: CocoObjects, numbers: np.ndarray, labels: np.ndarray, named: bool
) -> CocoObjects:
    table = objects.select(numbers)
    if not named:
        return table
    extras = tuple(
        {key: value for key, value in extra.items() if key != LAYER_KEY}
        for extra in table.extras
    )
    if len(np.unique(labels)) < len(labels):
        labels = table.ids  # two of one label: those of the file are unique
    return replace(table, ids=labels.astype(np.int64), extras=extras)
