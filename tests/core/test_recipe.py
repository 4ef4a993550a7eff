"""The recipe: what it refuses, and that a file of it gives the same pixels."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

fraction = st.floats(0, 1)
recipes = st.builds(
    Recipe,
    model=st.text(max_size=8),
    object_size=st.none() | st.floats(1, 10_000),
    channel=st.none() | st.integers(0, 7),
    score_threshold=fraction,
    mask_threshold=fraction,
    nms_threshold=st.none() | fraction,
    min_area=st.integers(0, 10**6),
    classes=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    max_detections=st.integers(1, 10**5),
    device=st.sampled_from(["auto", "cpu", "cuda:1"]),
)


@given(recipes)
def test_a_recipe_comes_back_from_json(recipe: Recipe) -> None:
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_a_recipe_comes_back_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    for recipe in (Recipe(), Recipe(model="µ/模型", classes=("disc",))):
        recipe.write(path)
        assert Recipe.read(path) == recipe
    assert [entry.name for entry in tmp_path.iterdir()] == ["recipe.json"]


def test_what_a_recipe_leaves_out_has_its_default() -> None:
    assert Recipe.from_json('{"score_threshold": 0.7}') == Recipe(score_threshold=0.7)
    # JSON has one kind of numbers only.
    assert Recipe.from_json('{"object_size": 30}') == Recipe(object_size=30.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("score_threshold", 1.3), ("score_threshold", float("nan")),
        ("score_threshold", "0.5"), ("mask_threshold", -1), ("mask_threshold", None),
        ("nms_threshold", True), ("object_size", 0), ("object_size", float("nan")),
        ("object_size", 1e6), ("object_size", "large"), ("channel", -1),
        ("channel", 0.5), ("min_area", -1), ("min_area", 2.5), ("min_area", [3]),
        ("max_detections", 0), ("max_detections", 2.5), ("classes", "disc"),
        ("classes", 3), ("classes", [3]), ("model", 7), ("device", None),
    ],
)  # fmt: skip
def test_a_bad_value_is_named(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        Recipe.from_json(json.dumps({key: value}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[1]", "must be a JSON object"),
        ('{"scores": 1}', "unknown key 'scores' .* known are .*score_threshold"),
    ],
)
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe.from_json(text)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing\.json could not be read"):
        Recipe.read(tmp_path / "missing.json")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.json could not be read"):
        Recipe.read(tmp_path / "a.json")


def test_the_thresholds_are_applied() -> None:
    label_image = np.zeros((20, 40), np.uint8)
    label_image[2:8, 2:8], label_image[2:8, 12:18], label_image[2:4, 22:24] = 1, 2, 3
    label_image[12:18, 2:8] = 4
    instances = Instances.from_label_image(
        label_image,
        scores=[0.9, 0.4, 0.8, 0.7],
        class_ids=[1, 1, 1, 2],
        class_names=("disc", "ring"),
    )
    recipe = Recipe(score_threshold=0.5, min_area=5)
    assert recipe.apply(instances).ids.tolist() == [1, 4]
    assert Recipe(classes=("ring",)).apply(instances).ids.tolist() == [4]
    assert Recipe(classes=("ring", "disc")).apply(instances).ids.tolist() == [1, 3, 4]
    with pytest.raises(ValueError, match="class 'cell'; it knows disc, ring"):
        Recipe(classes=("cell",)).apply(instances)
    assert recipe.apply(instances).mask_threshold == recipe.mask_threshold


def test_without_a_score_threshold_the_models_own_holds() -> None:
    label_image = np.arange(4, dtype=np.uint8)[None].repeat(2, axis=0)
    instances = Instances.from_label_image(label_image, scores=[0.9, 0.75, 0.6])
    assert Recipe().apply(instances).ids.tolist() == [1, 2, 3]
    own = replace(instances, score_threshold=0.75)
    assert Recipe().apply(own).ids.tolist() == [1, 2]
    assert Recipe(score_threshold=0.8).apply(own).ids.tolist() == [1]
    with pytest.raises(ValueError, match="score_threshold"):
        replace(instances, score_threshold=1.5)


def test_every_setting_is_in_the_file() -> None:
    assert json.loads(Recipe().to_json()).keys() == asdict(Recipe()).keys()


def test_a_recipe_leaves_the_thresholds_to_the_model() -> None:
    """Two boxes that overlap by a third, and one of which the network is less sure."""
    label_image = np.zeros((40, 60), np.uint8)
    label_image[10:20, 10:30], label_image[30:35, 40:50] = 1, 3
    found = Instances.from_label_image(label_image, scores=[0.9, 0.4])
    boxes = np.array([[10, 10, 30, 20], [20, 10, 40, 20]], np.float32)
    found = replace(found, boxes=boxes)
    for score, overlap, count in ((0.3, 0.5, 2), (0.5, 0.5, 1), (0.3, 0.2, 1)):
        own = replace(found, score_threshold=score, nms_threshold=overlap)
        assert len(Recipe().apply(own)) == count
    own = replace(found, score_threshold=0.3, nms_threshold=0.2)
    assert len(Recipe(nms_threshold=0.5).apply(own)) == 2
