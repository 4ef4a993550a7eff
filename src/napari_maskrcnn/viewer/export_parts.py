"""What of the layers goes into an export: a snapshot, taken in the main thread.

The objects themselves are extracted later, plane by plane, in the worker's thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_maskrcnn.core.coco import CocoObjects, with_whole_masks
from napari_maskrcnn.core.images import IMAGE_SUFFIXES
from napari_maskrcnn.viewer.coco_origin import kept_metadata, origin_of
from napari_maskrcnn.viewer.drawn_layers import SHAPE, table_of
from napari_maskrcnn.viewer.export_naming import Named
from napari_maskrcnn.viewer.layers import finest, spatial_shape, unwrap
from napari_maskrcnn.viewer.session import Session, open_sessions, session_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari.layers import Image, Labels, Layer

    from napari_maskrcnn.core.instances import Instances
    from napari_maskrcnn.core.recipe import Recipe
    from napari_maskrcnn.viewer.coco_origin import CocoOrigin

# The class of objects of which no class is known.
NO_CLASS = "object"


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """The image that labels belong to.

    Parameters
    ----------
    name : str
        Of the layer.
    data : array-like
        ``(H, W)`` or ``(N, H, W)``, of colour images with a last axis of 3 or 4; may
        be lazy.
    path : Path or None
        Its file, where there is one.
    """

    name: str
    data: Any
    path: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Detected:
    """What the network found on a plane, and what it was last painted with."""

    instances: Instances
    recipe: Recipe | None

    def objects(self) -> Instances:
        """Return the instances that were painted."""
        return self.recipe.apply(self.instances) if self.recipe else self.instances


@dataclass(frozen=True, slots=True, eq=False)
class Part(Named):
    """One Labels layer.

    Parameters
    ----------
    name : str
        Of the layer.
    labels : array-like
        ``(H, W)`` or ``(N, H, W)``, integer: a copy, or a lazy array.
    features : DataFrame
        The layer's table of objects.
    metadata : mapping
        Our part of the layer's metadata.
    picture : Picture or None
        The image that the labels belong to.
    origin : CocoOrigin or None
        The COCO file that the layer was read from.
    detected : mapping of int to Detected
        By the index of the plane: what the session keeps.
    axis : str
        The axis of the planes.
    """

    name: str
    labels: Any
    features: pd.DataFrame
    metadata: Mapping[str, Any] = field(default_factory=dict)
    picture: Picture | None = None
    origin: CocoOrigin | None = None
    detected: Mapping[int, Detected] = field(default_factory=dict)
    axis: str = "t"

    @property
    def shape(self) -> tuple[int, ...]:
        """``(H, W)`` or ``(N, H, W)``."""
        return tuple(int(size) for size in self.labels.shape)

    @property
    def dtype(self) -> str | None:
        """The dtype of the labels."""
        return np.dtype(self.labels.dtype).name

    def objects(self, plane: int) -> tuple[CocoObjects, int]:
        """Return the objects of a plane, and how many of them have no class."""
        label_image = np.asarray(
            self.labels if self.planes is None else self.labels[plane]
        )
        objects = CocoObjects.from_label_image(label_image)
        rows = self._rows(plane).reindex(objects.ids)
        # Copies: what pandas hands out may not be written to.
        classes = np.array(rows["class"].fillna("").astype(str), dtype=object)
        only = self._only_class()
        unnamed = classes == ""
        classes[unnamed] = only or NO_CLASS
        # Where nothing has a class, there is nothing to say.
        missing = (
            0 if only or (unnamed.all() and not self._names()) else int(unnamed.sum())
        )
        names = tuple(dict.fromkeys([*self._names(), *classes.tolist()]))
        place = {name: number for number, name in enumerate(names, start=1)}
        objects = replace(
            objects,
            class_names=names,
            class_ids=np.array([place[name] for name in classes], dtype=np.int64),
            scores=np.array(rows["score"], dtype=np.float64),
            reviewed=np.array(rows["reviewed"] == True),  # noqa: E712
            track_ids=objects.track_ids if self.planes is None else objects.ids,
        )
        found = self._found(plane, label_image.shape)
        if found is not None:
            objects = with_whole_masks(objects, label_image, found)
        return objects, missing

    def _rows(self, plane: int) -> pd.DataFrame:
        """Return class, score and mark of review by label."""
        table = self.features
        if "index" not in table.columns:
            table = pd.DataFrame({"index": np.empty(0, np.int64)})
        if "plane" in table.columns and self.planes is not None:
            table = table[table["plane"] == plane]
        table = table.drop_duplicates("index")
        empty = pd.Series(np.nan, index=table.index)
        reviewed = table.get("reviewed", empty)
        return pd.DataFrame(
            {
                "class": table.get("class", empty).to_numpy(object),
                "score": pd.to_numeric(
                    table.get("score", empty), errors="coerce"
                ).to_numpy(np.float64),
                "reviewed": (reviewed == True).to_numpy(bool),  # noqa: E712
            },
            index=table["index"].to_numpy(),
        )

    def _names(self) -> list[str]:
        names = self.metadata.get("class_names")
        return [str(name) for name in names] if isinstance(names, list | tuple) else []

    def _only_class(self) -> str | None:
        names = self._names()
        return names[0] if len(names) == 1 else None

    def _found(
        self, plane: int, shape: tuple[int, ...]
    ) -> Instances | CocoObjects | None:
        """Return what was painted into a plane before a person corrected it."""
        if plane in self.detected:
            found: Instances | CocoObjects = self.detected[plane].objects()
        elif self.origin is not None and plane in self.origin.planes:
            found = self.origin.planes[plane].to_objects()
        else:
            return None
        return found if tuple(found.image_shape) == shape else None


def part_of(session: Session | None, labels: Labels, image: Image | None) -> Part:
    """Return a snapshot of a Labels layer and of the image that it belongs to.

    Raises
    ------
    ValueError
        If the layer is neither an image nor a stack of images.
    """
    data = finest(labels)
    part = _part(
        labels.name, data, labels.features, labels.metadata, tuple(labels.axis_labels)
    )
    picture = None if image is None else picture_of(image)
    detected = {} if session is None else _detected(session, labels)
    if isinstance(data, np.ndarray):
        # The person may go on painting while the worker reads.
        data = data.copy()
    return replace(part, labels=data, picture=picture, detected=detected)


def part_of_data(data: Any, meta: Mapping[str, Any]) -> Part:
    """Return the part of a layer of which only (data, properties) are known."""
    features = meta.get("features")
    return _part(
        str(meta.get("name", "labels")),
        data[0] if meta.get("multiscale") else data,
        features if isinstance(features, pd.DataFrame) else pd.DataFrame(),
        meta.get("metadata"),
        tuple(meta.get("axis_labels") or ()),
    )


def _part(
    name: str,
    data: Any,
    features: pd.DataFrame,
    metadata: Any,
    axis_labels: tuple[str, ...],
) -> Part:
    if data.ndim not in (2, 3):
        raise ValueError(
            f"{name} has {data.ndim} axes; COCO holds images and stacks of images: "
            "export a part of it"
        )
    kept, origin = kept_metadata(metadata), origin_of(metadata)
    axis = axis_labels[0] if data.ndim == 3 and axis_labels else ""
    if origin is not None and origin.axis is not None:
        axis = origin.axis
    if len(axis) != 1 or not axis.isalpha():
        axis = "t"
    return Part(name, data, features.copy(), dict(kept), origin=origin, axis=axis)


def picture_of(image: Image) -> Picture:
    """Return an image layer's pixels and its file."""
    kept = kept_metadata(image.metadata)
    given = kept.get("file", image.source.path)
    path = Path(given) if given else None
    if path is not None and (
        path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file()
    ):
        path = None
    return Picture(image.name, finest(image), path)


