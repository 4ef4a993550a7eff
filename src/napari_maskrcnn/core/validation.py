"""Measure how good a network is on annotated images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .detector import Detector
from .metrics import evaluate
from .progress import exhaust
from .recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from .checkpoints import Checkpoint
    from .dataset import AnnotatedImage


def validation_scores(
    checkpoint: Checkpoint, annotated: Sequence[AnnotatedImage], *, device: str = "auto"
) -> Generator[None, None, dict[str, float]]:
    """Segment annotated images and compare, with the thresholds of the default recipe.

    Object sizes are taken from the annotation: what is measured is the network, not the
    search for the size.

    Yields
    ------
    None
        After every image.

    Returns
    -------
    dict
        "ap50" and "ap75": TP / (TP + FP + FN), mean over the images.
    """
    detector = Detector(checkpoint, device)
    truth, predicted = [], []
    for item in annotated:
        recipe = Recipe(object_size=max(1.0, item.object_size))
        _, instances = exhaust(detector.segment(item.image, recipe))
        truth.append(item.label_image)
        predicted.append(recipe.apply(instances).to_label_image())
        yield
    result = evaluate(truth, predicted)
    return {"ap50": result.ap(0.5), "ap75": result.ap(0.75)}
