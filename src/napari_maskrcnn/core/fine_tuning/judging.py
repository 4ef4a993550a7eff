"""How good a model is on images of which, perhaps, only a part was reviewed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from torchvision.ops import box_iou

from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.examples import MIN_VISIBLE_AREA, MIN_VISIBLE_SIDE
from napari_maskrcnn.core.label_images import label_windows
from napari_maskrcnn.core.metrics import evaluate
from napari_maskrcnn.core.progress import relay
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.validation import SCORE_THRESHOLDS, at_best_threshold

from .box_scores import box_scores
from .telling_apart import MOST_OBJECTS, object_features

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_maskrcnn.core.checkpoints import Checkpoint
    from napari_maskrcnn.core.dataset import AnnotatedImage
    from napari_maskrcnn.core.encoding import Encoding
    from napari_maskrcnn.core.instances import Instances

    Measured = tuple[dict[str, float], list[Instances]]

THRESHOLDS = (0.5, 0.75)
# Each costs a comparison of all images: every second one of a training's.
_SCORES = SCORE_THRESHOLDS[1::2]
SCORE_THRESHOLD_KEY = "score_threshold"


class Judge:
    """Measures AP on annotated images, again and again while a model learns.

    AP is TP / (TP + FP + FN), mean over the images. With several classes an object of
    the wrong class is both a false positive and a false negative. What is predicted for
    the most part on unreviewed ground does not count. Of a model that gives boxes only,
    boxes are compared. Object sizes are taken from the
    annotation, overlap and mask thresholds from the default recipe. Each model is
    judged at the score threshold that suits it best: heads that just began to learn are
    less sure of themselves than old ones, and not worse for it.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model.
    annotated : sequence of AnnotatedImage
        Class ids by their own ``class_names``.
    device : str
        See `core.devices.choose_device`.
    encodings : dict of int to Encoding, optional
        Of these images, by a model whose frozen part is the same; new ones are added.
    budget : int
        Bytes of encodings that may be kept.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        annotated: Sequence[AnnotatedImage],
        device: str,
        *,
        encodings: dict[int, Encoding] | None = None,
        budget: int = 1 << 30,
    ) -> None:
        self.annotated = list(annotated)
        self.detector = Detector(checkpoint, device, folded=False)
        self.encodings = {} if encodings is None else encodings
        self._budget = budget
        self._trunk_changed = False

    def load(self, state: Mapping[str, Tensor], *, trunk_changed: bool) -> None:
        """Take other weights; the encodings hold unless the trunk changed."""
        self.detector.network.load_state_dict(dict(state))
        self._trunk_changed = trunk_changed

    def instances(
        self, score_threshold: float
    ) -> Generator[None, None, list[Instances]]:
        """Segment the images and return the objects of each, thresholds applied."""
        recipe, found = Recipe(score_threshold=score_threshold), []
        for kept in (yield from self.candidates()):
            found.append(recipe.apply(kept))
            yield
        return found

    def candidates(self) -> Generator[None, None, list[Instances]]:
        """Segment the images and return all that is found, down to the lowest score."""
        found = []
        for index in range(len(self.annotated)):
            encoding = yield from self._encoding(index)
            kept = yield from relay(self.detector.detect_steps(encoding), _nothing)
            found.append(kept)
            yield
        return found

    def _encoding(self, index: int) -> Generator[None, None, Encoding]:
        if index in self.encodings and not self._trunk_changed:
            return self.encodings[index]
        item = self.annotated[index]
        whole = self.detector.image_size is not None
        recipe = Recipe(object_size=None if whole else max(1.0, item.object_size))
        encoding = yield from relay(
            self.detector.encode_steps(item.seen(whole=whole), recipe), _nothing
        )
        used = sum(kept.nbytes for kept in self.encodings.values())
        if not self._trunk_changed and used + encoding.nbytes <= self._budget:
            self.encodings[index] = encoding
        return encoding

    def scores(
        self, score_threshold: float | None = None
    ) -> Generator[None, None, dict[str, float]]:
        """Return the figures of `measure` alone."""
        return (yield from self.measure(score_threshold))[0]

    def measure(
        self, score_threshold: float | None = None
    ) -> Generator[None, None, tuple[dict[str, float], list[Instances]]]:
        """Segment the images once, and compare.

        Parameters
        ----------
        score_threshold : float, optional
            By default the one at which the model is best.

        Returns
        -------
        figures : dict of str to float
            "ap50" and "ap75"; with several classes also "ap50_any_class", in which
            classes play no part; "score_threshold", at which they hold.
        found : list of Instances
            The objects of each image at that threshold, as of `instances`.
        """
        kept = yield from self.candidates()
        tried = _SCORES if score_threshold is None else (score_threshold,)

        def at(threshold: float) -> Generator[None, None, tuple[float, Measured]]:
            recipe, rows = Recipe(score_threshold=threshold), []
            found: list[Instances] = []
            for item, instances in zip(self.annotated, kept, strict=True):
                found.append(recipe.apply(instances))
                rows.append(_image_scores(item, found[-1]))
                yield
            mean = _mean(rows)
            return mean["ap50"], (mean, found)

        best, (figures, found) = yield from at_best_threshold(at, tried)
        return {**figures, SCORE_THRESHOLD_KEY: best}, found

    def proposed(self) -> Generator[None, None, float]:
        """Return the part of the objects that a proposal covers with an IoU of 0.5."""
        hits = total = 0
        for index, item in enumerate(self.annotated):
            encoding = yield from self._encoding(index)
            (objects, _), proposals = _objects(item), _proposals(encoding)
            if len(objects) and len(proposals):
                hits += int((box_iou(objects, proposals).amax(dim=1) >= 0.5).sum())
            total += len(objects)
        return hits / max(1, total)

    def found(self) -> Generator[None, None, float]:
        """Return AP at IoU 0.5 whatever the classes, at the threshold that is best."""
        kept = yield from self.candidates()

        def at(threshold: float) -> Generator[None, None, tuple[float, float]]:
            recipe, rows = Recipe(score_threshold=threshold), []
            for item, instances in zip(self.annotated, kept, strict=True):
                rows.append(
                    _image_scores(*_of_one_class(item, recipe.apply(instances)))
                )
                yield
            ap = _mean(rows)["ap50"]
            return ap, ap

        return (yield from at_best_threshold(at, _SCORES))[1]

    def seen(
        self,
    ) -> Generator[None, None, tuple[NDArray[np.float32], list[str], list[int]]]:
        """Return what the heads get to see of the objects, their classes and images.

        See `telling_apart.told_apart`, whose arguments these are.
        """
        features: list[Tensor] = []
        classes: list[str] = []
        images: list[int] = []
        for index, item in enumerate(self.annotated):
            encoding = yield from self._encoding(index)
            boxes, class_ids = _objects(item)
            part, rows = yield from object_features(
                self.detector.network, encoding, boxes[:MOST_OBJECTS]
            )
            if not len(rows):
                continue
            names = item.class_names or self.detector.class_names
            features.append(part)
            classes += [names[class_ids[row] - 1] for row in rows]
            images += [index] * len(rows)
        seen = torch.cat(features) if features else torch.zeros(0, 1)
        return seen.numpy(), classes, images


