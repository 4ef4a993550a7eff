"""File > Save as COCO: from what napari hands to a writer to an export."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.viewer import drawn_parts
from napari_maskrcnn.viewer.coco_origin import kept_metadata
from napari_maskrcnn.viewer.drawn_layers import BONES, ROLE, SHAPE, TABLE
from napari_maskrcnn.viewer.export_parts import (
    Part,
    Picture,
    image_of_mark,
    layer_with,
    likely_image,
    part_of,
    part_of_data,
    picture_of,
)
from napari_maskrcnn.viewer.export_request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_maskrcnn.viewer.drawn_parts import DrawnPart

    LayerData = tuple[Any, dict[str, Any], str]
    Images = Sequence[tuple[Any, dict[str, Any]]]


def request_for(path: Path, layers: Sequence[LayerData]) -> Request:
    """Return the export of layers as napari hands them over.

    Images that were chosen with the labels and have no file in the folder are written
    there as 8-bit PNG; others are named where they are.
    """
    images = [(data, meta) for data, meta, kind in layers if kind == "image"]
    parts = tuple(
        _part(data, meta, images)
        if kind == "labels"
        else _drawn(kind, data, meta, images)
        for data, meta, kind in layers
        if kind in ("labels", "shapes", "points") and not _is_derived(meta)
    )
    return Request(path, parts, pictures="missing" if images else "leave")


def _part(data: Any, meta: dict[str, Any], images: Images) -> Part:
    found = layer_with(data)
    if found is not None:
        # Of a layer that is in a viewer, the session may keep what labels cannot hold.
        session, labels = found
        return part_of(session, labels, likely_image(session, labels))
    part = part_of_data(data, meta)
    return replace(part, picture=_fitting(images, data.shape))


def _drawn(kind: str, data: Any, meta: dict[str, Any], images: Images) -> DrawnPart:
    shape = kept_metadata(meta.get("metadata")).get(SHAPE)
    picture = _fitting(images, shape)
    found = image_of_mark(kept_metadata(meta.get("metadata")).get(TABLE, ""))
    if found is not None:
        picture = picture_of(found)
    return drawn_parts.part_of_data(kind, data, meta, picture)


def _fitting(images: Images, shape: Sequence[int] | None) -> Picture | None:
    """Return the only image of a shape, or the only image if the shape is not known."""
    fitting = [
        Picture(str(meta.get("name", "image")), pixels)
        for pixels, meta in images
        if shape is None or pixels.shape[: len(shape)] == tuple(shape)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _is_derived(meta: dict[str, Any]) -> bool:
    """Whether a layer shows what others hold: the bones between keypoints."""
    return kept_metadata(meta.get("metadata")).get(ROLE) == BONES
