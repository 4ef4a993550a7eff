"""How well predicted objects agree with true ones."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from skimage.metrics import contingency_table
from skimage.segmentation import relabel_sequential

from napari_maskrcnn.core.average_precision import coco_map
from napari_maskrcnn.core.instances import Instances

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Objects: TypeAlias = np.ndarray | Instances

__all__ = ["THRESHOLDS", "Evaluation", "ImageScores", "Score", "coco_map", "evaluate"]

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""IoU thresholds 0.5, 0.55 ... 0.95."""


@dataclass(frozen=True, slots=True)
class Score:
    """Counts and scores at one IoU threshold.

    With TP matched pairs, FP predicted objects without a true one and FN true objects
    without a predicted one: ``ap = TP / (TP + FP + FN)`` (Schmidt et al. 2018,
    StarDist; also the metric of the 2018 Data Science Bowl),
    ``precision = TP / (TP + FP)``, ``recall = TP / (TP + FN)``,
    ``f1 = 2 TP / (2 TP + FP + FN)``; ``mean_matched_iou`` is the mean IoU of the
    matched pairs and ``pq = f1 * mean_matched_iou`` (panoptic quality, Kirillov et
    al. 2019).

    Where nothing is and nothing is predicted, all of them are 1.  Otherwise a score
    without a single match is 0.
    """

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    ap: float
    precision: float
    recall: float
    f1: float
    mean_matched_iou: float
    pq: float


