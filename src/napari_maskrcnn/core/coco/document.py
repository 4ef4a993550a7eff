"""What a COCO data set holds: categories and images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.coco.objects import CocoObjects
from napari_maskrcnn.core.instances import Instances

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_maskrcnn.core.coco.errors import Fault
    from napari_maskrcnn.core.skeletons import Skeleton


@dataclass(frozen=True, slots=True)
class Category:
    """A class as COCO lists it; `extra` keeps the keys that are not ours.

    The skeleton names its keypoints; None for a class that has none.
    """

    id: int
    name: str
    supercategory: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    skeleton: Skeleton | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where an image comes from, to rebuild the layer it was.

    Parameters
    ----------
    path : str
        File or layer that the plane was taken from; empty if unknown.
    axis : str, optional
        Axis of a stack along which the plane was taken: ``"t"`` or ``"z"``.
    index : int, optional
        Index of the plane along that axis.
    dtype : str, optional
        dtype of the label image.
    """

    path: str = ""
    axis: str | None = None
    index: int | None = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CocoImage:
    """One image of a data set and its objects.

    Parameters
    ----------
    file_name : str or Path
        The image's file, relative to the data set's folder.
    objects : Instances, CocoObjects or np.ndarray
        The objects; an array is a label image of one class, "object".
    source : Source, optional
        Where the image comes from.
    id : int, optional
        Its id in the file it was read from; kept on writing where it is free.
    path : Path, optional
        The file that was found on reading.
    extra : dict
        Keys that are not ours.
    """

    file_name: str | Path
    objects: Instances | CocoObjects | np.ndarray
    source: Source | None = None
    id: int | None = None
    path: Path | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_objects(self) -> CocoObjects:
        """Return the objects as a table, whatever they were given as."""
        if isinstance(self.objects, CocoObjects):
            return self.objects
        if isinstance(self.objects, np.ndarray):
            return CocoObjects.from_label_image(self.objects)
        return CocoObjects.from_instances(self.objects)

    def to_instances(self) -> Instances:
        """Return the objects as Instances (see `CocoObjects.to_instances`)."""
        if isinstance(self.objects, Instances):
            return self.objects
        return self.to_objects().to_instances()

    def to_label_image(self) -> np.ndarray:
        """Return the label image, in the dtype of its source where that is known."""
        objects = self.to_objects()
        dtype = (
            np.dtype(self.source.dtype) if self.source and self.source.dtype else None
        )
        if dtype is not None and objects.ids.max(initial=0) > np.iinfo(dtype).max:
            dtype = None
        return objects.to_label_image(dtype)


@dataclass(frozen=True, slots=True, eq=False)
class CocoDataset:
    """A COCO file as it was read.

    Parameters
    ----------
    path : Path
        The file.
    images : tuple of CocoImage
        Its images, each with its objects.
    categories : tuple of Category
        In the order of the file; the class id of each is its place from 1.
    faults : tuple of Fault
        What was wrong, and what was done about it.
    extra : dict
        Keys of the file that are not ours, ``info`` and ``licenses`` among them.
    """

    path: Path
    images: tuple[CocoImage, ...]
    categories: tuple[Category, ...]
    faults: tuple[Fault, ...]
    extra: Mapping[str, Any]