def _nothing() -> None:
    return None


def _objects(item: AnnotatedImage) -> tuple[Tensor, list[int]]:
    """Boxes (N, 4) and class ids of the objects that count.

    Those of `make_target`, whose masks would be gigabytes on a large crowded image.
    """
    labels = item.label_image.clip(0)
    ids, windows = label_windows(labels)
    areas = np.bincount(labels.ravel())
    boxes, class_ids = [], []
    for label, (rows, columns) in zip(ids.tolist(), windows, strict=True):
        sides = rows.stop - rows.start, columns.stop - columns.start
        if areas[label] >= MIN_VISIBLE_AREA and min(sides) >= MIN_VISIBLE_SIDE:
            boxes.append([columns.start, rows.start, columns.stop, rows.stop])
            class_ids.append(int(item.class_ids[label]))
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), class_ids


def _proposals(encoding: Encoding) -> Tensor:
    """All proposals of an encoding, in pixels of the image."""
    scale_y, scale_x = encoding.scale
    scale = torch.tensor([scale_x, scale_y, scale_x, scale_y])
    parts = []
    for window in filter(None, encoding.windows):
        y0, x0 = window.window.outer[:2]
        corner = torch.tensor([x0, y0, x0, y0])
        parts.append((window.proposals.cpu() + corner) / scale)
    return torch.cat(parts) if parts else torch.zeros(0, 4)


