"""What predictions leave alone: edited objects, and what a person approved."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_maskrcnn.viewer.marks import reviewed_of

if TYPE_CHECKING:
    from napari_maskrcnn.viewer.layers import LabelsPlane
    from napari_maskrcnn.viewer.ledger import Edits
    from napari_maskrcnn.viewer.painting import PlaneRecord


def with_approved(edits: Edits, target: LabelsPlane) -> Edits:
    """Return the edits of a plane with the objects and regions that were approved."""
    reviewed = reviewed_of(target.layer, target.plane)
    return replace(
        edits,
        approved=frozenset(reviewed.ids.tolist()),
        ground=reviewed.region if reviewed.region.any() else None,
    )


def kept_of(record: PlaneRecord) -> Edits:
    """Return what a person changed or approved in a plane."""
    return with_approved(record.ledger.edits(record.target.pixels), record.target)
