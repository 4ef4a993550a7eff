"""From a COCO file to layers of boxes, keypoints and bones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.viewer.coco_origin import CATEGORIES, ORIGIN, CocoOrigin
from napari_maskrcnn.viewer.drawn_layers import (
    bone_properties,
    bones,
    box_properties,
    places_array,
    point_properties,
)
from napari_maskrcnn.viewer.drawn_tables import no_boxes, no_points, rows_of_objects
from napari_maskrcnn.viewer.layers import Plane

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_maskrcnn.core.coco import CocoDataset, CocoImage
    from napari_maskrcnn.viewer.coco_groups import Group

    LayerData = tuple[Any, dict[str, Any], str]


def with_masks(image: CocoImage) -> CocoImage:
    """Return an image with the objects that have pixels."""
    objects = image.to_objects()
    return replace(image, objects=objects.select(objects.runs.areas() > 0))


def drawn_layers(
    name: str,
    group: Group,
    planes: dict[int, CocoImage],
    mark: str,
    path: Path,
    dataset: CocoDataset,
) -> Iterator[LayerData]:
    """Yield the layers of what labels cannot hold.

    Parameters
    ----------
    name : str
        What the layers' names begin with.
    group : Group
        The image, or the stack.
    planes : dict of int to CocoImage
        The objects by plane.
    mark : str
        See `drawn_layers.new_mark`; that of the Labels layer of the same objects.
    path : Path
        The file.
    dataset : CocoDataset
        What was read of it.
    """
    boxes, points = no_boxes(), no_points()
    bare: dict[int, CocoImage] = {}
    for index, image in planes.items():
        objects = image.to_objects()
        place = Plane((0, 1)) if group.axis is None else Plane((1, 2), (index,))
        one, other = rows_of_objects(place, objects)
        boxes, points = boxes.joined(one), points.joined(other)
        bare[index] = replace(image, objects=objects.select(objects.runs.areas() == 0))
    categories = dataset.categories
    names = [category.name for category in categories]
    skeletons = {c.name: c.skeleton for c in categories if c.skeleton is not None}
    kept = {CATEGORIES: list(categories)}
    if len(boxes):
        origin = CocoOrigin(path, bare, group.axis)
        properties = box_properties(
            boxes, names, group.shape, mark, **{ORIGIN: origin}, **kept
        )
        yield boxes.places, {"name": f"{name} boxes", **properties}, "shapes"
    has_keypoints = any(
        keypoints is not None
        for image in planes.values()
        for keypoints in image.to_objects().keypoints
    )
    if has_keypoints:
        lines, colours = bones(points, skeletons)
        properties = bone_properties(lines, colours, group.shape, mark)
        yield lines.places or None, {"name": f"{name} skeleton", **properties}, "shapes"
        origin = CocoOrigin(path, planes, group.axis)
        properties = point_properties(
            points, skeletons, group.shape, mark, **{ORIGIN: origin}, **kept
        )
        data = places_array(points, len(group.shape))
        data = np.empty((0, len(group.shape))) if data is None else data
        yield data, {"name": f"{name} keypoints", **properties}, "points"