@dataclass(frozen=True, slots=True)
class ImageScores:
    """The scores of one image, or of all images together, at each threshold."""

    name: str
    true_objects: int
    predicted_objects: int
    scores: tuple[Score, ...]

    def at(self, threshold: float) -> Score:
        """Return the score at one of the thresholds.

        Raises
        ------
        ValueError
            If that threshold was not evaluated.
        """
        for score in self.scores:
            if abs(score.threshold - threshold) < 1e-9:
                return score
        known = ", ".join(f"{score.threshold:g}" for score in self.scores)
        raise ValueError(f"no score at IoU {threshold}; there are scores at {known}")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The agreement of predicted and true objects.

    Parameters
    ----------
    images : tuple of ImageScores
        One an image, in the order given.
    pooled : ImageScores
        The counts of all images added up, and the scores of these sums.
    mean_ap : tuple of float
        AP at each threshold, averaged over images: each image weighs the same.
    coco : dict of str to float or None
        COCO mean average precision, where the prediction came with scores.
    """

    images: tuple[ImageScores, ...]
    pooled: ImageScores
    mean_ap: tuple[float, ...]
    coco: dict[str, float] | None = None

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The IoU thresholds."""
        return tuple(score.threshold for score in self.pooled.scores)

    def ap(self, threshold: float = 0.5) -> float:
        """Return AP at one threshold, averaged over images."""
        return self.mean_ap[self.pooled.scores.index(self.pooled.at(threshold))]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists, strings and numbers."""
        return {"thresholds": list(self.thresholds), **asdict(self)}

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_table(self) -> str:
        """Return a table for a person: one line a threshold, then COCO mAP."""
        pooled = self.pooled
        lines = [
            f"{len(self.images)} images, {pooled.true_objects} true objects, "
            f"{pooled.predicted_objects} predicted",
            "  IoU     AP  AP pooled     F1  precision  recall     PQ  mean IoU"
            "      TP      FP      FN",
        ]
        for mean_ap, s in zip(self.mean_ap, pooled.scores, strict=True):
            lines.append(
                f"{s.threshold:5.2f}  {mean_ap:5.3f}  {s.ap:9.3f}  {s.f1:5.3f}  "
                f"{s.precision:9.3f}  {s.recall:6.3f}  {s.pq:5.3f}  "
                f"{s.mean_matched_iou:8.3f}  {s.true_positives:6d}  "
                f"{s.false_positives:6d}  {s.false_negatives:6d}"
            )
        lines.append(f"AP is the mean over images; mean AP {np.mean(self.mean_ap):.3f}")
        if self.coco is not None:
            coco = ", ".join(f"{key} {value:.3f}" for key, value in self.coco.items())
            lines.append(f"COCO masks: {coco}")
        return "\n".join(lines)


def evaluate(
    truth: Objects | Sequence[Objects],
    predicted: Objects | Sequence[Objects],
    *,
    names: Sequence[str] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Evaluation:
    """Compare predicted objects with true ones, one image or many.

    True and predicted objects are matched one to one: as many pairs as possible with
    an IoU of at least the threshold, and among these the pairs with the highest sum of
    IoU (as in StarDist, Schmidt et al. 2018).  An image where nothing is and nothing
    is predicted counts as AP 1.  Classes play no part, except in COCO mAP.

    Parameters
    ----------
    truth, predicted : np.ndarray, Instances or sequence of them
        An array is one label image of integers, 0 = background, of any number of
        dimensions; several images come as a list.  Where instances overlap, the one
        with the higher score has the pixel.  If all of `predicted` are instances and
        faster-coco-eval is installed, COCO mAP is computed too, from the whole masks.
    names : sequence of str, optional
        One an image; ``"0"``, ``"1"`` ... if not given.
    thresholds : sequence of float
        IoU thresholds, each above 0 and at most 1.

    Raises
    ------
    TypeError
        If a label image does not hold integers.
    ValueError
        If numbers or shapes of images do not agree, or a threshold is out of range.
    """
    true_images, predicted_images = _as_list(truth), _as_list(predicted)
    count = len(true_images)
    names = [str(i) for i in range(count)] if names is None else list(names)
    if not count:
        raise ValueError("there is no image to evaluate")
    for what, number in (("predicted", len(predicted_images)), ("names", len(names))):
        if number != count:
            raise ValueError(f"{count} true images, but {number} {what}")
    thresholds = _checked_thresholds(thresholds)
    images = tuple(
        _image_scores(name, _label_image(true), _label_image(guess), thresholds)
        for name, true, guess in zip(names, true_images, predicted_images, strict=True)
    )
    coco = None
    scored = [image for image in predicted_images if isinstance(image, Instances)]
    if len(scored) == count and find_spec("faster_coco_eval") is not None:
        coco = coco_map(true_images, scored)
    aps = np.array([[score.ap for score in image.scores] for image in images])
    return Evaluation(images, _pool(images), tuple(aps.mean(axis=0).tolist()), coco)


def _as_list(images: Objects | Sequence[Objects]) -> list[Objects]:
    return [images] if isinstance(images, np.ndarray | Instances) else list(images)


def _checked_thresholds(thresholds: Sequence[float]) -> tuple[float, ...]:
    for threshold in thresholds:
        if not 0 < threshold <= 1:
            raise ValueError(f"an IoU threshold is in (0, 1], got {threshold}")
    if not len(thresholds):
        raise ValueError("there is no IoU threshold")
    return tuple(float(threshold) for threshold in thresholds)


def _label_image(objects: Objects) -> np.ndarray:
    if isinstance(objects, Instances):
        return objects.to_label_image()
    label_image: np.ndarray = np.asarray(objects)
    if label_image.dtype.kind not in "iu":
        raise TypeError(f"a label image holds integers, got {label_image.dtype}")
    if label_image.size and label_image.min() < 0:
        raise ValueError(f"a label image holds no negatives, got {label_image.min()}")
    return label_image


def _image_scores(
    name: str, truth: np.ndarray, predicted: np.ndarray, thresholds: tuple[float, ...]
) -> ImageScores:
    if truth.shape != predicted.shape:
        raise ValueError(
            f"image {name}: the true label image has shape {truth.shape}, "
            f"the predicted one {predicted.shape}"
        )
    true_count, predicted_count, pairs, iou = _overlaps(truth, predicted)
    scores = []
    for threshold in thresholds:
        enough = iou >= threshold
        matched = _match(pairs[:, enough], iou[enough])
        scores.append(
            _score(threshold, len(matched), matched.sum(), true_count, predicted_count)
        )
    return ImageScores(name, true_count, predicted_count, tuple(scores))


def _overlaps(
    truth: np.ndarray, predicted: np.ndarray
) -> tuple[int, int, np.ndarray, np.ndarray]:
    """Return both numbers of objects, ``(2, P)`` pairs that meet, and their IoU."""
    # Ids may be anything up to 2**63; consecutive ones keep the table small.
    truth = _consecutive(truth)
    predicted = _consecutive(predicted)
    true_areas, predicted_areas = np.bincount(truth), np.bincount(predicted)
    counts = [max(len(areas) - 1, 0) for areas in (true_areas, predicted_areas)]
    both = (truth > 0) & (predicted > 0)
    if not both.any():
        return counts[0], counts[1], np.empty((2, 0), dtype=np.intp), np.empty(0)
    table = contingency_table(truth[both], predicted[both]).tocoo()
    pairs = np.stack([table.row, table.col])
    union = true_areas[pairs[0]] + predicted_areas[pairs[1]] - table.data
    return counts[0], counts[1], pairs, table.data / union


def _consecutive(label_image: np.ndarray) -> np.ndarray:
    relabelled: np.ndarray
    relabelled, _, _ = relabel_sequential(label_image)
    return relabelled.reshape(-1)


def _match(pairs: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """Return the IoU of the pairs in the largest, then best, one-to-one matching.

    Above 0.5 no object has two candidates (unless objects overlap), so the assignment
    problem is empty or small.
    """
    degrees = [np.bincount(side, minlength=1)[side] for side in pairs]
    free = (degrees[0] == 1) & (degrees[1] == 1)
    rows, row = np.unique(pairs[0, ~free], return_inverse=True)
    columns, column = np.unique(pairs[1, ~free], return_inverse=True)
    if not len(rows):
        return iou
    # A pair weighs 1 and a little for its IoU, less than 1 for all pairs together.
    weights = np.zeros((len(rows), len(columns)))
    weights[row, column] = 1 + iou[~free] / (2 * min(weights.shape))
    chosen = linear_sum_assignment(weights, maximize=True)
    quality = np.zeros_like(weights)
    quality[row, column] = iou[~free]
    matched = quality[chosen]
    return np.concatenate([iou[free], matched[matched > 0]])


def _score(
    threshold: float, matches: int, iou_sum: float, truths: int, predictions: int
) -> Score:
    missed, wrong = truths - matches, predictions - matches
    empty = truths + predictions == 0
    mean_iou = 1.0 if empty else float(iou_sum) / max(matches, 1)
    f1 = _ratio(2 * matches, truths + predictions, empty)
    return Score(
        threshold,
        true_positives=matches,
        false_positives=wrong,
        false_negatives=missed,
        ap=_ratio(matches, matches + wrong + missed, empty),
        precision=_ratio(matches, predictions, empty),
        recall=_ratio(matches, truths, empty),
        f1=f1,
        mean_matched_iou=mean_iou,
        pq=f1 * mean_iou,
    )


def _ratio(part: int, whole: int, empty: bool) -> float:
    return 1.0 if empty else part / max(whole, 1)


def _pool(images: tuple[ImageScores, ...]) -> ImageScores:
    truths = sum(image.true_objects for image in images)
    predictions = sum(image.predicted_objects for image in images)
    scores = []
    for at_threshold in zip(*(image.scores for image in images), strict=True):
        matches = sum(score.true_positives for score in at_threshold)
        iou_sum = sum(s.true_positives * s.mean_matched_iou for s in at_threshold)
        threshold = at_threshold[0].threshold
        scores.append(_score(threshold, matches, iou_sum, truths, predictions))
    return ImageScores("all", truths, predictions, tuple(scores))
