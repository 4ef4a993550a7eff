"""Detections without masks, as a Shapes layer of boxes and a Points layer of keypoints.

What of them is a person's and stays: see `viewer.drawn_records`.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.viewer.drawn_edits import follow_drawn
from napari_maskrcnn.viewer.drawn_layers import (
    BONES,
    BOXES,
    KEYPOINTS,
    bone_properties,
    bones,
    box_properties,
    layer_of,
    new_mark,
    places_array,
    point_properties,
    table_of,
)
from napari_maskrcnn.viewer.drawn_records import DrawnPlane, DrawnRecord
from napari_maskrcnn.viewer.drawn_tables import no_boxes, no_points
from napari_maskrcnn.viewer.kept import EncodingBudget, Kept
from napari_maskrcnn.viewer.layers import GEOMETRY, Plane, spatial_shape
from napari_maskrcnn.viewer.painting import with_free_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Image, Points, Shapes

    from napari_maskrcnn.core.instances import Instances
    from napari_maskrcnn.core.skeletons import Skeleton
    from napari_maskrcnn.viewer.jobs import Outcome


class DrawnResults(Kept[DrawnRecord]):
    """What is kept of images whose objects have no masks, and their layers."""

    def __init__(
        self, viewer: weakref.ref[ViewerModel], budget: EncodingBudget | None = None
    ) -> None:
        super().__init__(viewer, budget)
        self._marks: weakref.WeakKeyDictionary[Image, str] = weakref.WeakKeyDictionary()

    def target_of(self, image: Image) -> Shapes | None:
        """Return the layer of the boxes of an image, None if there is none."""
        viewer, mark = self._viewer(), self._marks.get(image, "")
        layer: Shapes | None = layer_of(viewer, mark, BOXES) if viewer else None
        return layer if layer is not None and layer.ndim == image.ndim else None

    def image_of(self, layer: Any) -> Image | None:
        """Return the image whose boxes or keypoints a layer holds, if any."""
        return self.image_with(table_of(layer))

    def image_with(self, mark: str) -> Image | None:
        """Return the image of a mark (see `drawn_layers.new_mark`), if any."""
        found = (image for image, own in self._marks.items() if mark and own == mark)
        return next(found, None)

    def new_record(
        self, image: Image, plane: Plane, outcome: Outcome, *, keep_edited: bool
    ) -> DrawnRecord:
        """Return a plane's record with new detections, drawn nowhere yet.

        The layers are made if they are not there; the record is not kept yet.
        """
        instances = outcome.instances
        target = self._target(image, plane, instances)
        old = self.records_of(image).get(plane)
        boxes, points, others, spots = target.rows()
        taken = [*others.table["index"], *spots.table["person"]]
        for record in self.records_of(image).values():
            if record is not old:
                taken += record.instances.ids.tolist()
        if keep_edited:
            taken += [*boxes.table["index"], *points.table["person"]]
        record = DrawnRecord(
            target, with_free_ids(instances, np.unique(np.array(taken, np.int64)))
        )
        if old is not None and keep_edited:
            record.decided = old.boxes_decided()
        record.encoding, record.encoded_as = outcome.encoding, outcome.encoded_as
        return record

    def _target(self, image: Image, plane: Plane, instances: Instances) -> DrawnPlane:
        viewer = self._viewer()
        if viewer is None:
            raise RuntimeError("the viewer is gone")
        follow_drawn(viewer)
        boxes = self.target_of(image)
        if boxes is None:
            boxes = _add_boxes(viewer, image, instances.class_names)
            self._marks[image] = table_of(boxes)
        mark = table_of(boxes)
        points = layer_of(viewer, mark, KEYPOINTS)
        lines = layer_of(viewer, mark, BONES)
        skeleton = instances.skeleton if instances.keypoints is not None else None
        if points is None and skeleton is not None:
            points, lines = _add_points(viewer, image, mark, instances, skeleton)
        return DrawnPlane(boxes, points, lines, plane, instances.class_names)


def _add_boxes(viewer: ViewerModel, image: Image, names: Sequence[str]) -> Shapes:
    layer: Shapes = viewer.add_shapes(
        None,
        name=f"{image.name} boxes",
        **box_properties(no_boxes(), names, spatial_shape(image), new_mark()),
        **_geometry(image),
    )
    return layer


def _add_points(
    viewer: ViewerModel,
    image: Image,
    mark: str,
    instances: Instances,
    skeleton: Skeleton,
) -> tuple[Points, Shapes]:
    """Add the layers of bones and keypoints, the keypoints on top."""
    shape = spatial_shape(image)
    nothing = no_points()
    skeletons = dict.fromkeys(instances.class_names, skeleton)
    rows, colours = bones(nothing, skeletons)
    lines = viewer.add_shapes(
        None,
        name=f"{image.name} skeleton",
        **bone_properties(rows, colours, shape, mark),
        **_geometry(image),
    )
    points = viewer.add_points(
        places_array(nothing, len(shape)),
        name=f"{image.name} keypoints",
        **point_properties(nothing, skeletons, shape, mark),
        **_geometry(image),
    )
    return points, lines


def _geometry(image: Image) -> dict[str, Any]:
    return {name: getattr(image, name) for name in GEOMETRY}
