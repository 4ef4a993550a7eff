"""What all layers to export have: a shape, a name, an image that they belong to."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core.images import IMAGE_SUFFIXES
from napari_maskrcnn.viewer.drawn_layers import TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_maskrcnn.viewer.coco_origin import CocoOrigin
    from napari_maskrcnn.viewer.export_parts import Picture


class Named:
    """How a part of an export is called, and with which others it is one image."""

    __slots__ = ()
    name: str
    metadata: Mapping[str, Any]
    picture: Picture | None
    origin: CocoOrigin | None
    axis: str

    @property
    def shape(self) -> tuple[int, ...]:
        """``(H, W)`` or ``(N, H, W)`` of the image."""
        raise NotImplementedError

    @property
    def dtype(self) -> str | None:
        """The dtype of the labels; None for what has no labels."""
        return None

    @property
    def planes(self) -> int | None:
        """How many planes the stack has; None for a single image."""
        return self.shape[0] if len(self.shape) == 3 else None

    @property
    def mark(self) -> str:
        """What layers of the same objects share; empty for a layer of its own."""
        return str(self.metadata.get(TABLE, ""))

    @property
    def stem(self) -> str:
        """The name of the image's file without its ending."""
        if self.picture is not None:
            name = self.picture.path.name if self.picture.path else self.picture.name
        elif self.origin is not None and self.origin.planes:
            image = next(iter(self.origin.planes.values()))
            stacked = self.origin.axis is not None and image.source is not None
            name = image.source.path if stacked and image.source else ""
            name = name or PurePath(str(image.file_name)).name
        else:
            name = self.name
        return _file_stem(name)

    @property
    def group(self) -> tuple[Any, ...]:
        """Layers of one image are written as one image."""
        if self.picture is not None:
            return ("picture", id(self.picture.data))
        if self.origin is not None:
            return ("file", str(self.origin.path), self.stem)
        return ("mark", self.mark) if self.mark else ("labels", self.stem)

    def regions(self, plane: int) -> list[list[int]]:
        """Return the boxes y0, x0, y1, x1 that a person found right as a whole."""
        position = [] if self.planes is None else [plane]
        regions = self.metadata.get("regions")
        return [
            [int(value) for value in region["box"]]
            for region in (regions if isinstance(regions, list | tuple) else ())
            if list(region.get("plane", ())) == position
        ]


def _file_stem(name: str) -> str:
    """Return a name that a file can have on every system, without its ending."""
    path = PurePath(name.replace("\\", "/").replace("/", "_"))
    stem = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
    for sign in '<>:"|?*':
        stem = stem.replace(sign, "_")
    return stem.strip(". ") or "image"
