"""One object size for a video, and its pace."""

from __future__ import annotations

import numpy as np
import pytest

from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.steady import Pace, SteadySize, frame_words, rate_words


def found(count: int, score: float = 0.9) -> Instances:
    label_image = np.zeros((1, max(1, 2 * count)), np.uint16)
    label_image[0, : 2 * count : 2] = np.arange(1, count + 1)
    return Instances.from_label_image(
        label_image, scores=[score] * count, class_names=("thing",)
    )


def test_the_size_is_measured_until_ten_objects_were_seen() -> None:
    steady = SteadySize(Recipe())
    steady.saw(140, found(1))
    assert steady.recipe.object_size is None
    steady.saw(30, found(4))
    assert steady.recipe.object_size is None
    steady.saw(32, found(12))
    # By objects the frame of 32 counts most; the false one of 140 hardly counts.
    assert steady.recipe.object_size == 32
    steady.saw(90, found(50))
    assert steady.recipe.object_size == 32


def test_objects_of_low_score_do_not_decide() -> None:
    steady = SteadySize(Recipe())
    steady.saw(140, found(40, score=0.3))
    assert steady.recipe.object_size is None


@pytest.mark.parametrize(
    ("recipe", "has_size"), [(Recipe(object_size=20), True), (Recipe(), False)]
)
def test_nothing_is_measured_for_a_stated_size_or_a_model_without(
    recipe: Recipe, has_size: bool
) -> None:
    steady = SteadySize(recipe, has_size=has_size)
    steady.saw(90, found(50))
    assert steady.recipe == recipe


def test_the_pace_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0, 100, 0.25))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    pace = Pace()
    assert frame_words(0, 100, pace) == "Frame 1 of 100"
    for _ in range(50):
        pace.step()
    assert frame_words(50, 100, pace) == "Frame 51 of 100, 4.0 frames/s"
    assert frame_words(0, 3, Pace(), "plane") == "Plane 1 of 3"
    assert rate_words(0.416) == "0.42 frames/s"
    assert rate_words(48.3) == "48 frames/s"
