"""Measure how good a network is on annotated images."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .checkpoint_config import SCORE_THRESHOLD
from .detector import Detector
from .metrics import evaluate
from .progress import exhaust
from .recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from .checkpoints import Checkpoint
    from .dataset import AnnotatedImage
    from .instances import Instances
    from .metrics import Evaluation

Measured = TypeVar("Measured")

# Steps of 0.05: a few held-out images do not tell finer ones apart.
SCORE_THRESHOLDS = tuple(step / 20 for step in range(5, 19))


def validation_scores(
    checkpoint: Checkpoint, annotated: Sequence[AnnotatedImage], *, device: str = "auto"
) -> Generator[None, None, dict[str, float]]:
    """Segment annotated images and compare, at the score threshold that suits best.

    Object sizes are taken from the annotation: what is measured is the network, not the
    search for the size.

    Yields
    ------
    None
        After every image.

    Returns
    -------
    dict
        "ap50" and "ap75": TP / (TP + FP + FN), mean over the images;
        "score_threshold": the one at which these hold, see `best_score_threshold`.
    """
    detector = Detector(checkpoint, device)
    kept = []
    whole = detector.image_size is not None
    for item in annotated:
        size = None if whole else max(1.0, item.object_size)
        recipe = Recipe(object_size=size)
        _, instances = exhaust(detector.segment(item.seen(whole=whole), recipe))
        kept.append(instances)
        yield

    return (yield from best_figures(annotated, kept))


def best_figures(
    annotated: Sequence[AnnotatedImage],
    found: Sequence[Instances],
    thresholds: Sequence[float] = SCORE_THRESHOLDS,
) -> Generator[None, None, dict[str, float]]:
    """Compare what was found with the annotation, at the best of score thresholds.

    Returns
    -------
    dict
        As of `validation_scores`.
    """
    truth = [item.label_image for item in annotated]

    def measure(threshold: float) -> Generator[None, None, tuple[float, Evaluation]]:
        recipe = Recipe(score_threshold=threshold)
        predicted = [recipe.apply(instances).to_label_image() for instances in found]
        result = evaluate(truth, predicted, thresholds=(0.5, 0.75))
        yield
        return result.ap(0.5), result

    best, result = yield from at_best_threshold(measure, thresholds)
    return {"ap50": result.ap(0.5), "ap75": result.ap(0.75), "score_threshold": best}


def at_best_threshold(
    measure: Callable[[float], Generator[None, None, tuple[float, Measured]]],
    thresholds: Sequence[float] = SCORE_THRESHOLDS,
) -> Generator[None, None, tuple[float, Measured]]:
    """Measure a model at each score threshold; return the best one and its figures.

    Parameters
    ----------
    measure : callable
        Takes a threshold and returns a generator, which returns the AP there and
        whatever else was found.
    thresholds : sequence of float
        See `best_score_threshold`.
    """
    measured = []
    for threshold in thresholds:
        measured.append((yield from measure(threshold)))
    best = best_score_threshold([ap for ap, _ in measured], thresholds)
    return best, measured[list(thresholds).index(best)][1]


def best_score_threshold(
    ap: Sequence[float], thresholds: Sequence[float] = SCORE_THRESHOLDS
) -> float:
    """Return the score threshold at which a model is best.

    The AP of three neighbouring thresholds is averaged first, since that of one is
    noise where images are few; of equal ones the nearest to 0.5 is taken.

    Parameters
    ----------
    ap : sequence of float
        On images that the model did not learn from, one a threshold.
    thresholds : sequence of float
        Evenly spaced.
    """
    smooth = np.convolve(
        np.pad(np.asarray(ap), 1, mode="edge"), np.ones(3) / 3, "valid"
    )
    near = -np.abs(np.array(thresholds) - SCORE_THRESHOLD)
    return thresholds[int(np.lexsort((near, smooth.round(6)))[-1])]
