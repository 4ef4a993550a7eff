"""From a COCO file to layers: images where they are found, labels, and the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_maskrcnn.core.coco import parted, read_coco
from napari_maskrcnn.core.coco.files import ImageFiles
from napari_maskrcnn.core.coco.values import numbers
from napari_maskrcnn.core.images import read_image
from napari_maskrcnn.viewer.coco_drawn import drawn_layers, with_masks
from napari_maskrcnn.viewer.coco_groups import Group, grouped
from napari_maskrcnn.viewer.coco_origin import (
    CATEGORIES,
    METADATA,
    ORIGIN,
    REGIONS_KEY,
    CocoOrigin,
)
from napari_maskrcnn.viewer.drawn_layers import TABLE, new_mark
from napari_maskrcnn.viewer.features import count_objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_maskrcnn.core.coco import CocoDataset, CocoImage, CocoObjects

    LayerData = tuple[Any, dict[str, Any], str]

# More layers than this are no help in a layer list.
MAX_IMAGES = 25
# The label images that are opened at a time take no more memory than this.
MAX_BYTES = 4 * 2**30


def read_layers(path: Path) -> tuple[list[LayerData], list[str]]:
    """Read a COCO file as layers.

    Returns
    -------
    layers : list of (data, properties, kind)
        For each image, or stack of images, the Image layer if its file was found, the
        Labels layers, and what labels cannot hold: boxes, keypoints, their bones.
    problems : list of str
        Sentences for the person: what could not be opened, what is wrong in the file.

    Raises
    ------
    CocoError
        If the file is no COCO file.
    OSError
        If it cannot be opened.
    """
    dataset = read_coco(path)
    reader = _LayerReader(path, dataset)
    layers = list(reader.layers())
    return layers, reader.problems()


class _LayerReader:
    """Goes through a data set once."""

    def __init__(self, path: Path, dataset: CocoDataset) -> None:
        self.path = path
        self.dataset = dataset
        self.files = ImageFiles(path.absolute().parent)
        self.notes: list[str] = []
        # Images whose file is not there, but whose stack is.
        self.found: set[str] = set()

    def layers(self) -> Iterator[LayerData]:
        groups = grouped(self.dataset)
        room = MAX_BYTES
        opened = 0
        for group in groups[:MAX_IMAGES]:
            size = int(np.prod(group.shape, dtype=object)) * group.dtype.itemsize
            size *= _needs_labels(group)
            if size > room:
                shape = " x ".join(map(str, group.shape))
                self.notes.append(
                    f"{group.name} was not opened: its labels, {shape}, take "
                    f"{size / 1e9:.1f} GB"
                )
                continue
            room -= size
            opened += 1
            yield from self._group_layers(group)
        if len(groups) > MAX_IMAGES:
            self.notes.insert(
                0,
                f"The first {opened} of {len(groups):,} images were opened; "
                "napari-maskrcnn convert makes label images of all",
            )

    def _group_layers(self, group: Group) -> Iterator[LayerData]:
        picture = self._picture(group)
        if picture is not None:
            data, path = picture
            properties = {"name": group.name, "metadata": {METADATA: {"file": path}}}
            yield data, properties, "image"
        tables: dict[str, dict[int, CocoImage]] = {}
        for index, image in group.planes.items():
            for name, objects in parted(image.to_objects()).items():
                tables.setdefault(name, {})[index] = replace(image, objects=objects)
        if len(tables) > 1 and not any(
            len(image.to_objects()) for image in tables.get("", {}).values()
        ):
            tables.pop("", None)  # planes without an object
        for name, planes in tables.items():
            mark = new_mark()
            masks = {index: with_masks(image) for index, image in planes.items()}
            drawn = list(
                drawn_layers(
                    name or group.name, group, planes, mark, self.path, self.dataset
                )
            )
            # An image without an object gets a layer to draw them in.
            if not drawn or any(len(image.to_objects()) for image in masks.values()):
                label = name or f"{group.name} instances"
                yield self._labels(label, group, masks, mark)
            yield from drawn

    def _labels(
        self, name: str, group: Group, planes: dict[int, CocoImage], mark: str
    ) -> LayerData:
        part = replace(group, planes={**group.planes, **planes})
        data = np.zeros(group.shape, part.dtype)
        rows = []
        for index, image in planes.items():
            objects = image.to_objects()
            plane = data if group.axis is None else data[index]
            plane[...] = objects.to_label_image(data.dtype)
            rows.append(_rows(plane, objects))
            if group.axis is not None:
                rows[-1]["plane"] = index
        categories = self.dataset.categories
        kept = {
            "class_names": [category.name for category in categories],
            "regions": list(_regions(group, planes)),
            CATEGORIES: list(categories),
            ORIGIN: CocoOrigin(self.path, planes, group.axis),
            TABLE: mark,
        }
        properties = {
            "name": name,
            "features": pd.concat(rows, ignore_index=True),
            "metadata": {METADATA: kept},
        }
        self._note_unseen(name, rows, planes)
        return data, properties, "labels"

    def _note_unseen(
        self, name: str, rows: list[pd.DataFrame], planes: dict[int, CocoImage]
    ) -> None:
        count = sum(len(image.to_objects()) for image in planes.values())
        unseen = count - sum(map(len, rows))
        if unseen:
            self.notes.append(
                f"{name}: {unseen} of {count} objects cannot be shown in labels (crowd "
                "regions, hidden by others); an export keeps them"
            )

    # ---- the pictures

    def _picture(self, group: Group) -> tuple[np.ndarray, str] | None:
        """Return the pixels of an image or stack, and their file, if all are there."""
        paths = [group.planes[index].path for index in sorted(group.planes)]
        try:
            if group.axis is None:
                return None if paths[0] is None else self._checked(group, paths[0])
            if len(paths) == group.shape[0] and all(paths):
                planes = [read_image(path) for path in paths if path is not None]
                return np.stack(planes), ""
            source = next(iter(group.planes.values())).source
            path = self.files.find(source.path)[0] if source and source.path else None
            if path is None:
                return None
            data = read_image(path)
        except (ValueError, OSError) as error:
            self.notes.append(f"{group.name} has no image: {error}")
            return None
        if data.shape[:3] != group.shape:
            return None
        self.found |= {f"image {image.id}" for image in group.planes.values()}
        return data, str(path)

    def _checked(self, group: Group, path: Path) -> tuple[np.ndarray, str]:
        data = read_image(path)
        if data.shape[:2] != group.shape:
            height, width = group.shape
            found = " x ".join(map(str, data.shape[:2]))
            self.notes.append(
                f"{path.name} has {found} pixels, and its labels {height} x {width}; "
                "nothing was resized"
            )
        return data, str(path)

    def problems(self) -> list[str]:
        """Return what the person should know, the most important first."""
        faults = [
            str(fault)
            for fault in self.dataset.faults
            if not (fault.where in self.found and fault.what.startswith("file_name"))
        ]
        return self.notes + faults


def _needs_labels(group: Group) -> bool:
    """Whether an image has a mask, or nothing yet."""
    tables = [image.to_objects() for image in group.planes.values()]
    return not sum(map(len, tables)) or any(len(t.runs.objects) for t in tables)


def _rows(plane: np.ndarray, objects: CocoObjects) -> pd.DataFrame:
    """Return the table of the objects that can be seen in a plane."""
    ids, areas = count_objects(plane)
    _, _, places = np.intersect1d(ids, objects.ids, return_indices=True)
    names = np.array(objects.class_names, dtype=object)
    classes = objects.class_ids[places] - 1
    return pd.DataFrame(
        {
            "index": ids,
            "class": names[classes] if len(names) else np.empty(0, object),
            "score": objects.scores[places],
            "area": areas,
            "reviewed": objects.reviewed[places],
        }
    )


def _regions(
    group: Group, planes: dict[int, CocoImage]
) -> Iterator[dict[str, Sequence[int]]]:
    """Yield the boxes in which a person found everything right."""
    height, width = group.shape[-2:]
    for index, image in planes.items():
        boxes = image.extra.get(REGIONS_KEY)
        for given in boxes if isinstance(boxes, list) else ():
            box = numbers(given, 4)
            if box is None:
                continue
            limits = (height, width, height, width)
            y0, x0, y1, x1 = (
                min(max(round(value), 0), limit)
                for value, limit in zip(box, limits, strict=True)
            )
            if y0 < y1 and x0 < x1:
                position = [] if group.axis is None else [index]
                yield {"plane": position, "box": [y0, x0, y1, x1]}
