"""Many images, one after the other; every result is on disk as soon as it is there."""

from __future__ import annotations

import csv
import os
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .atomic import replacing
from .coco import CocoImage, Source, plane_images, write_coco
from .images import (
    LABELS_ENDING,
    image_files,
    image_plane,
    read_image,
    write_array,
)
from .outlines import outlines
from .progress import Progress, relay

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from .detector import Detector
    from .instances import Instances
    from .recipe import Recipe

ANNOTATIONS_NAME, RECIPE_NAME = "annotations.coco.json", "recipe.json"


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one image file.

    Parameters
    ----------
    path : Path
        The image.
    instances : Instances or None
        Its objects; None when it failed.
    object_size : float or None
        In pixels, as used; None for a model without one.
    error : str
        Why it failed; empty when it did not.
    frames : tuple of Instances
        Of a stack the objects of each frame, in place of `instances`.
    """

    path: Path
    instances: Instances | None
    object_size: float | None = None
    error: str = ""
    frames: tuple[Instances, ...] = ()


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Expand folders into their image files and check that results get distinct names.

    Raises
    ------
    FileNotFoundError
        When a path does not exist.
    ValueError
        When a folder holds no image, or two files have the same stem.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = image_files(path)
            if not inside:
                raise ValueError(f"there is no image in the folder {path}")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise FileNotFoundError(f"no such image file: {path}")
    twice = [stem for stem, n in Counter(path.stem for path in found).items() if n > 1]
    if twice:
        raise ValueError(
            f"two images are named {twice[0]!r}, and their results would overwrite "
            "each other; segment them into different folders"
        )
    return found


def segment_files(
    detector: Detector,
    paths: Sequence[Path],
    out: Path,
    recipe: Recipe,
    *,
    stack: bool | None = None,
) -> Generator[Progress | FileResult, None, list[FileResult]]:
    """Segment image files and write what was found.

    For each image ``a.png``: ``a_labels.tif``, ``a_objects.csv`` and ``a_overlay.png``;
    for all: ``annotations.coco.json`` and ``recipe.json``. A model that gives boxes
    only has no label images to write, and its overlays show the boxes. A file that is
    no image does not stop the others; where there is no other, nothing is written.

    Parameters
    ----------
    detector : Detector
        The model.
    paths : sequence of Path
        The files.
    out : Path
        Folder for the results.
    recipe : Recipe
        The settings.
    stack : bool, optional
        Whether the files are stacks; by default `stacks.is_stack` decides.  What is
        written for one is said at `stacks.segment_stack`.

    Yields
    ------
    Progress or FileResult
        Progress inside an image, and the result of each.

    Returns
    -------
    list of FileResult
        In the order of the paths.
    """
    out.mkdir(parents=True, exist_ok=True)
    results: list[FileResult] = []
    for index, path in enumerate(paths):
        try:
            now = Progress(index, len(paths), path.name)
            result = yield from _segment_file(detector, path, out, recipe, stack, now)
        except ValueError as error:
            result = FileResult(path, None, error=str(error))
        results.append(result)
        yield result
    if all(result.error for result in results):
        # What an earlier run wrote for the folder stays.
        return results
    # With the numbers that were used: the model's own may be others some day.
    replace(
        recipe,
        score_threshold=recipe.score_threshold_for(detector.score_threshold),
        nms_threshold=recipe.nms_threshold_for(detector.nms_threshold),
    ).write(out / RECIPE_NAME)
    write_coco(
        out / ANNOTATIONS_NAME,
        [image for result in results for image in _coco_images(result, out)],
    )
    return results


def _segment_file(
    detector: Detector,
    path: Path,
    out: Path,
    recipe: Recipe,
    stack: bool | None,
    now: Progress,
) -> Generator[Progress, None, FileResult]:
    # It builds on this module.
    from .stacks import is_stack, segment_stack

    image = read_image(path)
    if is_stack(path, image, stack=stack):
        return (yield from segment_stack(detector, path, image, out, recipe, now))
    encoding, kept = yield from relay(detector.segment(image, recipe), lambda: now)
    instances = recipe.apply(kept)
    if instances.has_masks:
        label_image = instances.to_label_image()
        write_array(out / f"{path.stem}{LABELS_ENDING}.tif", label_image)
    write_objects(out / f"{path.stem}_objects.csv", instances)
    plane = image_plane(image, channel=recipe.channel)
    write_array(out / f"{path.stem}_overlay.png", drawn_over(plane, instances))
    return FileResult(path, instances, encoding.object_size)


def _coco_images(result: FileResult, out: Path) -> list[CocoImage]:
    """Return the COCO image of a file, of a stack one for each frame."""
    path = result.path
    relative = Path(os.path.relpath(path.resolve(), out.resolve()))
    if result.frames:
        return plane_images(relative, result.frames)
    if result.instances is None:
        return []
    # Readers look beside the annotations; the whole way there is in ``source``.
    return [CocoImage(path.name, result.instances, source=Source(relative.as_posix()))]


def write_objects(path: Path, instances: Instances) -> None:
    """Write the table of objects as CSV, atomically: id, class, score, area, box.

    Where there are keypoints, x, y and score of each follow, in pixels of the image.
    """
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(object_columns(instances))
        writer.writerows(object_rows(instances))


def object_columns(instances: Instances) -> list[str]:
    """Return the names of the columns of `object_rows`."""
    columns = [*instances.features(), "x_min", "y_min", "x_max", "y_max"]
    if instances.keypoints is not None and instances.skeleton is not None:
        columns += [
            f"{name}_{part}"
            for name in instances.skeleton.names
            for part in ("x", "y", "score")
        ]
    return columns


def object_rows(instances: Instances) -> Iterator[list[Any]]:
    """Return the rows of a table of objects."""
    points = np.zeros((len(instances), 0), np.float32)
    if instances.keypoints is not None:
        points = instances.keypoints.reshape(len(instances), -1)
    columns = instances.features().values()
    for row in zip(*columns, instances.boxes, points, strict=True):
        index, name, score, area, box, places = row
        figures = [f"{value:.2f}" for value in (*box, *places)]
        yield [index, name, f"{score:.4f}", area, *figures]


def drawn_over(plane: NDArray[np.float32], instances: Instances) -> NDArray[np.uint8]:
    """Draw objects over an image: their masks, or their boxes where there are none."""
    if instances.has_masks:
        return overlay(plane, instances.to_label_image())
    return overlay(plane, outlines(instances))


def overlay(plane: NDArray[np.float32], label_image: NDArray[Any]) -> NDArray[np.uint8]:
    """Draw objects over an image: a faint fill and a crisp outline, a colour each.

    Parameters
    ----------
    plane : ndarray
        Shape (H, W, 3), float32 in [0, 1].
    label_image : ndarray
        Shape (H, W), integers, 0 = background.

    Returns
    -------
    ndarray
        Shape (H, W, 3), uint8.
    """
    from skimage.color import label2rgb
    from skimage.segmentation import find_boundaries

    # Without a colour of its own the ground is not darkened.
    draw = partial(
        label2rgb, label_image, plane, bg_label=0, bg_color=None, saturation=1
    )
    filled, crisp = draw(alpha=0.25), draw(alpha=1.0)
    edges = find_boundaries(label_image, mode="inner")
    filled[edges] = crisp[edges]
    drawn: NDArray[np.uint8] = (filled * 255 + 0.5).astype(np.uint8)
    return drawn
