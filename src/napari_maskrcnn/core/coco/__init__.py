"""COCO: out and back without losing a pixel."""

from __future__ import annotations

from napari_maskrcnn.core.coco.check import check
from napari_maskrcnn.core.coco.document import (
    Category,
    CocoDataset,
    CocoImage,
    Source,
)
from napari_maskrcnn.core.coco.errors import CocoError, Fault
from napari_maskrcnn.core.coco.extents import Extent, box_extent
from napari_maskrcnn.core.coco.joined import concatenated, joined, parted
from napari_maskrcnn.core.coco.keypoints import KEYPOINT_THRESHOLD, coco_keypoints
from napari_maskrcnn.core.coco.objects import CocoObjects
from napari_maskrcnn.core.coco.overlaps import corrected, with_whole_masks
from napari_maskrcnn.core.coco.planes import plane_images, split, write_planes
from napari_maskrcnn.core.coco.read import read_coco
from napari_maskrcnn.core.coco.write import write_coco, write_steps
from napari_maskrcnn.core.coco.writer import WriteSummary

__all__ = [
    "KEYPOINT_THRESHOLD",
    "Category",
    "CocoDataset",
    "CocoError",
    "CocoImage",
    "CocoObjects",
    "Extent",
    "Fault",
    "Source",
    "WriteSummary",
    "box_extent",
    "check",
    "coco_keypoints",
    "concatenated",
    "corrected",
    "joined",
    "parted",
    "plane_images",
    "read_coco",
    "split",
    "with_whole_masks",
    "write_coco",
    "write_planes",
    "write_steps",
]
