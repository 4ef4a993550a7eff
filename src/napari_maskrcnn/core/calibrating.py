"""Find a model's calibration: how likely its finds are right, on annotated images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from .calibration import Calibration, calibrated, find_features, terms
from .checkpoints import Checkpoint
from .detector import Detector
from .progress import Progress, exhaust, relay
from .recipe import Recipe
from .validation import SCORE_THRESHOLDS, best_figures

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from .dataset import AnnotatedImage
    from .instances import Instances

# A find is right from this intersection over union with a true object on.
RIGHT = 0.5
# Fewer right or wrong ones say too little for 28 numbers.
MIN_FINDS = 200
# Keeps weights of terms that hardly ever differ small.
RIDGE = 1e-4
# Each costs a comparison of all images, and with probabilities little depends on it.
_TRIED = SCORE_THRESHOLDS[1::2]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What calibrating a model brought, on the images that it was done on.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model, with its calibration and the score threshold that is best then.
    before, after : dict of str to float
        "ap50", "ap75" and the "score_threshold" at which they hold, each the best.
    finds : int
        From which it was learnt.
    """

    checkpoint: Checkpoint
    before: dict[str, float]
    after: dict[str, float]
    finds: int


def calibrate(
    checkpoint: Checkpoint, annotated: Sequence[AnnotatedImage], device: str = "auto"
) -> Generator[Progress, None, Calibrated]:
    """Learn how likely a model's finds are right, as a generator that can be stopped.

    Images are segmented with default settings, object sizes found. Of the finds that
    overlap no likelier one, each is right or wrong; every image weighs as the square
    root of how many it has. The weights have one best value, so the same images give
    the same calibration.

    Parameters
    ----------
    checkpoint : Checkpoint
        A model that gives masks. A calibration that it has is not used.
    annotated : sequence of AnnotatedImage
        Images in which every object is annotated. Those that the model learnt from will
        do where it knows them no better than others.
    device : str
        See `core.devices.choose_device`.

    Yields
    ------
    Progress
        After every image, and several times while they are compared.

    Raises
    ------
    ValueError
        When the model gives boxes only, or finds too little to learn from.
    """
    config = {k: v for k, v in checkpoint.config.items() if k != "calibration"}
    plain = Checkpoint(config, checkpoint.state)
    if plain.output_kind != "masks":
        raise ValueError(
            f"this model gives {plain.output_kind}, and a calibration looks at masks: "
            "choose a model that gives masks"
        )
    detector = Detector(plain, device)
    found: list[Instances] = []
    scales: list[tuple[float, float]] = []
    for number, item in enumerate(annotated):
        yield Progress(number, len(annotated), item.name)
        seen = item.seen(whole=detector.image_size is not None)
        encoding, instances = exhaust(detector.segment(seen))
        found.append(instances)
        scales.append(encoding.scale)
    calibration, finds = _learn(annotated, found, scales)
    comparing = partial(Progress, 0, 0, "Comparing")
    before = yield from relay(best_figures(annotated, found, _TRIED), comparing)
    found = [
        calibrated(instances, calibration, scale)
        for instances, scale in zip(found, scales, strict=True)
    ]
    after = yield from relay(best_figures(annotated, found, _TRIED), comparing)
    source = {"images": len(annotated), "finds": finds}
    added = {
        "calibration": calibration.to_config(),
        "score_threshold": after["score_threshold"],
        "provenance": {**config.get("provenance", {}), "calibrated_on": source},
    }
    made = Checkpoint({**config, **added}, checkpoint.state)
    return Calibrated(made, before, after, finds)


def _learn(
    annotated: Sequence[AnnotatedImage],
    found: Sequence[Instances],
    scales: Sequence[tuple[float, float]],
) -> tuple[Calibration, int]:
    features, right, weights = [], [], []
    alone = Recipe(score_threshold=0.0)
    for item, instances, scale in zip(annotated, found, scales, strict=True):
        survivors = np.isin(instances.ids, alone.apply(instances).ids)
        if not survivors.any():
            continue
        features.append(find_features(instances, scale)[survivors])
        right.append(are_right(instances[survivors], item.label_image))
        count = int(survivors.sum())
        weights.append(np.full(count, count**-0.5))
    answers = np.concatenate([np.zeros(0, bool), *right])
    least = min(int(answers.sum()), int((~answers).sum()))
    if least < MIN_FINDS:
        raise ValueError(
            f"{len(answers)} objects were found, {int(answers.sum())} of them right: "
            f"a calibration needs {MIN_FINDS} right and {MIN_FINDS} wrong ones; add "
            "annotated images"
        )
    return fit(np.concatenate(features), answers, np.concatenate(weights)), len(answers)


def fit(
    features: NDArray[np.float64],
    right: NDArray[np.bool_],
    weights: NDArray[np.float64],
) -> Calibration:
    """Fit a calibration by logistic regression (maximum likelihood, a small ridge).

    Parameters
    ----------
    features : ndarray
        Shape (N, 6), see `calibration.find_features`.
    right : ndarray
        Shape (N,), bool.
    weights : ndarray
        Shape (N,), positive.
    """
    center, spread = features.mean(axis=0), features.std(axis=0)
    flat = Calibration(_floats(center), _floats(np.maximum(spread, 1e-6)), ())
    design = terms(flat.standardised(features))
    weights = weights / weights.sum()

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = design @ parameters
        ridge = RIDGE * parameters
        ridge[0] = 0.0
        value = weights @ (np.logaddexp(0, logits) - right * logits)
        slope = design.T @ (weights * (expit(logits) - right)) + 2 * ridge
        return float(value + ridge @ parameters), slope

    start = np.zeros(design.shape[1])
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return Calibration(flat.center, flat.spread, _floats(best.x))


def are_right(
    instances: Instances, label_image: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Tell which finds have a mask that agrees with a true object, shape (N,)."""
    true_areas = np.bincount(label_image[label_image > 0].ravel(), minlength=1)
    answers = np.zeros(len(instances), np.bool_)
    for position, (y, x) in enumerate(instances.offsets.tolist()):
        mask = instances.mask(position)
        under = label_image[y : y + mask.shape[0], x : x + mask.shape[1]][mask]
        shared = np.bincount(under[under > 0], minlength=1)
        union = mask.sum() + true_areas[: len(shared)] - shared
        answers[position] = bool((shared >= RIGHT * np.maximum(union, 1)).any())
    return answers


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
