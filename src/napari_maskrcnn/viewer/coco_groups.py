"""Which images of a COCO file become one layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.coco.values import whole

if TYPE_CHECKING:
    from napari_maskrcnn.core.coco import CocoDataset, CocoImage

# Planes may be missing in a stack, but not nearly all of them.
_LEAST_FILLED = 0.25


@dataclass(frozen=True, slots=True)
class Group:
    """Images that become one layer: a single one, or the planes of a stack."""

    name: str
    planes: dict[int, CocoImage]
    axis: str | None

    @property
    def shape(self) -> tuple[int, ...]:
        image = next(iter(self.planes.values()))
        plane = image.to_objects().image_shape
        return plane if self.axis is None else (max(self.planes) + 1, *plane)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the label image: the source's, if the labels fit."""
        kinds: list[np.dtype[Any]] = []
        for image in self.planes.values():
            highest = int(image.to_objects().ids.max(initial=0))
            given = image.source.dtype if image.source else None
            kind = np.dtype(given or np.uint16)
            if highest > np.iinfo(kind).max:
                kind = np.min_scalar_type(-highest)
            kinds.append(kind)
        return np.result_type(*kinds)


def grouped(dataset: CocoDataset) -> list[Group]:
    """Return the images of a data set, the planes of each stack together."""
    stacks: dict[Any, list[tuple[int, CocoImage]]] = {}
    order: list[Any] = []
    for image in dataset.images:
        key, index = _place(image)
        key = key if index is not None else ("alone", len(order))
        if key not in stacks:
            order.append(key)
        stacks.setdefault(key, []).append((index or 0, image))
    videos = _video_names(dataset)
    groups: list[Group] = []
    for key in order:
        groups += _groups(key, stacks[key], videos)
    return groups


def _groups(
    key: tuple[Any, ...], members: list[tuple[int, CocoImage]], videos: dict[int, str]
) -> list[Group]:
    indices = [index for index, _ in members]
    shapes = {image.to_objects().image_shape for _, image in members}
    fits = len(set(indices)) == len(indices) and len(shapes) == 1
    if key[0] == "video":
        # Frames are counted from 0 or from 1, and may be numbers of a longer film.
        ranks = {index: rank for rank, index in enumerate(sorted(indices))}
        planes = {ranks[index]: image for index, image in members}
        if fits and len(members) > 1:
            name = videos.get(key[1], f"video {key[1]}")
            return [Group(name, dict(sorted(planes.items())), "t")]
    elif key[0] == "source" and fits and len(members) >= _LEAST_FILLED * max(indices):
        name = PurePosixPath(key[1]).stem or key[1]
        return [Group(name, dict(sorted(members)), key[2])]
    return [Group(_stem(image), {0: image}, None) for _, image in members]


def _place(image: CocoImage) -> tuple[tuple[Any, ...], int | None]:
    """Return which stack an image belongs to, and its index there, None if to none."""
    source = image.source
    if source is not None and source.index is not None and source.path:
        if source.index >= 0:
            return ("source", source.path, source.axis or "t"), source.index
        return (), None
    video = whole(image.extra.get("video_id"))
    frame = whole(image.extra.get("frame_id"))
    return ("video", video), frame if video is not None else None


def _video_names(dataset: CocoDataset) -> dict[int, str]:
    rows = dataset.extra.get("videos")
    names: dict[int, str] = {}
    for row in rows if isinstance(rows, list) else ():
        number = whole(row.get("id")) if isinstance(row, dict) else None
        if number is not None and isinstance(row.get("name"), str):
            names[number] = PurePosixPath(row["name"]).stem
    return names


def _stem(image: CocoImage) -> str:
    return PurePosixPath(str(image.file_name).replace("\\", "/")).stem
