"""File > Save as COCO: from what napari hands to a writer to an export."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.viewer.export_parts import (
    Part,
    Picture,
    layer_with,
    likely_image,
    part_of,
    part_of_data,
)
from napari_maskrcnn.viewer.export_plan import Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    LayerData = tuple[Any, dict[str, Any], str]


def request_for(path: Path, layers: Sequence[LayerData]) -> Request:
    """Return the export of layers as napari hands them over.

    Images that were chosen with the labels and have no file in the folder are written
    there as 8-bit PNG; others are named where they are.
    """
    images = [(data, meta) for data, meta, kind in layers if kind == "image"]
    parts = tuple(
        _part(data, meta, images) for data, meta, kind in layers if kind == "labels"
    )
    return Request(path, parts, pictures="missing" if images else "leave")


def _part(
    data: Any, meta: dict[str, Any], images: list[tuple[Any, dict[str, Any]]]
) -> Part:
    found = layer_with(data)
    if found is not None:
        # Of a layer that is in a viewer, the session may keep what labels cannot hold.
        session, labels = found
        return part_of(session, labels, likely_image(session, labels))
    part = part_of_data(data, meta)
    fitting = [
        Picture(str(image_meta.get("name", "image")), pixels)
        for pixels, image_meta in images
        if pixels.shape[: data.ndim] == data.shape
    ]
    return replace(part, picture=fitting[0]) if len(fitting) == 1 else part
