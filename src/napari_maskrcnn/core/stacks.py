"""Stacks in files: videos and z-stacks, segmented plane by plane."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .atomic import replacing
from .batch import FileResult, drawn_over, object_columns, object_rows
from .images import LABELS_ENDING, MAX_CHANNELS, TIFF_SUFFIXES, image_plane
from .label_images import MAX_UINT16
from .progress import Progress, relay
from .steady import Pace, SteadySize, frame_words

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .detector import Detector
    from .instances import Instances
    from .recipe import Recipe

COLOURS = (3, 4)
# Letters that a TIFF may give its first axis where it is one of planes.
PLANE_LETTERS = ("T", "Z")


def is_stack(path: Path, image: NDArray[Any], *, stack: bool | None = None) -> bool:
    """Whether the first axis of an image file is one of frames or planes.

    The first of these that applies decides:

    1. what the person says (`stack`);
    2. the file itself: a GIF's pictures are frames, and a TIFF may name its axes (as
       ImageJ and OME-TIFF do): T or Z first means frames, any other known name not;
    3. the shape: (T, Y, X, 3|4), (T, C, Y, X) and (T, Y, X, C) with up to 8 channels
       are stacks, and (T, Y, X) is where both T and X are more than 8.  A first or
       last axis of up to 8 is taken for channels: say so when it is not.

    Parameters
    ----------
    path : Path
        The file that was read.
    image : ndarray
        As it was read.
    stack : bool, optional
        What the person says.

    Raises
    ------
    ValueError
        When the person says that it is a stack, and its shape says that it cannot be,
        or when it has more axes than one of planes beside those of an image.
    """
    if stack is True and image.ndim not in (3, 4):
        raise ValueError(
            f"{path.name} is no stack (T, Y, X) or (T, Y, X, 3): its shape is "
            f"{image.shape}"
        )
    if stack is not None or image.ndim not in (3, 4):
        return bool(stack)
    if image.ndim == 4:
        if min(image.shape[1], image.shape[3]) > MAX_CHANNELS:
            raise ValueError(
                f"{path.name} has two axes of planes: its shape is {image.shape}. "
                "Save one stack (T, Y, X) of it"
            )
        return True
    if path.suffix.lower() == ".gif":
        return image.shape[2] not in COLOURS
    letters = _axis_letters(path) if path.suffix.lower() in TIFF_SUFFIXES else ""
    if len(letters) == image.ndim and letters[0] not in "QI":
        return letters[0] in PLANE_LETTERS
    return bool(min(image.shape[0], image.shape[2]) > MAX_CHANNELS)


def _axis_letters(path: Path) -> str:
    import tifffile

    with tifffile.TiffFile(path) as file:
        return str(file.series[0].axes) if file.series else ""


def segment_stack(
    detector: Detector,
    path: Path,
    stack: NDArray[Any],
    out: Path,
    recipe: Recipe,
    now: Progress,
) -> Generator[Progress, None, FileResult]:
    """Segment the planes of a stack, and write what was found.

    For ``a.tif``: ``a_labels.tif``, shape (T, H, W); ``a_objects.csv``, with a column
    ``frame``; ``a_overlay.tif``, a page a frame.  A model without masks has no label
    images to write.  Ids are unique over the whole stack; frames are not linked.  An
    automatic object size is measured on the first frames and then kept (see
    `core.steady`).

    Parameters
    ----------
    detector : Detector
        The model.
    path : Path
        The file of the stack.
    stack : ndarray
        Shape (T, H, W), (T, H, W, C) or (T, C, H, W).
    out : Path
        Folder for the results.
    recipe : Recipe
        The settings.
    now : Progress
        How far the files have come; the frame is added to its message.

    Returns
    -------
    FileResult
        With `frames`.
    """
    size = SteadySize(recipe, has_size=detector.native_size is not None)
    object_size: float | None = None
    pace, taken = Pace(), 0
    frames: list[Instances] = []
    with replacing(out / f"{path.stem}_overlay.tif", keep_suffix=True) as drawn:
        for index, image in enumerate(stack):
            words = f"{now.message}: {frame_words(index, len(stack), pace)}"
            encoding, kept = yield from relay(
                detector.segment(image, size.recipe),
                partial(Progress, now.done, now.total, words),
            )
            object_size = encoding.object_size
            size.saw(object_size, kept)
            instances = recipe.apply(kept)
            instances = replace(instances, ids=np.arange(len(instances)) + taken + 1)
            taken += len(instances)
            frames.append(instances)
            plane = image_plane(image, channel=recipe.channel)
            _add_page(drawn, drawn_over(plane, instances), first=index == 0)
            pace.step()
    if frames[0].has_masks:
        write_label_stack(out / f"{path.stem}{LABELS_ENDING}.tif", frames)
    write_frames(out / f"{path.stem}_objects.csv", frames)
    return FileResult(path, None, object_size, frames=tuple(frames))


def _add_page(path: Path, picture: NDArray[np.uint8], *, first: bool) -> None:
    import tifffile

    tifffile.imwrite(
        path,
        picture,
        append=not first,
        photometric="rgb",
        compression="zlib",
        metadata=None,
    )


def write_label_stack(path: Path, frames: Sequence[Instances]) -> None:
    """Write the label images of frames as one TIFF, (T, H, W), atomically."""
    import tifffile

    highest = max((int(x.ids.max(initial=0)) for x in frames), default=0)
    dtype = np.uint16 if highest <= MAX_UINT16 else np.int32
    label_images = np.stack([x.to_label_image(dtype) for x in frames])
    with replacing(path, keep_suffix=True) as temporary:
        # Said, since three frames would be taken for the colours of one.
        tifffile.imwrite(
            temporary,
            label_images,
            photometric="minisblack",
            compression="zlib",
            metadata={"axes": "TYX"},
        )


def write_frames(path: Path, frames: Sequence[Instances]) -> None:
    """Write the objects of frames as CSV, atomically; as `batch.write_objects` does."""
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["frame", *object_columns(frames[0])])
        for index, instances in enumerate(frames):
            writer.writerows([index, *row] for row in object_rows(instances))
