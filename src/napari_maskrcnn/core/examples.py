"""What training sees of annotated images: random views, and their targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from scipy import ndimage
from skimage import measure
from torch.nn import functional

from .augmentation import Augmentation, augment_intensity, view_grid
from .nothing import draw_nothing
from .scaling import network_scale

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor

    from .dataset import AnnotatedImage

# What a crop's edge leaves of an object counts only from this size on, in pixels.
MIN_VISIBLE_AREA = 12
MIN_VISIBLE_SIDE = 3


def random_view(
    item: AnnotatedImage,
    rng: Generator,
    *,
    crop: int,
    native_size: float | None,
    augmentation: Augmentation,
    image_size: tuple[int, int] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw one training example: a square crop, rotated, scaled and recoloured.

    Parameters
    ----------
    item : AnnotatedImage
        Where to crop.
    rng : numpy Generator
        All randomness comes from here.
    crop : int
        Side of the crop in pixels that the network sees.
    native_size : float or None
        The network's own object size, in the same pixels; around the scale that goes
        with it (see `scaling.network_scale`) the scale is jittered.
    augmentation : Augmentation
        How strongly.
    image_size : tuple of int, optional
        In place of ``native_size``: shorter side, and limit of the longer, that the
        whole image would be resized to.

    Returns
    -------
    image : Tensor
        Shape (3, crop, crop), float32 in [0, 1].
    target : dict
        As torchvision's detection models take it: boxes (N, 4) xyxy, labels (N,),
        masks (N, crop, crop) uint8; and see `make_target`.
    """
    if augmentation.empty and rng.random() < augmentation.empty:
        nothing = np.zeros((crop, crop), np.int32)
        image = augment_intensity(draw_nothing(crop, rng), rng, augmentation)
        return image, make_target(nothing, item.class_ids)
    shape = item.label_image.shape
    scale = _scale(item, native_size, image_size) * augmentation.draw_scale(rng)
    grid = view_grid(
        shape, _centre(item, rng), scale, crop, rng, upright=augmentation.upright
    )
    pixels = torch.from_numpy(_values(item, image_size)).permute(2, 0, 1)[None]
    image = functional.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )[0]
    labels = functional.grid_sample(
        torch.from_numpy(item.label_image.astype(np.float32))[None, None],
        grid, mode="nearest", padding_mode="reflection", align_corners=False,
    )[0, 0].numpy().astype(np.int32)  # fmt: skip
    outside = (grid[0].abs() > 1).any(dim=2).numpy()
    labels, class_ids = _copies_apart(labels, item.class_ids, outside)
    image = augment_intensity(image.expand(3, -1, -1), rng, augmentation)
    return image, make_target(labels, class_ids)


def _scale(
    item: AnnotatedImage,
    native_size: float | None,
    image_size: tuple[int, int] | None,
) -> float:
    """Return how many pixels the network sees a pixel of the image."""
    if image_size is not None:
        height, width = item.label_image.shape
        shorter, limit = image_size
        return float(min(shorter / min(height, width), limit / max(height, width)))
    if native_size is None:
        raise ValueError("a view needs an object size or an image size")
    return network_scale(item.object_size, native_size)


def _values(
    item: AnnotatedImage, image_size: tuple[int, int] | None
) -> NDArray[np.float32]:
    """Return (H, W, 1 or 3), float32 in [0, 1]."""
    seen = item.seen(whole=image_size is not None)
    values: NDArray[np.float32] = seen.astype(np.float32)
    return values / np.float32(255) if seen.dtype == np.uint8 else values


def _copies_apart(
    labels: NDArray[np.int32], class_ids: NDArray[np.int64], outside: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Give the mirror images of objects, beyond the image's edge, labels of their own.

    With the label of the object itself, the two would be one object in one large box,
    and what is found of either would be taken for background.
    """
    mirrored = np.unique(labels[outside & (labels > 0)])
    if not mirrored.size:
        return labels, class_ids
    # Apart only where they do not touch: at the edge the two look like one.
    copies, count = measure.label(
        np.where(np.isin(labels, mirrored), labels, 0), return_num=True, connectivity=2
    )
    places = ndimage.maximum(labels, copies, np.arange(1, count + 1)).astype(np.int64)
    offset = len(class_ids) - 1
    apart = np.where(copies > 0, copies + offset, labels).astype(np.int32)
    return apart, np.concatenate([class_ids, class_ids[places]])


def _centre(item: AnnotatedImage, rng: Generator) -> tuple[float, float]:
    """Mostly near an object, sometimes anywhere, so that empty ground is seen too."""
    height, width = item.label_image.shape
    if rng.random() < 0.8 and item.label_image.any():
        # A random pixel of the objects: large ones are not seen too rarely.
        ys, xs = np.nonzero(item.label_image[::3, ::3] > 0)
        if ys.size:
            pick = rng.integers(ys.size)
            return 3.0 * ys[pick], 3.0 * xs[pick]
    return rng.uniform(0, height), rng.uniform(0, width)


def make_target(
    label_image: NDArray[np.int32], class_ids: NDArray[np.int64]
) -> dict[str, Tensor]:
    """Turn a label image into torchvision's training target.

    Objects of which a crop's edge leaves next to nothing are dropped. Where a part was
    not reviewed, the target has a mask of it, "unreviewed"; see `core.reviewed`.
    """
    boxes, labels, masks = [], [], []
    for label, where in enumerate(ndimage.find_objects(label_image), start=1):
        if where is None:
            continue
        rows, columns = where
        inside = label_image[where] == label
        if inside.sum() < MIN_VISIBLE_AREA or min(inside.shape) < MIN_VISIBLE_SIDE:
            continue
        mask = np.zeros(label_image.shape, np.uint8)
        mask[where] = inside
        # Pixel edges: the maximum is one past the last pixel.
        boxes.append([columns.start, rows.start, columns.stop, rows.stop])
        labels.append(class_ids[label])
        masks.append(mask)
    target = {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(np.array(labels, np.int64)),
        "masks": torch.from_numpy(
            np.stack(masks) if masks else np.zeros((0, *label_image.shape), np.uint8)
        ),
    }
    unreviewed = label_image < 0
    if unreviewed.any():
        target["unreviewed"] = torch.from_numpy(unreviewed)
    return target
