"""Stacks as COCO images, one a plane, and data sets in two parts."""

from __future__ import annotations

import random
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_maskrcnn.core.coco.document import CocoImage, Source
from napari_maskrcnn.core.coco.objects import CocoObjects
from napari_maskrcnn.core.images import (
    HIGH_PERCENTILE,
    LOW_PERCENTILE,
    PERCENTILE_SAMPLES,
    write_array,
)
from napari_maskrcnn.core.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from napari_maskrcnn.core.instances import Instances


def plane_images(
    name: str | PurePath,
    planes: Sequence[np.ndarray | Instances | CocoObjects] | np.ndarray,
    *,
    axis: str = "t",
    suffix: str = ".png",
) -> list[CocoImage]:
    """Return one COCO image a plane of a stack, each with a name of its own.

    Parameters
    ----------
    name : str or PurePath
        File or layer of the stack: ``"cells.tif"`` gives ``"cells_t0000.png"`` ...
    planes : sequence or np.ndarray
        The objects of each plane, or a ``(T, H, W)`` or ``(Z, H, W)`` label image.
        In label images, one label is one object through all planes: its track.
    axis : str
        The axis of the planes: ``"t"`` or ``"z"``.
    suffix : str
        Extension of the files that hold the planes.

    Raises
    ------
    ValueError
        If an array is not three-dimensional, or `axis` is no letter.
    """
    if len(axis) != 1 or not axis.isalpha():
        raise ValueError(f"axis is one letter, for example 't' or 'z'; got {axis!r}")
    if isinstance(planes, np.ndarray) and planes.ndim != 3:
        raise ValueError(f"a stack of label images is (T, H, W), got {planes.shape}")
    digits = max(4, len(str(len(planes) - 1)))
    images = []
    for index, plane in enumerate(planes):
        dtype = plane.dtype.name if isinstance(plane, np.ndarray) else None
        objects: Instances | CocoObjects
        if isinstance(plane, np.ndarray):
            labels = np.unique(plane)
            objects = CocoObjects.from_label_image(plane, track_ids=labels[labels != 0])
        else:
            objects = plane
        file_name = f"{PurePath(name).stem}_{axis}{index:0{digits}d}{suffix}"
        source = Source(PurePath(name).as_posix(), axis, index, dtype)
        images.append(CocoImage(file_name, objects, source))
    return images


def write_planes(
    folder: str | Path,
    stack: Any,
    images: Sequence[CocoImage],
    *,
    bits: Literal[8, 16] = 8,
) -> Generator[Progress, None, None]:
    """Write the planes of a stack as the files that `images` name.

    Parameters
    ----------
    folder : str or Path
        Where the files go; it is made if it is not there.
    stack : array-like
        ``(T, H, W)`` or ``(T, H, W, 3)``, real; one plane is loaded at a time.
    images : sequence of CocoImage
        As many as the stack has planes, from `plane_images`.
    bits : int
        8, or 16 for TIFF.  Values that fit as they are stay; others are scaled between
        two percentiles of the whole stack, so that planes do not flicker.

    Yields
    ------
    Progress
        One a plane.

    Raises
    ------
    ValueError
        If the numbers of planes differ, or 16 bits are asked for in a PNG.
    """
    folder = Path(folder)
    if len(stack) != len(images):
        raise ValueError(f"{len(stack)} planes, but {len(images)} images")
    dtype = np.dtype(f"uint{bits}")
    for image in images:
        if bits == 16 and PurePath(image.file_name).suffix.lower() not in (
            ".tif",
            ".tiff",
        ):
            raise ValueError(f"16 bits need a TIFF, got {str(image.file_name)!r}")
    limits = None if _fits(np.dtype(stack.dtype), dtype) else _limits(stack)
    folder.mkdir(parents=True, exist_ok=True)
    for done, image in enumerate(images, start=1):
        plane = np.asarray(stack[done - 1])
        if limits is not None:
            low, high = limits
            scaled = np.nan_to_num((plane.astype(np.float64) - low) / (high - low))
            plane = np.rint(np.clip(scaled, 0, 1) * np.iinfo(dtype).max)
        write_array(folder / image.file_name, plane.astype(dtype))
        yield Progress(done, len(images), str(image.file_name))


def _fits(dtype: np.dtype[Any], into: np.dtype[Any]) -> bool:
    return dtype.kind in "bu" and dtype.itemsize <= into.itemsize


def _limits(stack: Any) -> tuple[float, float]:
    """Return two percentiles of a stack, from a sample of each plane."""
    samples = []
    for index in range(len(stack)):
        values = np.asarray(stack[index]).reshape(-1)
        stride = max(1, values.size * len(stack) // PERCENTILE_SAMPLES)
        values = values[::stride].astype(np.float64)
        samples.append(values[np.isfinite(values)])
    values = np.concatenate(samples) if samples else np.zeros(1)
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, (LOW_PERCENTILE, HIGH_PERCENTILE))
    if high <= low:
        low, high = values.min(), values.max()
    return float(low), float(high) if high > low else float(low) + 1


def split(
    images: Iterable[CocoImage], *, validation: float = 0.2, seed: int = 0
) -> tuple[list[CocoImage], list[CocoImage]]:
    """Divide images into a part to train on and one to validate on.

    Planes of one stack stay together: neighbours are so alike that one half would give
    the other away.

    Parameters
    ----------
    images : iterable of CocoImage
    validation : float
        Share of the images, or stacks, that go into the second part; in (0, 1).
    seed : int
        The same seed divides the same images the same way.

    Raises
    ------
    ValueError
        If `validation` is out of range or there are fewer than two images or stacks.
    """
    if not 0 < validation < 1:
        raise ValueError(f"validation is a share in (0, 1), got {validation}")
    images = list(images)
    groups = sorted({_group(image) for image in images})
    if len(groups) < 2:
        raise ValueError(f"a split needs two images or stacks, got {len(groups)}")
    random.Random(seed).shuffle(groups)  # noqa: S311 - no secret
    count = min(max(round(validation * len(groups)), 1), len(groups) - 1)
    chosen = set(groups[:count])
    train = [image for image in images if _group(image) not in chosen]
    return train, [image for image in images if _group(image) in chosen]


def _group(image: CocoImage) -> str:
    in_stack = image.source is not None and image.source.index is not None
    return image.source.path if image.source and in_stack else str(image.file_name)
