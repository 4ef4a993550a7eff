"""Reading the rows of a COCO file: categories, and the annotations of one image."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_maskrcnn.core.coco.document import Category
from napari_maskrcnn.core.coco.objects import CocoObjects
from napari_maskrcnn.core.coco.shapes import Shapes
from napari_maskrcnn.core.coco.values import number, numbers, shown, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Report: TypeAlias = Callable[[str, str, str], None]
    Row: TypeAlias = dict[str, Any]

_CATEGORY_KEYS = frozenset(("id", "name", "supercategory"))
_ANNOTATION_KEYS = frozenset(
    (
        *("id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd"),
        *("score", "track_id", "reviewed", "label_id", "z_order"),
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
    used = Counter(whole(row.get("category_id")) for row in annotations)
    for category_id, count in used.items():
        if category_id is not None and category_id not in categories:
            name = f"category {category_id}"
            report(name, f"is used by {count} annotations and not listed", "added")
            _add_category(categories, category_id, {"name": name}, report)
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
    categories[category_id] = Category(category_id, name, supercategory, extra)


def read_objects(
    rows: list[Row],
    names: list[str],
    image_shape: tuple[int, int],
    categories: dict[int, Category],
    report: Report,
) -> CocoObjects:
    """Return the objects of one image; `names` are what faults call its rows."""
    class_ids = {category_id: k for k, category_id in enumerate(categories, start=1)}
    classes = [class_ids.get(whole(row.get("category_id"))) for row in rows]  # type: ignore[arg-type]
    for row, name, class_id in zip(rows, names, classes, strict=True):
        if class_id is None:
            report(name, f"category_id is {shown(row.get('category_id'))}", "skipped")
    usable = [place for place, class_id in enumerate(classes) if class_id is not None]
    shapes = Shapes(image_shape, lambda i, *words: report(names[usable[i]], *words))
    taken = [shapes.add(rows[place].get("segmentation")) for place in usable]
    runs, failed = shapes.to_runs()
    areas, boxes = runs.areas().tolist(), runs.boxes().tolist()
    kept = []
    for i, place in enumerate(usable):
        if not taken[i] or i in failed:
            continue
        box = _box(rows[place], names[place], boxes[i], areas[i], report)
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
        tuple(category.name for category in categories.values()),
        report,
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
    class_names: tuple[str, ...],
    report: Report,
) -> CocoObjects:
    for row, name in zip(rows, names, strict=True):
        if number(row.get("area")) is None:
            report(name, f"area is {shown(row.get('area'))}", "counted in the mask")
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
        class_names=class_names,
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
    )


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
