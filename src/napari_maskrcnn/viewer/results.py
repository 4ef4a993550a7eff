"""What is kept of the images: the layers of their instances, detections, encodings."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.viewer.approved import with_approved
from napari_maskrcnn.viewer.kept import EncodingBudget, Kept
from napari_maskrcnn.viewer.layers import (
    LabelsPlane,
    Plane,
    image_layers,
    is_usable,
)
from napari_maskrcnn.viewer.painting import (
    PlaneRecord,
    ids_in,
    remember_decisions,
    with_free_ids,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_maskrcnn.viewer.jobs import Outcome


class Results(Kept[PlaneRecord]):
    """What is kept of images whose objects have masks, and their Labels layers."""

    def __init__(
        self, viewer: weakref.ref[ViewerModel], budget: EncodingBudget | None = None
    ) -> None:
        super().__init__(viewer, budget)
        self._outputs: weakref.WeakKeyDictionary[Image, weakref.ref[Labels]] = (
            weakref.WeakKeyDictionary()
        )

    # ---- looking

    def target_of(self, image: Image) -> Labels | None:
        """Return the Labels layer that holds the instances of an image, if any."""
        return self.labels_of(image)

    def labels_of(self, image: Image) -> Labels | None:
        """Return the Labels layer that holds the instances of an image, if any."""
        viewer, reference = self._viewer(), self._outputs.get(image)
        labels = reference() if reference is not None else None
        if viewer is None or labels is None or labels not in viewer.layers:
            return None
        return labels if is_usable(labels, image) else None

    def image_of(self, labels: Labels) -> Image | None:
        """Return the image whose instances a Labels layer holds, if any."""
        viewer = self._viewer()
        images = image_layers(viewer) if viewer is not None else []
        return next((x for x in images if self.labels_of(x) is labels), None)

    def record_in(self, layer: Labels, plane: Plane) -> PlaneRecord | None:
        """Return what is kept of a plane of a Labels layer."""
        for planes in self._records.values():
            record = planes.get(plane)
            if record is not None and record.target.layer is layer:
                return record
        return None

    def ids_taken(self, layer: Labels) -> NDArray[np.int64]:
        """Return the ids of all detections of a layer, those now hidden included."""
        taken = [r.instances.ids for r in self if r.target.layer is layer]
        return np.concatenate([np.empty(0, np.int64), *taken])

    # ---- keeping

    def give(self, image: Image, labels: Labels) -> None:
        """Say that a Labels layer holds the instances of an image."""
        self._outputs[image] = weakref.ref(labels)

    def new_record(
        self,
        image: Image,
        target: LabelsPlane,
        outcome: Outcome,
        *,
        keep_edited: bool,
        ids: NDArray[np.int64] | None = None,
    ) -> PlaneRecord:
        """Return a plane's record with new detections under free ids; not kept yet.

        `ids` are those in the layer, where they are known.
        """
        labels, plane = target.layer, target.plane
        old = self._records.get(image, {}).get(plane)
        if old is not None and old.target.layer is not labels:
            old = None
        record = PlaneRecord(target, outcome.instances)
        record.encoding, record.encoded_as = outcome.encoding, outcome.encoded_as
        taken = self._ids_elsewhere(image, plane, labels, ids)
        if old is not None:
            record.ledger = old.ledger
            if keep_edited:
                edits = old.ledger.edits(target.pixels)
                remember_decisions(old, edits)
                record.decided = old.decided
                kept = with_approved(edits, target).kept
                taken = np.union1d(taken, list(kept)).astype(np.int64)
            record.ledger.new_run()
        elif keep_edited and target.pixels.any():
            taken = np.union1d(taken, np.unique(target.pixels)).astype(np.int64)
        record.instances = with_free_ids(outcome.instances, taken)
        return record

    def _ids_elsewhere(
        self,
        image: Image,
        plane: Plane,
        labels: Labels,
        ids: NDArray[np.int64] | None,
    ) -> Any:
        """Return the ids in the layer's other planes."""
        if not plane.position:
            return np.empty(0, np.int64)
        planes = self._records.get(image, {})
        taken = []
        if not planes.get(plane):
            # Of a plane that has a record they would hold its own old ids as well.
            taken = [ids if ids is not None else ids_in(labels)]
        for other, record in planes.items():
            if other != plane and record.target.layer is labels:
                taken.append(record.instances.ids)
        return np.unique(np.concatenate([np.empty(0, np.int64), *taken]))

    def forget(self, layer: Any) -> None:
        """Let go of an image, or of the images whose instances a layer holds."""
        self._outputs.pop(layer, None)
        super().forget(layer)

    def clear(self) -> None:
        """Let go of everything."""
        super().clear()
        self._outputs.clear()