def scores(
    annotated: Sequence[AnnotatedImage], found: Sequence[Instances]
) -> dict[str, float]:
    """Compare found objects with annotated ones; see `Judge`."""
    return _mean([_image_scores(*pair) for pair in zip(annotated, found, strict=True)])


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _image_scores(item: AnnotatedImage, found: Instances) -> dict[str, float]:
    if not found.has_masks:
        return box_scores(item, found, THRESHOLDS)
    planes, names = _planes(item, found), item.class_names
    result = {
        f"ap{round(100 * t)}": ap
        for t, ap in zip(THRESHOLDS, _ap(planes, len(names)), strict=True)
    }
    if len(names) > 1:
        result["ap50_any_class"] = _ap(planes, 0)[0]
    return result


def _of_one_class(
    item: AnnotatedImage, found: Instances
) -> tuple[AnnotatedImage, Instances]:
    """Take all objects, true and found, for objects of one class."""
    names = ("object",)
    return (
        replace(item, class_ids=item.class_ids.clip(0, 1), class_names=names),
        replace(found, class_ids=found.class_ids.clip(0, 1), class_names=names),
    )


def _planes(item: AnnotatedImage, found: Instances) -> tuple[NDArray[Any], ...]:
    """Return label images and class images, true and found; unreviewed ground is 0."""
    truth = np.maximum(item.label_image, 0)
    unreviewed = item.label_image < 0
    predicted = found.to_label_image().astype(np.int64)
    if unreviewed.any():
        areas = np.bincount(predicted.ravel())
        outside = np.bincount(predicted[unreviewed], minlength=len(areas))
        predicted[(2 * outside > areas)[predicted]] = 0
    own = item.class_names
    # 0 for classes that are not asked for.
    table = [own.index(name) + 1 if name in own else 0 for name in found.class_names]
    class_of = np.zeros(int(predicted.max(initial=0)) + 1, np.int64)
    inside = found.ids < len(class_of)
    class_of[found.ids[inside]] = np.array([0, *table])[found.class_ids[inside]]
    return truth, predicted, item.class_ids[truth], class_of[predicted]


def _ap(planes: tuple[NDArray[Any], ...], classes: int) -> list[float]:
    """AP at each threshold; with no classes these play no part."""
    counts = np.zeros((len(THRESHOLDS), 2))
    for class_id in range(classes + 1 if classes else 1):
        true, guess = planes[:2]
        if classes:
            true = np.where(planes[2] == class_id, true, 0)
            guess = np.where(planes[3] == class_id, guess, 0)
        (image,) = evaluate([true], [guess], thresholds=THRESHOLDS).images
        for cell, score in zip(counts, image.scores, strict=True):
            hits = score.true_positives
            misses = score.false_positives + score.false_negatives
            cell += (hits, hits + misses)
    # Nothing there and nothing found is right.
    ap = np.where(counts[:, 1] > 0, counts[:, 0] / counts[:, 1].clip(1), 1.0)
    found: list[float] = ap.tolist()
    return found
