"""How large are the objects? A quick first pass, so that a person need not say."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
from torchvision.ops import batched_nms

from .box_head import find_boxes
from .encoding import EncodedWindow, encode_window, rescale
from .scaling import alike, network_scale, network_shape
from .tiling import Window

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch
    from numpy.typing import NDArray
    from torchvision.models.detection import FasterRCNN

# Object sizes, in pixels of the image, that the passes assume, the commonest first. A
# network trained with scale jitter finds objects within a factor of two of each.
ASSUMED_SIZES = (24.0, 60.0, 12.0, 140.0)
# Side of the parts of a large image that are looked at, in network pixels.
SAMPLE_SIDE = 512
SAMPLES = 3
SURE_SCORE = 0.7
OVERLAP = 0.3
ENOUGH_OBJECTS = 5
# A size this close to the one assumed needs no other pass: it serves as the encoding.
REUSED_FACTOR = 1.3
# What a pass measured is assumed next, within these bounds, in pixels.
SMALLEST, LARGEST = 4.0, 400.0
# Objects stand out: the grey levels in and around a box vary at least so much, as a
# part of how much they vary in the whole image. In an empty ground magnified six times
# the noise looks like small objects.
LEAST_CONTRAST = 0.25


@dataclass(frozen=True, slots=True)
class SizeEstimate:
    """How large the objects of an image are.

    Parameters
    ----------
    object_size : float
        The median square root of the box areas, in pixels of the image.
    assumed : float
        The size that the pass assumed which found it.
    encoded : EncodedWindow or None
        What that pass made of the whole image, if it is small and the sizes are so
        close that another pass would gain nothing.
    """

    object_size: float
    assumed: float
    encoded: EncodedWindow | None = None


@dataclass(frozen=True, slots=True)
class _Pass:
    """The sure boxes at one assumed size: sides in image pixels, scores, contrast."""

    sides: NDArray[np.float64]
    scores: NDArray[np.float64]
    contrast: NDArray[np.float64]
    encoded: EncodedWindow | None


_Rated = tuple[bool, float, SizeEstimate]


def estimate_object_size(
    network: FasterRCNN,
    plane: NDArray[np.float32],
    native_size: float,
    precision: torch.dtype,
    usual_size: float | None = None,
) -> Generator[None, None, SizeEstimate]:
    """Find the typical size of the objects in an image.

    The boxes that the network is sure of are measured under several assumed sizes, on
    the parts of the image with the most contrast. A pass that finds many objects of
    another size than the one assumed leads to a pass that assumes what it measured. The
    pass wins that finds most objects, weighted by their scores, their contrast and a
    little by their size: of a cluster of small objects a coarse pass makes one large
    box, of a large object a fine pass makes a few small ones.

    Parameters
    ----------
    network : FasterRCNN
        In evaluation mode.
    plane : ndarray
        Shape (H, W, 3), float32 in [0, 1].
    native_size : float
        Object size in network pixels at which the network is best.
    precision : torch.dtype
        Of the trunk.
    usual_size : float, optional
        The object size in pixels of the images that the network learnt from. It is
        assumed first, and right if the objects found with it are of that size, however
        few: for the wrinkles of a date a network of dates has a name too.

    Yields
    ------
    None
        After each part of the work.

    Returns
    -------
    SizeEstimate
        Of the first assumed size where nothing was found, and of what the weightiest
        pass measured where none is trusted.
    """
    sizes = _assumed(usual_size)
    # Whether a pass is trusted, its weight, and what it measured. Of a few objects
    # between two assumed sizes none is trusted.
    best = (False, 0.0, SizeEstimate(sizes[0], sizes[0]))
    if not np.ptp(plane):
        # An even ground: a dead frame, a single pixel. Nothing in it has a size.
        return best[2]
    least_contrast = LEAST_CONTRAST * float(plane.mean(axis=2).std())
    waiting, tried = deque(sizes), list[float]()
    measured = sizes[0]
    while waiting:
        assumed = waiting.popleft()
        tried.append(assumed)
        scale = native_size / assumed
        seen = yield from _look(network, plane, scale, least_contrast, precision)
        if not len(seen.sides):
            continue
        size = _weighted_median(seen.sides, seen.scores)
        many = len(seen.sides) >= ENOUGH_OBJECTS
        weight = float((np.sqrt(seen.sides) * seen.scores * seen.contrast).sum())
        if not alike(size, assumed):
            # Within the bounds first: what lies beyond them would be new for ever.
            next_size = min(max(size, SMALLEST), LARGEST)
            if many and not any(alike(next_size, x) for x in tried):
                measured = next_size
                waiting.appendleft(measured)
            best = _better(best, (False, weight, SizeEstimate(next_size, assumed)))
            continue
        close = alike(network_scale(size, native_size), scale, REUSED_FACTOR)
        estimate = SizeEstimate(size, assumed, seen.encoded if close else None)
        # The commonest size, or one that two passes agree on.
        if (many and assumed in (sizes[0], measured)) or assumed == usual_size:
            return estimate
        best = _better(best, (weight > 0, weight, estimate))
    return best[2]


def _better(best: _Rated, other: _Rated) -> _Rated:
    """The trusted one, then the weightier one, then the first."""
    return other if other[:2] > best[:2] else best


def _assumed(usual_size: float | None) -> tuple[float, ...]:
    """The sizes to assume, one after the other; two that are nearly equal tell one."""
    if usual_size is None:
        return ASSUMED_SIZES
    others = (x for x in ASSUMED_SIZES if not alike(x, usual_size, REUSED_FACTOR))
    return usual_size, *others


def _look(
    network: FasterRCNN,
    plane: NDArray[np.float32],
    scale: float,
    least_contrast: float,
    precision: torch.dtype,
) -> Generator[None, None, _Pass]:
    sides, scores, contrasts = [], [], []
    parts = _samples(plane, max(8, round(SAMPLE_SIDE / scale)))
    for part in parts:
        shape = network_shape(part.shape[:2], scale)
        window = Window((0, 0, *shape), (0, 0, *shape))
        encoded = yield from encode_window(
            network, rescale(part, shape), window, precision
        )
        found = find_boxes(network, encoded, precision)
        encoded = replace(encoded, found=found)
        boxes, box_scores = found.boxes, found.scores
        kept = batched_nms(boxes, box_scores, found.class_ids, OVERLAP)
        kept = kept[box_scores[kept] >= SURE_SCORE]
        places = boxes[kept].cpu().double().numpy() / scale
        contrast = _contrast(part.mean(axis=2), places)
        stands_out = contrast >= least_contrast
        lengths = np.sqrt((places[:, 2:] - places[:, :2]).prod(axis=1))
        sides.append(lengths[stands_out])
        scores.append(box_scores[kept].cpu().double().numpy()[stands_out])
        contrasts.append(contrast[stands_out])
    whole = encoded if parts[0] is plane else None
    return _Pass(
        np.concatenate(sides), np.concatenate(scores), np.concatenate(contrasts), whole
    )


def _contrast(
    grey: NDArray[np.float32], boxes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the standard deviation of the grey levels in each box and around it."""
    margin = 0.15 * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    # A box may lie on what fills the last stride, beyond the image.
    last = np.array(grey.shape[::-1]) - 1
    first = np.floor(boxes[:, :2] - margin[:, None]).clip(0, last)
    x0, y0 = first.astype(int).T
    x1, y1 = np.ceil(boxes[:, 2:] + margin[:, None]).clip(first + 1).astype(int).T
    return np.array(
        [
            float(grey[top:bottom, left:right].std())
            for top, bottom, left, right in zip(y0, y1, x0, x1, strict=True)
        ],
        np.float64,
    )


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
