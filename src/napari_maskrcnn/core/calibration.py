"""How likely a find is right, from its score and its mask.

The box head's score tells whether a box holds an object; it knows nothing of the mask.
So it is too sure of specks, of faint masks, and of fragments beside whole objects. A
calibrated score is the probability that the mask is right: a logistic regression on the
score and on what the mask looks like, so Platt scaling (Platt 1999) with more than the
score. Mask Scoring R-CNN (Huang et al. 2019) has a network for this; here 28 numbers
do, and take no time. `core.calibrating` finds them. Figures: docs/training.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from .checkpoint_config import CALIBRATION
from .instances import FULL
from .joining import renumbered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .instances import Instances

# score, clarity of the mask, size in network pixels, size beside the image's other
# objects, share of the box that is filled, clarity of the image's other masks.
FEATURES = CALIBRATION["center"]
# Finds of at least this score say what the objects of an image are like.
SURE_SCORE = 0.7
# Beyond so many standard deviations from the mean nothing is known: squares would run
# away.
FARTHEST = 4.0
# Probabilities nearer to 0 and 1 are not told apart.
SCORES = (0.007, 0.9975)
CLARITIES = (0.3, 0.998)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A logistic regression on standardised features, their squares and products.

    Parameters
    ----------
    center, spread : tuple of float
        Of each of the `FEATURES`: what is subtracted, and what then divides.
    weights : tuple of float
        One a term, see `terms`.
    """

    center: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how likely finds are right, (N,), from their features (N, 6)."""
        found: NDArray[np.float64] = expit(
            terms(self.standardised(features)) @ np.array(self.weights)
        )
        return found

    def standardised(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return features in standard deviations, none beyond `FARTHEST`."""
        scaled: NDArray[np.float64] = np.clip(
            (features - np.array(self.center)) / np.array(self.spread),
            -FARTHEST,
            FARTHEST,
        )
        return scaled

    def to_config(self) -> dict[str, list[float]]:
        """Return it as a checkpoint's configuration keeps it."""
        return {
            "center": list(self.center),
            "spread": list(self.spread),
            "weights": list(self.weights),
        }

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> Calibration:
        """Make it from a checked configuration's ``calibration``."""
        return cls(*(tuple(values[key]) for key in ("center", "spread", "weights")))


def calibrated(
    instances: Instances, calibration: Calibration | None, scale: tuple[float, float]
) -> Instances:
    """Return finds with calibrated scores, best first, numbered anew.

    Parameters
    ----------
    instances : Instances
        All that a detector found in an image, down to a low score.
    calibration : Calibration or None
        Of its model; None leaves everything as it is.
    scale : tuple of float
        (y, x): network pixels an image pixel.
    """
    if calibration is None or not instances.has_masks or not len(instances):
        return instances
    scores = calibration.probabilities(find_features(instances, scale))
    return renumbered(replace(instances, scores=scores.astype(np.float32)))


def find_features(
    instances: Instances, scale: tuple[float, float]
) -> NDArray[np.float64]:
    """Return what a calibration looks at, (N, 6); arguments as of `calibrated`."""
    scores = instances.scores.astype(np.float64)
    areas, clarity = _areas_and_clarity(instances)
    sides = (instances.boxes[:, 2:] - instances.boxes[:, :2]).astype(np.float64)
    sure = scores >= SURE_SCORE
    if not sure.any():
        sure[:] = True
    count = len(scores)
    return np.stack(
        [
            logit(np.clip(scores, *SCORES)),
            clarity,
            np.log1p(np.sqrt(areas * scale[0] * scale[1])),
            np.log((areas + 1) / (np.median(areas[sure]) + 1)),
            areas / np.maximum(sides.prod(axis=1), 1e-6),
            np.full(count, np.median(clarity[sure])),
        ],
        axis=1,
    )


def terms(standardised: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1, the features (N, 6), and their squares and products: (N, 28)."""
    rows, columns = np.triu_indices(FEATURES)
    products = standardised[:, rows] * standardised[:, columns]
    ones = np.ones((len(standardised), 1))
    return np.concatenate([ones, standardised, products], axis=1)


def _areas_and_clarity(
    instances: Instances,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return pixels of each mask, and the logit of its mean probability."""
    areas, means = np.zeros(len(instances)), np.zeros(len(instances))
    for position, crop in enumerate(instances.masks):
        inside = crop[instances.mask(position)]
        areas[position] = inside.size
        means[position] = inside.mean() / FULL if inside.size else 0.0
    return areas, logit(np.clip(means, *CLARITIES))
