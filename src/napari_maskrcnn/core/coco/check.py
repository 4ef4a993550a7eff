"""Checking COCO files."""

from __future__ import annotations

from pathlib import Path

from napari_maskrcnn.core.coco.errors import CocoError, Fault
from napari_maskrcnn.core.coco.files import image_size
from napari_maskrcnn.core.coco.read import read_coco


def check(path: str | Path, *, folder: str | Path | None = None) -> tuple[Fault, ...]:
    """Return every fault of a COCO file, each with what reading does about it.

    Parameters
    ----------
    path : str or Path
        The file.
    folder : str or Path, optional
        Where its images are; the file's own folder if not given.

    Returns
    -------
    tuple of Fault
        Empty if all is well.  A file that cannot be read at all has one fault.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    try:
        dataset = read_coco(path, folder=folder)
    except CocoError as error:
        return (Fault(Path(path).name, str(error), "not read"),)
    faults = list(dataset.faults)
    for image in dataset.images:
        if image.path is None:
            continue
        size = image_size(image.path)
        height, width = image.to_objects().image_shape
        if size is None:
            faults.append(Fault(str(image.file_name), "is no readable image", "left"))
        elif size != (height, width):
            what = f"the file has {size[0]} x {size[1]} pixels, COCO {height} x {width}"
            faults.append(Fault(str(image.file_name), what, "not resized"))
    return tuple(faults)