def _detected(session: Session, labels: Labels) -> dict[int, Detected]:
    """Return what the session keeps of the planes that lie in the last two axes."""
    image = session.results.image_of(labels)
    if image is None:
        return {}
    lying = (labels.ndim - 2, labels.ndim - 1)
    return {
        plane.position[0] if plane.position else 0: Detected(
            record.instances, record.recipe
        )
        for plane, record in session.results.records_of(image).items()
        if plane.axes == lying
    }


def likely_image(session: Session, labels: Layer) -> Image | None:
    """Return the image that objects belong to: the session's, or by name and shape."""
    own = session.results.image_of(labels) or session.drawn.image_of(labels)
    if own is not None:
        return own
    images = fitting_images(session, labels)
    named = [image for image in images if labels.name.startswith(image.name)]
    if named:
        return max(named, key=lambda image: len(image.name))
    return images[0] if len(images) == 1 else None


def fitting_images(session: Session, labels: Layer) -> list[Image]:
    """Return the images of the shape of a layer; shapes fit all of as many axes."""
    shape = kept_metadata(labels.metadata).get(SHAPE)
    if not hasattr(labels, "selected_label") and shape is None:
        return [image for image in session.images() if image.ndim == labels.ndim]
    shape = shape or spatial_shape(labels)
    return [image for image in session.images() if spatial_shape(image) == shape]


def image_of_mark(mark: str) -> Image | None:
    """Return the image of a viewer that boxes or keypoints of a mark belong to."""
    for viewer, layer in _open_layers():
        if mark and table_of(layer) == mark:
            return likely_image(session_of(viewer), layer)
    return None


def layer_with(data: Any) -> tuple[Session, Any] | None:
    """Return the layer of a viewer that holds an array, and its session."""
    for viewer, layer in _open_layers():
        if layer.data is data:
            return session_of(viewer), layer
    return None


def _open_layers() -> Iterator[tuple[Any, Layer]]:
    from napari import current_viewer

    viewers = [current_viewer(), *(session.viewer for session in open_sessions())]
    for viewer in map(unwrap, viewers):
        for layer in viewer.layers if viewer is not None else ():
            yield viewer, layer
