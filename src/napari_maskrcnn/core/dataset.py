"""Annotated images: read, paired, and weighed against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
from scipy import ndimage
from skimage.segmentation import relabel_sequential

from .images import image_files, image_plane, is_8_bit_colour, read_image
from .reviewed import UNREVIEWED, mark_unreviewed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

DEFAULT_OBJECT_SIZE = 24.0


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image with its instances.

    Parameters
    ----------
    name : str
        For messages and splits.
    image : ndarray
        Shape (H, W, 1) or (H, W, 3), float16 in [0, 1], scaled by percentiles.
    label_image : ndarray
        Shape (H, W), int32; 0 is background, `UNREVIEWED` what nobody looked at: there
        nothing is learnt and nothing judged.
    class_ids : ndarray
        Shape (max label + 1,), int64: the class of each label.
    object_size : float
        Median over the objects of the square root of their box area, in pixels.
    class_names : tuple of str
        The names of classes 1, 2 ...; empty where the labels have no classes.
    photograph : ndarray or None
        Shape (H, W, 3), uint8: the image as it came, if it came so. Models that see
        whole images see 8-bit colours unscaled.
    """

    name: str
    image: NDArray[np.float16]
    label_image: NDArray[np.int32]
    class_ids: NDArray[np.int64]
    object_size: float
    class_names: tuple[str, ...] = ()
    photograph: NDArray[np.uint8] | None = None

    def seen(self, *, whole: bool) -> NDArray[Any]:
        """Return what a detector is to be given: (H, W, 1 or 3).

        Parameters
        ----------
        whole : bool
            By a model that sees whole images, which scales what it has to.
        """
        if whole and self.photograph is not None:
            return self.photograph
        return self.image

    @property
    def has_objects(self) -> bool:
        """Whether there is an object that counts."""
        return bool((self.label_image > 0).any())

    @property
    def appearance(self) -> str:
        """Group of alike images: "colour", "dark" or "light" (a grey ground)."""
        if self.image.shape[2] == 3:
            return "colour"
        # The ground is what no object covers; on a crowded image, all there is.
        ground = self.image[..., 0][self.label_image == 0]
        return "dark" if not ground.size or np.median(ground) < 0.5 else "light"


def annotated_image(
    name: str,
    image: NDArray[Any],
    label_image: NDArray[Any],
    class_ids: NDArray[np.int64] | None = None,
    *,
    class_names: Sequence[str] = (),
    reviewed: Sequence[int] | NDArray[np.int64] | None = None,
    region: NDArray[np.bool_] | None = None,
) -> AnnotatedImage:
    """Check an image and its labels and prepare them for training.

    Parameters
    ----------
    name, image, label_image
        As `AnnotatedImage` keeps them; the image in any form that
        `core.images.image_plane` takes.
    class_ids : ndarray, optional
        Shape (max label + 1,): the class of each label; all 1 if not given.
    class_names : sequence of str
        Of classes 1, 2 ...; empty where the labels have no classes.
    reviewed : sequence of int, optional
        The labels that a person approved.
    region : ndarray, optional
        Shape (H, W), bool: where all is right, the background too. With neither
        `reviewed` nor `region` the whole image counts.

    Raises
    ------
    ValueError
        When sizes disagree, labels are negative or not integers, or no pixel of the
        image is a number.
    """
    plane = image_plane(image)
    if not np.isfinite(np.asarray(image)).any():
        raise ValueError(f"{name}: no pixel of the image is a number, all are NaN")
    labels = np.asarray(label_image)
    if labels.dtype.kind not in "bui":
        raise ValueError(f"{name}: labels must be integers, got dtype {labels.dtype}")
    if labels.shape != plane.shape[:2]:
        raise ValueError(
            f"{name}: the image is {plane.shape[:2]} pixels but its labels are "
            f"{labels.shape}"
        )
    if labels.size and labels.min() < 0:
        raise ValueError(f"{name}: labels must not be negative, got {labels.min()}")
    if (plane[..., 0] == plane[..., 1]).all() and (
        plane[..., 0] == plane[..., 2]
    ).all():
        plane = plane[..., :1]
    marked = mark_unreviewed(labels, reviewed, region, name)
    compact, class_ids = _compact(np.where(marked > 0, marked, 0), class_ids)
    size = object_size(compact if compact.any() else _compact(labels, None)[0])
    compact[marked < 0] = UNREVIEWED
    raw = np.asarray(image)
    return AnnotatedImage(
        name,
        plane.astype(np.float16),
        compact,
        class_ids,
        size,
        tuple(class_names),
        raw[..., :3] if is_8_bit_colour(raw) else None,
    )


def _compact(
    labels: NDArray[Any], class_ids: NDArray[np.int64] | None
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Close the gaps between labels: views are sampled in float32, exact to 2^24."""
    compact, _, back = relabel_sequential(labels.astype(np.uint64))
    if class_ids is None:
        class_ids = np.ones(int(compact.max()) + 1, np.int64)
    else:
        class_ids = class_ids[np.asarray(back)]
    return compact.astype(np.int32), class_ids


def object_size(label_image: NDArray[Any]) -> float:
    """Return the median square root of the objects' box areas, in pixels."""
    sides = [
        (rows.stop - rows.start) * (columns.stop - columns.start)
        for rows, columns in filter(None, ndimage.find_objects(label_image))
    ]
    return float(np.sqrt(np.median(sides))) if sides else DEFAULT_OBJECT_SIZE


def pair_files(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    """Match the images of a folder with the label images of another by stem.

    Raises
    ------
    ValueError
        When a folder is missing or no two stems match.
    """
    found = image_files(images)
    label_files = {path.stem: path for path in image_files(labels)}
    pairs = [
        (path, label_files[path.stem]) for path in found if path.stem in label_files
    ]
    if not pairs:
        raise ValueError(
            f"no image in {images} has a label image of the same name in {labels}"
        )
    return pairs


def read_pairs(images: Path, labels: Path) -> list[AnnotatedImage]:
    """Read the annotated images of two folders; errors as of `pair_files`."""
    return [
        annotated_image(image.stem, read_image(image), read_image(label))
        for image, label in pair_files(images, labels)
    ]


def sampling_weights(
    annotated: Sequence[AnnotatedImage], balance: float
) -> NDArray[np.float64]:
    """Return how often each image is drawn, so that rare appearances are not lost.

    Parameters
    ----------
    annotated : sequence of AnnotatedImage
        The training images.
    balance : float
        A group of n alike images is drawn with weight n to this power: 1 is plain
        sampling, 0 gives every group the same weight.

    Returns
    -------
    ndarray
        Shape (images,), summing to 1.
    """
    _groups, members, counts = np.unique(
        [item.appearance for item in annotated], return_inverse=True, return_counts=True
    )
    weights = (counts**balance / counts)[members]
    return np.asarray(weights / weights.sum(), np.float64)
