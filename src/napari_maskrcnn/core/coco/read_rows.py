"""Reading the rows of a COCO file: categories, and the annotations of one image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_maskrcnn.core.coco.document import Category
from napari_maskrcnn.core.coco.extents import Extent
from napari_maskrcnn.core.coco.keypoints import (
    missing_names,
    read_keypoints,
    read_skeleton,
    unnamed_skeleton,
)
from napari_maskrcnn.core.coco.objects import CocoObjects
from napari_maskrcnn.core.coco.shapes import Shapes
from napari_maskrcnn.core.coco.values import number, numbers, shown, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Report: TypeAlias = Callable[[str, str, str], None]
    Row: TypeAlias = dict[str, Any]

_CATEGORY_KEYS = frozenset(("id", "name", "supercategory", "keypoints", "skeleton"))
_ANNOTATION_KEYS = frozenset(
    (
        *("id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd"),
        *("score", "track_id", "reviewed", "label_id", "z_order"),
        *("keypoints", "num_keypoints"),
    )
)
_LARGEST_SCORE = 1e30  # of 32-bit numbers
_BOX_TOLERANCE = 2  # pixels: other people's boxes are those of float outlines


def read_categories(
    listed: Any, annotations: Iterable[Row], report: Report
) -> dict[int, Category]:
    """Return the categories by id, those that only annotations name included.

    Names are made unique, since everything but COCO knows classes by their names.
    """
    categories: dict[int, Category] = {}
    if not isinstance(listed, list):
        report("categories", f"is {shown(listed)}, no list", "read as empty")
        listed = []
    for place, row in enumerate(listed):
        category_id = whole(row.get("id")) if isinstance(row, dict) else None
        if category_id is None:
            report(f"categories[{place}]", f"has no id: {shown(row)}", "skipped")
        elif category_id in categories:
            report(f"category {category_id}", "is there twice", "the first one is kept")
        else:
            _add_category(categories, category_id, row, report)
    used: dict[int, list[Row]] = {}
    for row in annotations:
        category_id = whole(row.get("category_id"))
        if category_id is not None:
            used.setdefault(category_id, []).append(row)
    for category_id, rows in used.items():
        name = f"category {category_id}"
        if category_id not in categories:
            report(name, f"is used by {len(rows)} annotations and not listed", "added")
            _add_category(categories, category_id, {"name": name}, report)
        count = 0 if categories[category_id].skeleton else missing_names(rows)
        if count:
            report(name, f"does not name its {count} keypoints", "they are numbered")
            categories[category_id] = replace(
                categories[category_id], skeleton=unnamed_skeleton(count)
            )
    return categories


def _add_category(
    categories: dict[int, Category], category_id: int, row: Row, report: Report
) -> None:
    where = f"category {category_id}"
    name, supercategory = row.get("name"), row.get("supercategory", "")
    if not isinstance(name, str) or not name:
        report(where, f"name is {shown(name)}", f"named {where!r}")
        name = where
    if not isinstance(supercategory, str):
        report(where, f"supercategory is {shown(supercategory)}", "ignored")
        supercategory = ""
    names = {category.name for category in categories.values()}
    if name in names:
        report(where, f"name {shown(name)} is there twice", "its id is added to it")
        name = f"{name} ({category_id})"
        while name in names:
            name += "'"
    if category_id < 1:
        done = "kept; a new export gives it an id from 1"
        report(where, "some readers take an id below 1 for none", done)
    extra = {key: value for key, value in row.items() if key not in _CATEGORY_KEYS}
    skeleton = read_skeleton(row, where, report)
    categories[category_id] = Category(
        category_id, name, supercategory, extra, skeleton
    )


def read_objects(
    rows: list[Row],
    names: list[str],
    image_shape: tuple[int, int],
    categories: dict[int, Category],
    report: Report,
) -> CocoObjects:
    """Return the objects of one image; `names` are what faults call its rows."""
    faulty: set[str] = set()

    def noting(name: str, what: str, done: str) -> None:
        faulty.add(name)
        report(name, what, done)

    class_ids = {category_id: k for k, category_id in enumerate(categories, start=1)}
    classes = [class_ids.get(whole(row.get("category_id"))) for row in rows]  # type: ignore[arg-type]
    for row, name, class_id in zip(rows, names, classes, strict=True):
        if class_id is None:
            report(name, f"category_id is {shown(row.get('category_id'))}", "skipped")
    usable = [place for place, class_id in enumerate(classes) if class_id is not None]
    shapes = Shapes(image_shape, lambda i, *words: noting(names[usable[i]], *words))
    taken = [shapes.add(rows[place].get("segmentation")) for place in usable]
    runs, failed = shapes.to_runs()
    areas, boxes = runs.areas().tolist(), runs.boxes().tolist()
    kept = []
    for i, place in enumerate(usable):
        if not taken[i] or i in failed:
            continue
        box = _box(rows[place], names[place], boxes[i], areas[i], noting)
        if box is not None:
            boxes[i] = box
            kept.append(i)
    chosen = [usable[i] for i in kept]
    return _table(
        runs[kept],
        np.array([boxes[i] for i in kept], dtype=np.float64).reshape(-1, 4),
        [rows[place] for place in chosen],
        [names[place] for place in chosen],
        np.array([classes[place] for place in chosen], dtype=np.int64),
        list(categories.values()),
        noting,
        faulty,
    )


def _box(
    row: Row, name: str, tight: list[float], area: int, report: Report
) -> list[float] | None:
    """Return the box xyxy: the mask's own, or the file's where there is no mask."""
    given = numbers(row.get("bbox"), 4)
    box = None
    if given is not None and given[2] >= 0 and given[3] >= 0:
        box = [given[0], given[1], given[0] + given[2], given[1] + given[3]]
    if not area:
        if row.get("segmentation"):
            report(name, "segmentation covers no pixel", "kept as its box only")
        if box is None:
            report(name, f"bbox is {shown(row.get('bbox'))}, and no mask", "skipped")
        return box
    if box is None:
        report(name, f"bbox is {shown(row.get('bbox'))}", "taken from the mask")
    elif box != tight and any(
        abs(a - b) > _BOX_TOLERANCE for a, b in zip(box, tight, strict=True)
    ):
        what = f"bbox {shown(row.get('bbox'))} is not that of the mask"
        report(name, what, "taken from the mask")
    return tight


def _table(
    runs: Any,
    boxes: np.ndarray,
    rows: list[Row],
    names: list[str],
    class_ids: np.ndarray,
    categories: list[Category],
    report: Report,
    faulty: set[str],
) -> CocoObjects:
    for row, name in zip(rows, names, strict=True):
        if number(row.get("area")) is None:
            report(name, f"area is {shown(row.get('area'))}", "counted in the mask")
    extents = tuple(
        None if name in faulty else _extent(row)
        for row, name in zip(rows, names, strict=True)
    )
    columns = [
        _optional(row, name, report) for row, name in zip(rows, names, strict=True)
    ]
    scores, tracks, reviewed, crowd, orders = (
        zip(*columns, strict=True) if columns else ((),) * 5
    )
    return CocoObjects(
        runs=runs,
        ids=_labels(rows, names, report),
        class_ids=class_ids,
        class_names=tuple(category.name for category in categories),
        scores=np.array(scores, dtype=np.float64),
        track_ids=np.array(tracks, dtype=np.int64),
        reviewed=np.array(reviewed, dtype=bool),
        crowd=np.array(crowd, dtype=bool),
        boxes=boxes,
        annotation_ids=np.array([whole(row["id"]) for row in rows], dtype=np.int64),
        orders=np.array(orders, dtype=np.int64),
        extras=tuple(
            {key: value for key, value in row.items() if key not in _ANNOTATION_KEYS}
            for row in rows
        ),
        keypoints=tuple(
            _keypoints(row, categories[class_id - 1], name, report)
            for row, class_id, name in zip(rows, class_ids, names, strict=True)
        ),
        skeletons={
            category.name: category.skeleton
            for category in categories
            if category.skeleton is not None
        },
        extents=extents,
    )


def _keypoints(row: Row, category: Category, name: str, report: Report) -> Any:
    """Return the keypoints of an annotation; those of a class without any go."""
    if category.skeleton is None:
        if row.get("keypoints"):
            what = f"keypoints, which {category.name!r} has none of"
            report(name, what, "read without keypoints")
        return None
    return read_keypoints(row, len(category.skeleton.names), name, report)


def _extent(row: Row) -> Extent | None:
    """Return how an annotation gives its extent, None if in an unusual way."""
    bbox, area = numbers(row.get("bbox"), 4), number(row.get("area"))
    if bbox is None or area is None:
        return None
    segmentation = row.get("segmentation") or []
    if isinstance(segmentation, list) and any(
        set(map(type, ring)) - {int, float} for ring in segmentation
    ):
        return None
    return Extent(segmentation, area, bbox)


def _optional(
    row: Row, name: str, report: Report
) -> tuple[float, int, bool, bool, int]:
    """Return score, track id, mark of review, crowd flag, order of painting."""
    given = row.get("iscrowd")
    crowd = int(given) if isinstance(given, bool) else whole(given)
    if crowd not in (0, 1):
        report(name, f"iscrowd is {shown(given)}", "taken as 0")
        crowd = 0
    score = number(row["score"]) if "score" in row else np.nan
    if score is None or abs(score) > _LARGEST_SCORE:
        report(name, f"score is {shown(row['score'])}", "read without a score")
        score = np.nan
    attributes = row.get("attributes")
    given = row.get("track_id")
    if given is None and isinstance(attributes, dict):
        given = attributes.get("track_id")
    track = 0 if given is None else whole(given)
    if track is None:
        report(name, f"track_id is {shown(given)}", "read without one")
        track = 0
    order = whole(row["z_order"]) if "z_order" in row else 0
    if order is None:
        report(name, f"z_order is {shown(row['z_order'])}", "read without one")
    return score, track, row.get("reviewed") is True, bool(crowd), order or 0


def _labels(rows: list[Row], names: list[str], report: Report) -> np.ndarray:
    """Return the value of each object in a label image: the file's, or 1, 2 ..."""
    given = [whole(row.get("label_id")) for row in rows]
    labels = np.array([label or 0 for label in given], dtype=np.int64)
    if len(labels) and labels.min() > 0 and len(np.unique(labels)) == len(labels):
        return labels
    if any("label_id" in row for row in rows):
        what = "label_id is missing, below 1 or there twice in this image"
        place = int(np.argmin(labels)) if labels.min() < 1 else 0
        report(names[place], what, "the image's objects are numbered anew")
    return np.arange(1, len(rows) + 1)
