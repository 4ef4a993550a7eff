"""The rows of a COCO file, collected image by image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.class_names import UNUSED
from napari_maskrcnn.core.coco import rle
from napari_maskrcnn.core.coco.document import Category
from napari_maskrcnn.core.coco.errors import CocoError, Fault
from napari_maskrcnn.core.coco.ids import FreeIds
from napari_maskrcnn.core.coco.keypoints import keypoint_keys, skeleton_keys
from napari_maskrcnn.core.coco.objects import CocoObjects, listed_classes
from napari_maskrcnn.core.coco.segmentations import Mode, written_segmentations
from napari_maskrcnn.core.coco.values import shown, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_maskrcnn.core.coco.document import CocoImage


@dataclass(frozen=True, slots=True)
class WriteSummary:
    """What was written, and what in it a reader may not expect.

    Parameters
    ----------
    path : Path
        The file.
    images, annotations : int
        How many were added.
    polygons, rles, boxes : int
        How many objects were written in which form; ``boxes`` have no mask.
    faults : tuple of Fault
        Holes that were filled, parts of one object, file names that readers confuse.
    """

    path: Path
    images: int
    annotations: int
    polygons: int
    rles: int
    boxes: int
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        """One line for a person."""
        text = (
            f"{self.path}: {self.annotations} objects in {self.images} images "
            f"({self.polygons} polygons, {self.rles} RLE, {self.boxes} boxes only)"
        )
        return text + (f"; {len(self.faults)} remarks" if self.faults else "")


class Writer:
    """Collects rows in a document, with ids that are free."""

    def __init__(self, path: Path, mode: Mode, document: dict[str, Any]) -> None:
        self.path = path
        self.mode = mode
        self.document = document
        self.image_ids = FreeIds(document["images"], least=0)
        self.annotation_ids = FreeIds(document["annotations"])
        self.category_ids = FreeIds(document["categories"])
        self.by_name = {
            row.get("name"): row.get("id") for row in document["categories"]
        }
        self.file_names = {row.get("file_name") for row in document["images"]}
        self.stems = {PurePath(str(name)).stem for name in self.file_names}
        self.faults: list[Fault] = []
        self.counts = {"images": 0, "polygons": 0, "rles": 0, "boxes": 0}

    def keep_ids(self, images: Sequence[CocoImage]) -> None:
        """Give no object or image an id that a later one had in its file."""
        for image in images:
            self.image_ids.keep_free(image.id or 0)
            if isinstance(image.objects, CocoObjects):
                ids = image.objects.annotation_ids
                self.annotation_ids.keep_free(int(ids.max(initial=0)))

    def add_categories(self, categories: Iterable[Category]) -> None:
        for category in categories:
            if category.name not in self.by_name:
                self._add_category(
                    replace(category, id=self.category_ids.take(category.id))
                )

    def _add_category(self, category: Category) -> None:
        self.by_name[category.name] = category.id
        row = {
            "id": category.id,
            "name": category.name,
            "supercategory": category.supercategory,
        }
        if category.skeleton is not None:
            row |= skeleton_keys(category.skeleton)
        self.document["categories"].append({**category.extra, **row})

    def add(self, image: CocoImage) -> None:
        objects = image.to_objects()
        name = self._file_name(image.file_name)
        height, width = objects.image_shape
        if height * width > rle.MAX_FRAME:
            raise CocoError(
                f"{name}: COCO holds at most {rle.MAX_FRAME} pixels an image, "
                f"got {height} x {width}; cut it into tiles"
            )
        names = listed_classes(objects)
        for class_name in names:
            if class_name not in self.by_name:
                # A network trained on COCO has COCO's numbers, with their gaps.
                wished = names[class_name] if UNUSED in objects.class_names else None
                number = self.category_ids.take(wished)
                skeleton = objects.skeletons.get(class_name)
                self._add_category(Category(number, class_name, skeleton=skeleton))
        row = {
            **image.extra,
            "id": self.image_ids.take(image.id),
            "file_name": name,
            "width": width,
            "height": height,
            **self._source_keys(image),
        }
        self.document["images"].append(row)
        self.counts["images"] += 1
        self._name_keypoints(objects)
        self.document["annotations"] += self._annotations(objects, name, row["id"])

    def _name_keypoints(self, objects: CocoObjects) -> None:
        """Give categories that were listed without keypoints the names of theirs."""
        if not objects.skeletons:
            return
        for row in self.document["categories"]:
            skeleton = objects.skeletons.get(row.get("name"))
            if skeleton is None:
                continue
            if not row.get("keypoints"):
                row |= skeleton_keys(skeleton)
            elif row["keypoints"] != list(skeleton.names):
                raise CocoError(
                    f"category {row['name']!r} has other keypoints in "
                    f"{self.path.name}: {shown(row['keypoints'])}"
                )

    def _file_name(self, given: str | PurePath) -> str:
        """Return the name relative to the data set's folder, or the bare name."""
        file = Path(given)
        if file.is_absolute():
            folder = self.path.absolute().parent
            inside = file.is_relative_to(folder)
            file = file.relative_to(folder) if inside else Path(file.name)
        name = file.as_posix()
        if ".." in file.parts or not file.name:
            raise CocoError(f"file_name {name!r} leads out of the data set's folder")
        if name in self.file_names:
            raise CocoError(f"file_name {name!r} is there twice")
        if file.stem in self.stems:
            what = f"another image is named {file.stem}, too"
            done = "written; readers that match images by stem (CVAT) confuse them"
            self.faults.append(Fault(name, what, done))
        self.file_names.add(name)
        self.stems.add(file.stem)
        return name

    def _source_keys(self, image: CocoImage) -> dict[str, Any]:
        """Return keys to rebuild the layer, and those of CocoVID for a plane."""
        source = image.source
        dtype = (
            image.objects.dtype.name if isinstance(image.objects, np.ndarray) else None
        )
        if source is None:
            return {} if dtype is None else {"source": {"dtype": dtype}}
        keys = {
            "path": source.path,
            "axis": source.axis,
            "index": source.index,
            "dtype": source.dtype or dtype,
        }
        row: dict[str, Any] = {
            "source": {
                key: value for key, value in keys.items() if value not in (None, "")
            }
        }
        if source.index is not None:
            row |= {"video_id": self._video(source.path), "frame_id": source.index}
        return row

    def _video(self, name: str) -> int:
        videos = self.document.get("videos")
        if not isinstance(videos, list):
            videos = self.document["videos"] = []
        for video in videos:
            if isinstance(video, dict) and video.get("name") == name:
                number = whole(video.get("id"))
                if number is not None:
                    return number
        videos.append({"id": FreeIds(videos).take(), "name": name})
        return int(videos[-1]["id"])

    def _annotations(
        self, objects: CocoObjects, name: str, image_id: int
    ) -> list[dict[str, Any]]:
        category_ids = [self.by_name.get(name, 0) for name in objects.class_names]
        written = written_segmentations(objects, self.mode, name)
        objects = written.objects
        self.faults += written.faults
        for kind in ("polygons", "rles", "boxes"):
            self.counts[kind] += getattr(written, kind)
        boxes = objects.boxes.copy()
        boxes[:, 2:] -= boxes[:, :2]
        whole = (boxes == np.rint(boxes)).all(axis=1).tolist()
        rows = []
        for number, (
            segmentation,
            area,
            box,
            integral,
            class_id,
            label,
            crowd,
        ) in enumerate(
            zip(
                written.segmentations,
                objects.runs.areas().tolist(),
                boxes.tolist(),
                whole,
                objects.class_ids.tolist(),
                objects.ids.tolist(),
                objects.crowd.tolist(),
                strict=True,
            )
        ):
            row = {
                **objects.extras[number],
                "id": self.annotation_ids.take(int(objects.annotation_ids[number])),
                "image_id": image_id,
                "category_id": category_ids[class_id - 1],
                "segmentation": segmentation,
                "area": area if segmentation else box[2] * box[3],
                "bbox": [int(value) for value in box] if integral else box,
                "iscrowd": int(crowd),
                "label_id": label,
            }
            rows.append(row)
        _add_optional(rows, objects)
        _with_extents(rows, objects, written.segmentations)
        return rows

    def summary(self) -> WriteSummary:
        kinds = {key: self.counts[key] for key in ("polygons", "rles", "boxes")}
        return WriteSummary(
            path=self.path,
            images=self.counts["images"],
            annotations=sum(kinds.values()),
            faults=tuple(self.faults),
            **kinds,
        )


