"""The score threshold that a model is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_network import tiny_checkpoint

from napari_maskrcnn.core.dataset import annotated_image
from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.metrics import evaluate
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.core.validation import (
    SCORE_THRESHOLDS,
    best_score_threshold,
    validation_scores,
)

if TYPE_CHECKING:
    from napari_maskrcnn.core.checkpoints import Checkpoint


def ap(threshold: float, peak: float) -> float:
    return 0.9 - abs(threshold - peak)


@pytest.mark.parametrize("peak", SCORE_THRESHOLDS[1:-1])
def test_the_peak_is_found(peak: float) -> None:
    assert best_score_threshold([ap(t, peak) for t in SCORE_THRESHOLDS]) == peak


def test_one_lucky_threshold_is_not_taken_for_a_peak() -> None:
    figures = [ap(t, 0.4) for t in SCORE_THRESHOLDS]
    figures[SCORE_THRESHOLDS.index(0.8)] += 0.45
    assert best_score_threshold(figures) == 0.4


@given(st.floats(0, 1))
def test_where_all_are_equal_the_usual_one_is_taken(value: float) -> None:
    assert best_score_threshold([value] * len(SCORE_THRESHOLDS)) == 0.5


def test_the_figures_are_those_of_the_threshold() -> None:
    checkpoint: Checkpoint = tiny_checkpoint()
    item = annotated_image("field", *nuclei_field((96, 96), 12))
    figures = exhaust(validation_scores(checkpoint, [item], device="cpu"))
    recipe = Recipe(
        object_size=item.object_size, score_threshold=figures["score_threshold"]
    )
    _, kept = exhaust(Detector(checkpoint, "cpu").segment(item.image, recipe))
    again = evaluate(item.label_image, recipe.apply(kept).to_label_image())
    assert figures["ap50"] == again.ap(0.5)
    assert figures["ap75"] == again.ap(0.75)
