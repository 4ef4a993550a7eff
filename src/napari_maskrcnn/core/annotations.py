"""Reading annotated images from folders and COCO files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .coco import read_coco
from .dataset import AnnotatedImage, annotated_image, pair_files
from .images import read_image

if TYPE_CHECKING:
    from .coco import CocoImage, CocoObjects


def read_annotated(
    images: str | Path, labels: str | Path, *, class_name: str | None = None
) -> list[AnnotatedImage]:
    """Read images with their objects.

    Parameters
    ----------
    images : str or Path
        A folder of images.
    labels : str or Path
        A folder of label images matched by stem, or a COCO file. If any object of the
        file is marked as reviewed, the objects that are not do not count, and nor does
        the ground around them; else everything counts. Crowd regions, and objects that
        have only a box, never count.
    class_name : str, optional
        The class of the objects of label images; by default the model's only class.

    Raises
    ------
    ValueError
        When nothing matches, or sizes disagree.
    """
    images, labels = Path(images), Path(labels)
    if labels.is_file():
        if class_name is not None:
            raise ValueError("a COCO file has classes: class_name is for label images")
        return _read_coco(images, labels)
    names = () if class_name is None else (class_name,)
    return [
        annotated_image(
            image.stem, read_image(image), read_image(label), class_names=names
        )
        for image, label in pair_files(images, labels)
    ]


def _read_coco(folder: Path, file: Path) -> list[AnnotatedImage]:
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    dataset = read_coco(file, folder=folder)
    class_names = tuple(category.name for category in dataset.categories)
    found = [image for image in dataset.images if image.path is not None]
    if not found:
        raise ValueError(f"no image of {file.name} is in {folder}")
    by_mark = any(image.to_objects().reviewed.any() for image in found)
    return [_from_coco(image, class_names, by_mark) for image in found]


def _from_coco(
    image: CocoImage, class_names: tuple[str, ...], by_mark: bool
) -> AnnotatedImage:
    objects: CocoObjects = image.to_objects()
    whole = ~objects.crowd & (objects.runs.areas() > 0)
    counted = objects.select(whole)
    label_image = counted.to_label_image()
    unsure = objects.select(~whole)
    unknown = np.zeros(label_image.shape, np.bool_)
    if len(unsure):
        unknown = unsure.to_label_image(crowd=True, fill_boxes=True) > 0
    class_ids = np.ones(int(label_image.max(initial=0)) + 1, np.int64)
    present = counted.ids < len(class_ids)
    class_ids[counted.ids[present]] = [
        class_names.index(objects.class_names[class_id - 1]) + 1
        for class_id in counted.class_ids[present]
    ]
    reviewed = region = None
    if by_mark:
        reviewed = counted.ids[counted.reviewed]
    elif unknown.any():
        reviewed, region = counted.ids, ~unknown
    return annotated_image(
        Path(image.file_name).stem,
        read_image(image.path or image.file_name),
        label_image,
        class_ids,
        class_names=class_names,
        reviewed=reviewed,
        region=region,
    )
