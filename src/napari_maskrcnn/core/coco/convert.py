"""Label images to COCO and back, file by file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from napari_maskrcnn.core.coco.document import CocoImage, Source
from napari_maskrcnn.core.coco.errors import Fault
from napari_maskrcnn.core.coco.read import read_coco
from napari_maskrcnn.core.coco.write import write_coco
from napari_maskrcnn.core.images import (
    LABELS_ENDING,
    image_files,
    read_image,
    write_array,
)

if TYPE_CHECKING:
    from napari_maskrcnn.core.coco.segmentations import Mode
    from napari_maskrcnn.core.coco.writer import WriteSummary


def labels_to_coco(
    labels: Path, out: Path, *, images: Path | None = None, mode: Mode = "auto"
) -> WriteSummary:
    """Write the objects of label images as one COCO file.

    Parameters
    ----------
    labels : Path
        A label image, or a folder of them; an ending ``_labels`` of the stem is left
        out of the image's name.
    out : Path
        The COCO file.
    images : Path, optional
        Folder of the images, whose file names are then written; without it, the names
        of the label images are. A file below the folder of ``out`` is named by its way
        from there, so that every reader finds it; others by their name alone.
    mode : str
        As of `write_coco`.

    Raises
    ------
    ValueError
        When there is no label image, or one is not of two axes and integers.
    """
    files = image_files(labels) if labels.is_dir() else [labels]
    if not files:
        raise ValueError(f"there is no label image in {labels}")
    known = {path.stem: path for path in image_files(images)} if images else {}
    rows = []
    for path in files:
        label_image = read_image(path)
        if label_image.ndim != 2 or label_image.dtype.kind not in "bui":
            raise ValueError(
                f"{path.name} is no label image: it has shape {label_image.shape} and "
                f"dtype {label_image.dtype}, not two axes of integers"
            )
        image = known.get(path.stem.removesuffix(LABELS_ENDING), path)
        source = Source(path=image.name, dtype=label_image.dtype.name)
        rows.append(
            CocoImage(_name_from(out.parent, image), label_image, source=source)
        )
    return write_coco(out, rows, mode=mode)


def _name_from(folder: Path, file: Path) -> str:
    folder, path = folder.resolve(), file.resolve()
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    return file.name


def coco_to_labels(path: Path, out: Path) -> tuple[list[Path], tuple[Fault, ...]]:
    """Write the objects of a COCO file as label images, ``NAME_labels.tif`` each.

    Returns
    -------
    files : list of Path
        What was written.
    faults : tuple of Fault
        What was wrong with the file, and where objects overlap: a label image has one
        object a pixel.
    """
    dataset = read_coco(path)
    out.mkdir(parents=True, exist_ok=True)
    faults, files = list(dataset.faults), []
    for image in dataset.images:
        # The stem alone: a file name may never lead out of the folder.
        stem = PurePosixPath(str(image.file_name).replace("\\", "/")).stem
        target = out / f"{stem or 'image'}{LABELS_ENDING}.tif"
        if target in files:
            target = target.with_name(f"{stem}_{image.id}{LABELS_ENDING}.tif")
        label_image = image.to_label_image()
        hidden = int(image.to_objects().runs.areas().sum()) - np.count_nonzero(
            label_image
        )
        if hidden:
            what = f"objects overlap on {hidden} pixels"
            faults.append(Fault(str(image.file_name), what, "one has each pixel"))
        write_array(target, label_image)
        files.append(target)
    return files, tuple(faults)
