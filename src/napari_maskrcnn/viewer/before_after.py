"""Small pictures of what two models find on what was held out; no torch, no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.metrics import contingency_table
from skimage.segmentation import find_boundaries

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_maskrcnn.core.dataset import AnnotatedImage
    from napari_maskrcnn.core.instances import Instances

# Of the longer side of a picture, and of an object in it, in pixels.
SIDE, OBJECT = 256, 40
MOST = 4
# Okabe and Ito: sky blue, orange, reddish purple.
RIGHT, WRONG, MISSED = "#56B4E9", "#E69F00", "#CC79A7"
# How bright ground is drawn that nobody looked at.
DIM = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a model finds on an image.

    Parameters
    ----------
    picture : ndarray
        Shape (h, w, 3), uint8: a part of the image with outlines.
    right, wrong, missed : int
        Objects found, found where none is or of another class, and not found, on the
        whole image at an IoU of 0.5.
    """

    picture: NDArray[np.uint8]
    right: int
    wrong: int
    missed: int


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """An image that was held out, as the old and the new model see it."""

    name: str
    before: Outcome
    after: Outcome


def examples(
    annotated: Sequence[AnnotatedImage],
    before: Sequence[Instances],
    after: Sequence[Instances],
) -> Generator[None, None, tuple[Example, ...]]:
    """Return pictures of the first images that were held out, with a pause after each.

    Parameters
    ----------
    annotated : sequence of AnnotatedImage
        What was held out.
    before, after : sequence of Instances
        What the old and the new model find on each.
    """
    triples = [
        triple
        for triple in zip(annotated, before, after, strict=True)
        # Of boxes alone there is no outline to compare.
        if triple[1].has_masks
    ][:MOST]
    found = []
    for item, old, new in triples:
        first = look(item, old)
        yield
        found.append(Example(item.name, first, look(item, new)))
        yield
    return tuple(found)


def look(item: AnnotatedImage, found: Instances) -> Outcome:
    """Compare what was found on an image with its annotation, and draw both."""
    truth = np.maximum(item.label_image, 0).astype(np.int64)
    unknown = item.label_image < 0
    predicted = _known(found.to_label_image().astype(np.int64), unknown)
    right_ids, hit = _matches(item, found, truth, predicted)
    present = np.unique(predicted[predicted > 0])
    missed = np.setdiff1d(np.unique(truth[truth > 0]), hit)
    window = _window(item)
    canvas = _ground(item, window)
    canvas[unknown[window]] *= DIM
    lost = np.where(np.isin(truth[window], missed), truth[window], 0)
    _outline(canvas, lost, MISSED)
    good = np.isin(predicted[window], right_ids)
    _outline(canvas, np.where(good, 0, predicted[window]), WRONG)
    _outline(canvas, np.where(good, predicted[window], 0), RIGHT)
    return Outcome(
        (canvas * 255 + 0.5).astype(np.uint8),
        right=len(right_ids),
        wrong=len(present) - len(right_ids),
        missed=len(missed),
    )


def _known(predicted: NDArray[Any], unknown: NDArray[np.bool_]) -> NDArray[Any]:
    """Leave out what was found for the most part where nobody looked."""
    areas = np.bincount(predicted.ravel())
    outside = np.bincount(predicted[unknown], minlength=len(areas))
    result: NDArray[Any] = np.where((2 * outside > areas)[predicted], 0, predicted)
    return result


def _matches(
    item: AnnotatedImage,
    found: Instances,
    truth: NDArray[Any],
    predicted: NDArray[Any],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids of the objects that are right, and the labels that they are."""
    table = contingency_table(truth, predicted).tocoo()
    rows, columns = (np.asarray(x, np.int64) for x in (table.row, table.col))
    true_areas, areas = np.bincount(truth.ravel()), np.bincount(predicted.ravel())
    shared = np.asarray(table.data, np.float64)
    iou = shared / (true_areas[rows] + areas[columns] - shared)
    # Above 0.5 no object can match two.
    hit = (iou > 0.5) & (rows > 0) & (columns > 0)
    rows, columns = rows[hit], columns[hit]
    names = dict(zip(found.ids.tolist(), found.names, strict=True))
    own = item.class_names
    same = [
        not own or own[item.class_ids[label] - 1] == names[index]
        for label, index in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    return columns[same], rows[same]


def _window(item: AnnotatedImage) -> tuple[slice, slice]:
    """Return a part of the image with known objects, in steps if they are large."""
    step = max(1, round(item.object_size / OBJECT))
    rows, columns = np.nonzero(item.label_image > 0)
    if not rows.size:
        rows, columns = np.nonzero(item.label_image >= 0)
    height, width = item.label_image.shape
    return (
        _slice(rows, height, step * SIDE, step),
        _slice(columns, width, step * SIDE, step),
    )


def _slice(places: NDArray[Any], size: int, most: int, step: int) -> slice:
    middle = int(np.median(places)) if places.size else size // 2
    start = max(0, min(middle - most // 2, size - most))
    return slice(start, min(size, start + most), step)


def _ground(item: AnnotatedImage, window: tuple[slice, slice]) -> NDArray[np.float32]:
    part = item.image[window].astype(np.float32)
    # A copy: to be drawn on.
    return np.array(np.broadcast_to(part, (*part.shape[:2], 3)))


def _outline(canvas: NDArray[np.float32], labels: NDArray[Any], colour: str) -> None:
    edges = find_boundaries(labels, mode="inner")
    canvas[edges] = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
