"""How large are the objects? A quick first pass, so that a person need not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
from torchvision.ops import batched_nms

from .encoding import encode_window, rescale
from .heads import detect_boxes
from .tiling import Window

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch
    from numpy.typing import NDArray
    from torchvision.models.detection import MaskRCNN

# Object sizes, in pixels of the image, that the passes assume, the commonest first. A
# network trained with scale jitter finds objects within a factor of two of each.
ASSUMED_SIZES = (24.0, 60.0, 12.0, 140.0)
# Side of the parts of a large image that are looked at, in network pixels.
SAMPLE_SIDE = 512
SAMPLES = 3
SURE_SCORE = 0.7
OVERLAP = 0.3
ENOUGH_OBJECTS = 5
# A found size this close to the assumed one is trusted; else the next pass decides.
TRUSTED_FACTOR = 1.7


def estimate_object_size(
    network: MaskRCNN,
    plane: NDArray[np.float32],
    native_size: float,
    precision: torch.dtype,
) -> Generator[None, None, float]:
    """Find the typical size of the objects in an image.

    The boxes that the network is sure of are measured under several assumed sizes, on
    the parts of the image with the most contrast. The pass wins whose boxes, weighted
    by their scores, cover most of the image.

    Parameters
    ----------
    network : MaskRCNN
        In evaluation mode.
    plane : ndarray
        Shape (H, W, 3), float32 in [0, 1].
    native_size : float
        Object size in network pixels at which the network is best.
    precision : torch.dtype
        Of the trunk.

    Yields
    ------
    None
        After each part of the work.

    Returns
    -------
    float
        The median square root of the box areas, in pixels of the image; the first
        assumed size where nothing was found.
    """
    best_size, best_cover = ASSUMED_SIZES[0], 0.0
    for assumed in ASSUMED_SIZES:
        sides, scores = yield from _sizes(
            network, plane, native_size / assumed, precision
        )
        if not len(sides):
            continue
        size = _weighted_median(sides, scores)
        trusted = 1 / TRUSTED_FACTOR <= size / assumed <= TRUSTED_FACTOR
        cover = float((sides**2 * scores).sum())
        if trusted and assumed == ASSUMED_SIZES[0] and len(sides) >= ENOUGH_OBJECTS:
            return size
        if trusted and cover > best_cover:
            best_size, best_cover = size, cover
    return best_size


def _sizes(
    network: MaskRCNN,
    plane: NDArray[np.float32],
    scale: float,
    precision: torch.dtype,
) -> Generator[None, None, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Sides, in pixels of the image, and scores of the sure boxes at one scale."""
    sides, scores = [], []
    for part in _samples(plane, max(8, round(SAMPLE_SIDE / scale))):
        shape = network_shape(part.shape[:2], scale)
        window = Window((0, 0, *shape), (0, 0, *shape))
        encoded = yield from encode_window(
            network, rescale(part, shape), window, precision
        )
        boxes, box_scores, class_ids = detect_boxes(
            network, encoded.features, encoded.proposals, shape, precision
        )
        kept = batched_nms(boxes, box_scores, class_ids, OVERLAP)
        kept = kept[box_scores[kept] >= SURE_SCORE]
        lengths = (boxes[kept, 2:] - boxes[kept, :2]).prod(dim=1).sqrt()
        sides.append(lengths.cpu().double().numpy() / scale)
        scores.append(box_scores[kept].cpu().double().numpy())
    return np.concatenate(sides), np.concatenate(scores)


def network_shape(image_shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    """Return the shape that an image is rescaled to.

    Sides are rounded to whole strides where that hardly changes the shape: torchvision
    would fill the rest of a stride with grey, which looks like nothing in the image.
    """
    if scale == 1:
        return image_shape[0], image_shape[1]
    height, width = (_side(length * scale) for length in image_shape[:2])
    return height, width


def _side(length: float) -> int:
    whole = max(32, 32 * round(length / 32))
    return whole if abs(whole - length) <= 0.04 * length else max(1, round(length))


def _samples(plane: NDArray[np.float32], side: int) -> list[NDArray[np.float32]]:
    """The whole plane if it is small, else its squares of the highest contrast."""
    height, width = plane.shape[:2]
    if height * width <= SAMPLES * side * side:
        return [plane]
    squares = [
        plane[y : y + side, x : x + side]
        for y in range(0, max(1, height - side // 2), side)
        for x in range(0, max(1, width - side // 2), side)
    ]
    contrast = [float(square[::4, ::4].std()) for square in squares]
    return [squares[i] for i in np.argsort(contrast)[::-1][:SAMPLES]]


def _weighted_median(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> float:
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, cumulated[-1] / 2)])
