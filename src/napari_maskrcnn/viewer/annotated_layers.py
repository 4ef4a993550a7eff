"""What of the open layers can be learnt from: copied at once, read in the worker.

A layer with marks, see `viewer.marks`, teaches what was approved and nothing else. A
layer without marks whose objects have no scores was made by hand or comes from a file:
all of it counts. Predictions that nobody looked at do not.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.words import counted
from napari_maskrcnn.viewer.classes import classes_of
from napari_maskrcnn.viewer.features import has_table
from napari_maskrcnn.viewer.layers import (
    Plane,
    PlaneSource,
    current_plane,
    finest,
    plane_source,
    spatial_shape,
)
from napari_maskrcnn.viewer.marks import (
    approved,
    region_mask,
    regions,
    regions_of,
    whole_in,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari.components import ViewerModel
    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_maskrcnn.core.dataset import AnnotatedImage
    from napari_maskrcnn.viewer.marks import Box

MARKED, EVERYTHING, NOTHING = "marked", "everything", "nothing"
# Stacks of more bytes are read where they are, in the worker: copying them would stop
# the window for a moment that is felt.
COPIED_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPlane:
    """A plane of an image and of its Labels layer.

    Parameters
    ----------
    name : str
        For the person.
    layer : weakref to Image
        Where it comes from.
    image : PlaneSource
        The pixels, not fetched yet.
    labels : ndarray or PlaneSource
        Shape (H, W): a copy of the plane, or what fetches it where it is large or lazy.
    class_names : tuple of str
        The classes of the layer.
    classes : dict of int to str
        By id, as far as the table says.
    unnamed : str
        The class of the objects that have none; empty where that was not said.
    approved : ndarray or None
        Ids; None, as `boxes`, where everything counts.
    boxes : tuple or None
        Regions (y0, x0, y1, x1) in which everything is right.
    """

    name: str
    layer: weakref.ref[Image]
    image: PlaneSource
    labels: NDArray[Any] | PlaneSource
    class_names: tuple[str, ...]
    classes: dict[int, str] = field(repr=False)
    unnamed: str = ""
    approved: NDArray[np.int64] | None = None
    boxes: tuple[Box, ...] | None = None

    def read(self) -> AnnotatedImage | None:
        """Fetch the pixels and prepare them for training; to be called in the worker.

        Returns
        -------
        AnnotatedImage or None
            None for an empty plane of a layer in which everything counts.

        Raises
        ------
        ValueError
            When labels are negative, have no class, or are not of the image's size.
        """
        from napari_maskrcnn.core.dataset import annotated_image

        pixels = self.labels
        if isinstance(pixels, PlaneSource):
            pixels = pixels.read()
        everything = self.boxes is None
        if everything and not pixels.any():
            return None
        ids, inverse = np.unique(pixels, return_inverse=True)
        if ids.size and ids[0] < 0:
            raise ValueError(f"{self.name}: labels must not be negative, got {ids[0]}")
        # Ids may be as large as the layer's numbers; places among them are small.
        first = 0 if ids.size and ids[0] == 0 else 1
        compact = inverse.reshape(pixels.shape) + first
        objects = ids[ids > 0].astype(np.int64)
        names, class_ids = self._classes(objects.tolist())
        reviewed = region = None
        if self.boxes is not None and self.approved is not None:
            marked = np.isin(objects, self.approved)
            marked |= np.isin(objects, whole_in(pixels, self.boxes))
            reviewed = np.flatnonzero(marked) + 1
            region = region_mask(pixels.shape, self.boxes)
        return annotated_image(
            self.name,
            self.image.read(),
            compact,
            class_ids,
            class_names=names,
            reviewed=reviewed,
            region=region,
        )

    def _classes(self, ids: list[int]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Return the class names, and the class of each object behind a first 0."""
        own = [self.classes.get(index, "") or self.unnamed for index in ids]
        if not any(own):
            # The model's only class, if it has only one; else the core complains.
            return (), np.ones(len(ids) + 1, np.int64)
        if not all(own):
            raise ValueError(
                f"{self.name}: {own.count('')} objects have no class; say which one"
            )
        names = tuple(dict.fromkeys([*self.class_names, *own]))
        return names, np.array([0, *(names.index(x) + 1 for x in own)], np.int64)


