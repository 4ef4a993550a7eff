"""A small COCO data set, generated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_maskrcnn.core.coco import CocoImage, CocoObjects, write_coco
from napari_maskrcnn.core.images import write_array
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("field_a", "field_b")
# Nuclei of fewer pixels are the sample's second class.
SMALL = 250


def write_sample(folder: Path) -> Path:
    """Write two fields of nuclei of two classes into a folder; return the COCO file."""
    images = []
    for seed, name in enumerate(NAMES, start=7):
        image, label_image = nuclei_field((320, 320), 40, seed=seed)
        write_array(folder / f"{name}.tif", image)
        areas = CocoObjects.from_label_image(label_image).runs.areas()
        objects = CocoObjects.from_label_image(
            label_image,
            class_names=("large nucleus", "small nucleus"),
            class_ids=np.where(areas < SMALL, 2, 1),
            reviewed=np.full(len(areas), name == NAMES[0]),
        )
        images.append(CocoImage(f"{name}.tif", objects))
    path = folder / "annotations.coco.json"
    write_coco(path, images)
    return path