def _with_extents(
    rows: list[dict[str, Any]], objects: CocoObjects, segmentations: list[Any]
) -> None:
    """Write area and box as they were read, where the segmentation is that read."""
    for row, known, segmentation in zip(
        rows, objects.extents, segmentations, strict=True
    ):
        if known is not None and segmentation == known.segmentation:
            row["area"], row["bbox"] = known.area, list(known.bbox)


def _add_optional(rows: list[dict[str, Any]], objects: CocoObjects) -> None:
    """Add the keys that only some objects have."""
    for row, keypoints in zip(rows, objects.keypoints, strict=True):
        if keypoints is not None:
            row |= keypoint_keys(keypoints)
    for number in np.flatnonzero(~np.isnan(objects.scores)).tolist():
        rows[number]["score"] = float(objects.scores[number])
    for number in np.flatnonzero(objects.reviewed).tolist():
        rows[number]["reviewed"] = True
    for number in np.flatnonzero(objects.orders).tolist():
        rows[number]["z_order"] = int(objects.orders[number])
    for number in np.flatnonzero(objects.track_ids).tolist():
        track_id = int(objects.track_ids[number])
        # CVAT reads tracks from the attributes, CocoVID from the annotation.
        attributes = rows[number].get("attributes")
        attributes = attributes if isinstance(attributes, dict) else {}
        rows[number]["track_id"] = track_id
        rows[number]["attributes"] = {**attributes, "track_id": track_id}
