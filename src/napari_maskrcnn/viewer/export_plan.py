"""What an export will write, made of the request and checked before any writing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.coco import (
    Category,
    CocoError,
    CocoImage,
    Source,
    joined,
    plane_images,
)
from napari_maskrcnn.core.coco.json_file import load_json
from napari_maskrcnn.core.coco.objects import listed_classes
from napari_maskrcnn.core.progress import Progress
from napari_maskrcnn.core.words import counted
from napari_maskrcnn.viewer.coco_origin import CATEGORIES, REGIONS_KEY
from napari_maskrcnn.viewer.drawn_parts import DrawnPart, merged, with_keypoints
from napari_maskrcnn.viewer.export_parts import NO_CLASS, Part, Picture

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from napari_maskrcnn.core.coco import CocoObjects
    from napari_maskrcnn.viewer.export_request import AnyPart, Pictures, Request

SUFFIXES = {"png": ".png", "tiff": ".tif"}


@dataclass(frozen=True, slots=True)
class Task:
    """An image or stack that is written to files."""

    data: Any
    images: list[CocoImage]
    deep: bool


@dataclass(slots=True)
class Plan:
    """The images of an export, and what belongs to them."""

    folder: Path
    images: list[CocoImage] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    categories: list[Category] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def targets(self) -> list[Path]:
        """Return the image files to write."""
        names = [image.file_name for task in self.tasks for image in task.images]
        return [self.folder / name for name in names]


def planned(request: Request) -> Generator[Progress, None, Plan]:
    """Extract all objects and check whether everything can be written."""
    if not request.parts:
        raise ValueError("Tick a layer to export")
    groups: dict[tuple[Any, ...], list[AnyPart]] = {}
    for part in request.parts:
        groups.setdefault(part.group, []).append(part)
    plan = Plan(request.path.absolute().parent)
    total = sum(part.planes or 1 for part in request.parts)
    done = 0
    for parts in groups.values():
        tables = []
        for plane in range(_common_planes(parts) or 1):
            tables.append(_plane_objects(parts, plane, plan))
            done += len(parts)
            yield Progress(done, total, f"Reading {parts[0].name}")
        pictures = _pictures(parts[0], request)
        # Labels first: they know the dtype that they are to have again.
        parts.sort(key=lambda part: part.dtype is None)
        images = _images(parts[0], tables, pictures)
        plan.images += images
        _add_picture(plan, parts[0], images, pictures)
    plan.categories = _categories(request.parts, plan.images)
    _check_names(plan, request)
    return plan


def _pictures(part: AnyPart, request: Request) -> Pictures:
    """Return what becomes of the image of one layer."""
    if request.pictures != "missing":
        return request.pictures
    path = part.picture.path if part.picture is not None else None
    folder = request.path.absolute().parent
    there = path is not None and path.absolute().is_relative_to(folder)
    is_file = part.picture is None or (there and part.planes is None)
    return "leave" if is_file else "png"


def _common_planes(parts: Sequence[AnyPart]) -> int | None:
    first = parts[0]
    for part in parts[1:]:
        if part.shape != first.shape:
            raise ValueError(
                f"{first.name} and {part.name} belong to one image and differ in "
                f"shape: {first.shape} and {part.shape}"
            )
    return first.planes


def _without_class(count: int) -> str:
    has = "has" if count == 1 else "have"
    return f"{counted(count, 'object')} {has} no class"


def _plane_objects(parts: Sequence[AnyPart], plane: int, plan: Plan) -> CocoObjects:
    """Return the objects of all layers of an image, those of one mark together."""
    together: dict[Any, list[AnyPart]] = {}
    for number, part in enumerate(parts):
        together.setdefault(part.mark or number, []).append(part)
    tables = []
    for own in together.values():
        # Labels come first: the ids of their objects cannot change.
        own.sort(key=lambda part: isinstance(part, DrawnPart))
        bodies = [_part_objects(part, plane, plan) for part in own if _has_body(part)]
        table = merged(bodies) if bodies else None
        for part in own:
            if isinstance(part, DrawnPart) and part.has_keypoints:
                table = with_keypoints(table, part.keypoints(plane))
        if table is not None:
            tables.append((own[0].name, table))
    return joined(tables)


def _has_body(part: AnyPart) -> bool:
    """Whether a layer holds objects, not keypoints of objects alone."""
    return isinstance(part, Part) or not part.has_keypoints


def _part_objects(part: AnyPart, plane: int, plan: Plan) -> CocoObjects:
    objects, unnamed = part.objects(plane)
    where = part.name if part.planes is None else f"{part.name}, plane {plane}"
    if unnamed:
        plan.remarks.append(
            f"{where}: {_without_class(unnamed)}; written as {NO_CLASS!r}"
        )
    skipped = part.skipped(plane) if isinstance(part, DrawnPart) else 0
    if skipped:
        lines = "1 line is" if skipped == 1 else f"{skipped:,} lines are"
        plan.remarks.append(f"{where}: {lines} left out; COCO holds none")
    return objects


def _images(
    part: AnyPart, tables: Sequence[CocoObjects], pictures: Pictures
) -> list[CocoImage]:
    """Return the images entries of a layer with the objects of its planes."""
    suffix = SUFFIXES.get(pictures, ".png")
    path = part.picture.path if part.picture is not None else None
    dtype = part.dtype
    if part.planes is None:
        source = Source(path.name if path else part.name, dtype=dtype)
        images = [CocoImage(part.stem + suffix, tables[0], source)]
        if pictures == "leave" and path is not None:
            images = [replace(images[0], file_name=path.absolute())]
    else:
        name = path.name if path else f"{part.stem}.tif"
        images = [
            replace(image, source=replace(image.source or Source(), dtype=dtype))
            for image in plane_images(name, tables, axis=part.axis, suffix=suffix)
        ]
    return [
        _with_origin(part, index, image, leave=pictures == "leave" and not path)
        for index, image in enumerate(images)
    ]


def _with_origin(
    part: AnyPart, index: int, image: CocoImage, *, leave: bool
) -> CocoImage:
    """Add the id and the keys of the file that a plane was read from, and regions."""
    read = part.origin.planes.get(index) if part.origin is not None else None
    extra = dict(read.extra) if read is not None else {}
    regions = part.regions(index)
    extra.pop(REGIONS_KEY, None)
    if regions:
        extra[REGIONS_KEY] = regions
    image = replace(image, extra=extra)
    if read is None:
        return image
    name: str | Path = image.file_name
    if leave:
        there = read.path is not None and read.path.is_file()
        name = read.path.absolute() if there and read.path else read.file_name
    return replace(image, file_name=name, id=read.id)


def _add_picture(
    plan: Plan, part: AnyPart, images: list[CocoImage], pictures: Pictures
) -> None:
    """Note the image files to write, and what readers will not find."""
    picture = part.picture
    if pictures == "leave":
        plan.remarks += _not_found(part, images, plan.folder)
        return
    if picture is None:
        plan.remarks.append(f"{part.name} has no image: only its objects are written")
        return
    _check_picture(part, picture)
    data = picture.data if part.planes is not None else picture.data[np.newaxis]
    if picture.data.ndim > len(part.shape):
        data = data[..., :3]
    deep = pictures == "tiff"
    if part.planes is None and picture.path is not None:
        target = plan.folder / images[0].file_name
        if target.exists() and target.samefile(picture.path):
            plan.remarks.append(f"{target.name} is there already, and stays as it is")
            return
    kind = np.dtype(picture.data.dtype)
    if kind.kind not in "bu" or kind.itemsize > 1 + deep:
        bits = 16 if deep else 8
        plan.remarks.append(
            f"{picture.name}: {kind} values are scaled to {bits} bits between two "
            "percentiles"
        )
    plan.tasks.append(Task(data, images, deep))


def _check_picture(part: AnyPart, picture: Picture) -> None:
    shape = picture.data.shape[: len(part.shape)]
    if shape != part.shape:
        raise ValueError(
            f"{part.name} has the shape {part.shape}, its image {picture.name} {shape}"
        )


def _not_found(part: AnyPart, images: list[CocoImage], folder: Path) -> list[str]:
    path = part.picture.path if part.picture is not None else None
    if part.planes is not None and (path is not None or part.origin is None):
        what = "the planes of a stack are no files of their own"
    elif path is None and part.origin is None:
        what = "its image is in no file"
    elif Path(images[0].file_name).is_absolute() and not Path(
        images[0].file_name
    ).is_relative_to(folder):
        what = "its image lies outside the folder of the COCO file"
    else:
        return []
    return [f"{part.name}: {what}; other programs will not find it"]


def _categories(
    parts: Iterable[AnyPart], images: Iterable[CocoImage]
) -> list[Category]:
    """Return the categories of the files read, with their ids, then other classes."""
    known = {
        category.name: category
        for part in reversed(tuple(parts))
        for category in part.metadata.get(CATEGORIES, ())
        if isinstance(category, Category)
    }
    categories = sorted(known.values(), key=lambda category: category.id)
    for image in images:
        for name in listed_classes(image.to_objects()):
            if name not in known:
                known[name] = Category(0, name)
                categories.append(known[name])
    return categories


def _check_names(plan: Plan, request: Request) -> None:
    """Refuse to write two images under one name, or over somebody's file.

    The names of images that are left where they are need no check here: the writer
    has one.
    """
    listed = _listed(request)
    seen: set[str] = set()
    replaced = 0
    for target in plan.targets():
        name = target.relative_to(plan.folder).as_posix()
        if name in seen:
            raise ValueError(
                f"two images would be written as {name}: rename one of the layers"
            )
        seen.add(name)
        if request.append and name in listed:
            raise ValueError(f"{name} is in {request.path.name} already")
        if target.exists():
            if name not in listed:
                raise ValueError(
                    f"{name} is there already and is none of {request.path.name}: "
                    "choose another folder, or leave the images where they are"
                )
            replaced += 1
    if replaced:
        plan.remarks.append(f"{replaced} image files of the last export are replaced")
    for path in request.files():
        if path.exists() and not request.append:
            plan.remarks.append(f"{path.name} is there and will be replaced")


def _listed(request: Request) -> set[str]:
    """Return the file names in the COCO files that are there."""
    names: set[str] = set()
    for path in request.files():
        if not path.exists():
            continue
        try:
            rows = load_json(path).get("images")
        except CocoError:
            if request.append:
                raise
            continue
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and isinstance(row.get("file_name"), str):
                names.add(row["file_name"])
    return names
