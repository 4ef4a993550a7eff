"""Setting a part of the annotation aside to measure with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.reviewed import HELD_OUT
from napari_maskrcnn.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_maskrcnn.core.dataset import AnnotatedImage

    Split = tuple[list[AnnotatedImage], list[AnnotatedImage], list[str], str]

# With fewer images than this a part of each is held out, not a whole one.
MIN_IMAGES = 3
# How many ways to choose images are looked at.
TRIES = 50
STRIP_SHARES = (0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
SIDES = ("left", "right", "top", "bottom")


def hold_out(annotated: Sequence[AnnotatedImage], fraction: float, seed: int) -> Split:
    """Hold out whole images, else regions, else single objects.

    Nothing of what is held out is seen in training: in the images for training it is
    marked as held out, and the other way round.

    Parameters
    ----------
    annotated : sequence of AnnotatedImage
        At least two objects in all.
    fraction : float
        The part to hold out, about.
    seed : int
        Decides which.

    Returns
    -------
    training, judging : list of AnnotatedImage
    held_out : list of str
        In words.
    kind : str
        "images", "regions" or "objects".
    """
    with_objects = [i for i, item in enumerate(annotated) if item.has_objects]
    if len(with_objects) >= MIN_IMAGES:
        return _images(annotated, with_objects, fraction, seed)
    return _regions(annotated, fraction) or _objects(annotated, fraction, seed)


def _images(
    annotated: Sequence[AnnotatedImage],
    candidates: Sequence[int],
    fraction: float,
    seed: int,
) -> Split:
    """Choose so that no class and no kind of image is missing on one side."""
    rng = np.random.default_rng(seed)
    number = min(max(1, round(fraction * len(candidates))), len(candidates) - 1)
    kinds = [_kinds(item) for item in annotated]
    counts = np.array([len(_labels(item)) for item in annotated])
    best: list[int] = []
    best_cost: tuple[float, ...] = ()
    for _ in range(TRIES):
        chosen = sorted(rng.permutation(candidates)[:number].tolist())
        rest = [i for i in range(len(annotated)) if i not in chosen]
        learnt = set().union(*(kinds[i] for i in rest))
        judged = set().union(*(kinds[i] for i in chosen))
        share = counts[chosen].sum() / counts.sum()
        cost = (
            len(judged - learnt),
            len(learnt - judged),
            round(abs(share - fraction), 1),
        )
        if not best or cost < best_cost:
            best, best_cost = chosen, cost
    return (
        [item for i, item in enumerate(annotated) if i not in best],
        [annotated[i] for i in best],
        [annotated[i].name for i in best],
        "images",
    )


def _labels(item: AnnotatedImage) -> NDArray[Any]:
    labels: NDArray[Any] = np.unique(item.label_image)
    return labels[labels > 0]


def _kinds(item: AnnotatedImage) -> set[int | str]:
    """The classes of an image and how it looks."""
    return {*item.class_ids[_labels(item)].tolist(), item.appearance}


def _regions(annotated: Sequence[AnnotatedImage], fraction: float) -> Split | None:
    """Hold out a strip of each image that has enough objects for it."""
    training: list[AnnotatedImage] = []
    judging: list[AnnotatedImage] = []
    words: list[str] = []
    for item in annotated:
        strip = _best_strip(item, fraction) if item.has_objects else None
        if strip is None:
            training.append(item)
            continue
        side, share = strip
        inside = _strip(item.label_image.shape, side, share)
        training.append(_only(item, ~inside))
        judging.append(_only(item, inside))
        words.append(f"the {side} {share:.0%} of {item.name}")
    return (training, judging, words, "regions") if judging else None


def _strip(shape: tuple[int, ...], side: str, share: float) -> NDArray[np.bool_]:
    inside = np.zeros(shape, np.bool_)
    axis = 1 if side in ("left", "right") else 0
    size = max(1, round(share * shape[axis]))
    part = slice(None, size) if side in ("left", "top") else slice(-size, None)
    inside[(slice(None), part) if axis else (part, slice(None))] = True
    return inside


def _best_strip(item: AnnotatedImage, fraction: float) -> tuple[str, float] | None:
    """The strip with about that part of the objects, cutting as few as possible."""
    total = len(_labels(item))
    best, best_cost = None, np.inf
    for side in SIDES:
        for share in STRIP_SHARES:
            inside = _strip(item.label_image.shape, side, share)
            judged, learnt = _only(item, inside), _only(item, ~inside)
            j, n = len(_labels(judged)), len(_labels(learnt))
            if not j or not n:
                continue
            missing = len(_kinds(judged) - _kinds(learnt))
            cost = abs(j / total - fraction) + (total - j - n) / total + missing
            if cost < best_cost:
                best, best_cost = (side, share), cost
    return best


def _only(item: AnnotatedImage, inside: NDArray[np.bool_]) -> AnnotatedImage:
    """Mark what is not inside as held out; objects on the border too."""
    cut = np.unique(item.label_image[~inside])
    gone = np.isin(item.label_image, cut[cut > 0]) | ~inside
    return replace(
        item, label_image=np.where(gone, np.int32(HELD_OUT), item.label_image)
    )


def _objects(annotated: Sequence[AnnotatedImage], fraction: float, seed: int) -> Split:
    """Hold out single objects: there are too few for anything else."""
    pairs = [(i, label) for i, item in enumerate(annotated) for label in _labels(item)]
    number = min(max(1, round(fraction * len(pairs))), len(pairs) - 1)
    order = np.random.default_rng(seed).permutation(len(pairs))
    chosen = {pairs[place] for place in order[:number]}
    training, judging = [], []
    for i, item in enumerate(annotated):
        held = [label for where, label in chosen if where == i]
        is_held = np.isin(item.label_image, held)
        others = (item.label_image > 0) & ~is_held
        marked = np.where(is_held, np.int32(HELD_OUT), item.label_image)
        training.append(replace(item, label_image=marked))
        if held:
            marked = np.where(others, np.int32(HELD_OUT), item.label_image)
            judging.append(replace(item, label_image=marked))
    return training, judging, [counted(number, "object")], "objects"