def counting(labels: Labels) -> str:
    """Return what of a layer counts: MARKED, EVERYTHING or NOTHING."""
    if approved(labels).size or regions(labels):
        return MARKED
    table = labels.features
    predicted = has_table(labels) and "score" in table and table["score"].notna().any()
    return NOTHING if predicted else EVERYTHING


def in_words(labels: Labels) -> str:
    """Say in two words what of a layer counts."""
    kind = counting(labels)
    if kind != MARKED:
        return {EVERYTHING: "everything", NOTHING: "nothing yet"}[kind]
    objects, boxes = approved(labels).size, len(regions(labels))
    parts = [f"{objects:,} approved"] if objects else []
    if boxes:
        parts.append(counted(boxes, "region"))
    return ", ".join(parts)


def take(
    viewer: ViewerModel,
    pairs: Iterable[tuple[Labels, Image]],
    unnamed: str = "",
) -> list[LabelledPlane]:
    """Copy what can be learnt from; to be called in the main thread.

    Parameters
    ----------
    viewer : ViewerModel
        Says in which planes its stacks are looked at.
    pairs : iterable of tuple
        Labels layers, each with its image.
    unnamed : str
        The class of objects that have none.

    Raises
    ------
    ValueError
        When labels and image are not of the same size.
    """
    found: list[LabelledPlane] = []
    room = COPIED_BYTES
    for labels, image in pairs:
        if spatial_shape(labels) != spatial_shape(image):
            raise ValueError(
                f"{labels.name} is {spatial_shape(labels)} pixels but {image.name} is "
                f"{spatial_shape(image)}"
            )
        for taken in _planes_of(viewer, labels, image, unnamed, room):
            found.append(taken)
            room -= 0 if isinstance(taken.labels, PlaneSource) else taken.labels.nbytes
    return found


def _planes_of(
    viewer: ViewerModel, labels: Labels, image: Image, unnamed: str, room: int
) -> Iterator[LabelledPlane]:
    marked = counting(labels) != EVERYTHING
    ids = approved(labels) if marked else None
    classes = _classes_by_id(labels)
    names = tuple(classes_of(labels))
    data = finest(labels)
    for plane in _planes(viewer, labels, marked):
        source = PlaneSource(data, plane)
        pixels: Any = source
        if isinstance(data, np.ndarray):
            view = data[plane.index]
            room -= view.nbytes
            pixels = view.copy() if room >= 0 else source
        yield LabelledPlane(
            name=f"{image.name} [{plane.label}]" if plane.position else image.name,
            layer=weakref.ref(image),
            image=plane_source(image, plane),
            labels=pixels,
            class_names=names,
            classes=classes,
            unnamed=unnamed,
            approved=ids,
            boxes=tuple(regions_of(labels, plane)) if marked else None,
        )


def _classes_by_id(labels: Labels) -> dict[int, str]:
    if not has_table(labels):
        return {}
    table = labels.features
    named = (isinstance(name, str) for name in table["class"])
    return {
        int(index): name
        for index, name, is_named in zip(
            table["index"], table["class"], named, strict=True
        )
        if is_named and name
    }


def _planes(viewer: ViewerModel, labels: Labels, marked: bool) -> list[Plane]:
    """Return the planes that may hold something to learn from, in their order."""
    axes = current_plane(labels, viewer).axes
    shape = spatial_shape(labels)
    others = [size for axis, size in enumerate(shape) if axis not in axes]
    if not others:
        return [Plane(axes)]
    positions = set(product(*(range(size) for size in others)))
    if marked and (noted := _marked_positions(labels)) is not None:
        positions &= noted
    return [Plane(axes, position) for position in sorted(positions)]


def _marked_positions(labels: Labels) -> set[tuple[int, ...]] | None:
    """Return where marks are; None where the table does not tell its planes."""
    found = {tuple(int(x) for x in region["plane"]) for region in regions(labels)}
    ids = approved(labels)
    if ids.size:
        table = labels.features
        if "plane" not in table:
            return None
        rows = table["plane"][table["index"].isin(ids)]
        found |= {
            tuple(int(float(part)) for part in str(label).split(","))
            for label in rows.dropna().unique()
        }
    return found
