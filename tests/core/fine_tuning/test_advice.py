"""What is recommended before a run, and what that rests on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_network import tiny_checkpoint

from napari_maskrcnn.core.dataset import AnnotatedImage, annotated_image
from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.examples import make_target
from napari_maskrcnn.core.fine_tuning import advice, judging
from napari_maskrcnn.core.fine_tuning.advice import advise, recommend
from napari_maskrcnn.core.fine_tuning.telling_apart import (
    object_features,
    told_apart,
)
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.samples import nuclei_field


def objects(
    apart: float, *, count: int = 30, size: int = 200, seed: int = 0
) -> tuple[np.ndarray, list[str], list[int]]:
    """Features of three classes, in four images, whose means lie so far apart."""
    rng = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(3), count)
    means = apart * rng.standard_normal((3, size))
    features = means[numbers] + rng.standard_normal((len(numbers), size))
    images = np.arange(len(numbers)) % 4
    return features.astype(np.float32), [f"class {n}" for n in numbers], images.tolist()


def test_classes_that_lie_apart_are_told_apart() -> None:
    assert told_apart(*objects(1.0)) == 1.0
    # Nothing tells them: what is left is chance, a third.
    assert told_apart(*objects(0.0, count=60)) == pytest.approx(1 / 3, abs=0.12)
    middle = told_apart(*objects(0.12, count=60))
    assert middle is not None
    assert 0.45 < middle < 0.95


def test_a_frequent_class_does_not_hide_a_rare_one() -> None:
    """Nine of ten objects are of one class: to say it always is half right."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((100, 50)).astype(np.float32)
    classes = ["often"] * 90 + ["seldom"] * 10
    found = told_apart(features, classes, list(range(100)))
    assert found == pytest.approx(0.5, abs=0.1)


def test_what_tells_images_apart_does_not_count() -> None:
    """Every image has its own light, and mostly one class: that must not be learnt."""
    rng = np.random.default_rng(0)
    images = np.repeat(np.arange(6), 10)
    light = 3 * rng.standard_normal((6, 80))
    features = (light[images] + rng.standard_normal((60, 80))).astype(np.float32)
    classes = [f"class {n}" for n in rng.permutation(np.arange(6) % 2)[images]]
    found = told_apart(features, classes, images.tolist())
    assert found is not None
    assert found < 0.8
    # Left out one by one, the neighbours in the image give it away.
    assert told_apart(features, classes, list(range(60))) == 1.0


def test_it_is_what_fitting_without_the_image_gives() -> None:
    """The closed form against fitting again and again."""
    features, classes, images = objects(0.12)
    names, numbers = np.unique(classes, return_inverse=True)
    scaled = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    scaled /= scaled.std(axis=0)
    kernel = scaled @ scaled.T / scaled.shape[1] + 1
    right = np.zeros(len(classes), bool)
    for image in range(4):
        held = np.array(images) == image
        inner = kernel[np.ix_(~held, ~held)] + 0.1 * np.eye((~held).sum())
        weights = np.linalg.solve(inner, np.eye(3)[numbers[~held]])
        guess = (kernel[np.ix_(held, ~held)] @ weights).argmax(axis=1)
        right[held] = guess == numbers[held]
    expected = np.mean([right[numbers == k].mean() for k in range(len(names))])
    assert told_apart(features, classes, images) == pytest.approx(expected)


def test_nothing_is_said_of_one_class_or_too_few_objects() -> None:
    features, classes, images = objects(1.0, count=2)
    assert told_apart(features, classes, images) is None
    assert told_apart(features[:0], [], []) is None
    features, classes, images = objects(1.0)
    assert told_apart(features[:30], classes[:30], images[:30]) is None
    # A class in one image only: its objects are left out one by one.
    assert told_apart(features, classes, [0] * len(images)) == 1.0


def test_what_is_recommended_for_new_classes() -> None:
    alike = recommend(0.97, new_classes=3, told_apart=0.6, found=0.73)
    assert alike.train == "all"
    assert "3 classes are new" in alike.sentence
    assert "60%" in alike.sentence
    assert "AP 0.73" in alike.sentence
    missed = recommend(0.97, new_classes=1, told_apart=0.6, found=0.1)
    assert missed.sentence.startswith("1 class is new")
    assert "AP" not in missed.sentence
    clear = recommend(0.97, new_classes=3, told_apart=0.95)
    assert clear.train == "heads"
    assert "95%" in clear.sentence
    assert recommend(0.5, new_classes=3, told_apart=0.95).train == "all"
    # Of classes that it knows the model has shown what it makes of them.
    assert recommend(0.97, told_apart=0.6).train == "heads"
    assert recommend(0.97, new_classes=1).train == "heads"
    # What a run has shown goes before.
    done = {"ap50": 0.2, "ap50_any_class": 0.7}
    assert recommend(0.3, done, new_classes=3, told_apart=0.95).train == "all"


def item(seed: int, names: tuple[str, ...], dark: bool) -> AnnotatedImage:
    """An image whose objects are of the last of the classes where they are dark."""
    image, labels = nuclei_field((96, 96), 10, seed=seed)
    classes = np.full(labels.max() + 1, len(names) if dark else 1)
    return replace(
        annotated_image(str(seed), image.max() - image if dark else image, labels),
        class_ids=classes,
        class_names=names,
    )


def test_advice_asks_for_the_features_where_classes_are_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A random network proposes and finds next to nothing.
    monkeypatch.setattr(advice, "ENOUGH_PROPOSED", 0.0)
    monkeypatch.setattr(advice, "ENOUGH_FOUND", 0.0)
    start = tiny_checkpoint()
    names = ("bright", "dark")
    items = [item(seed, names, dark=seed % 2 > 0) for seed in range(4)]
    found = exhaust(advise(start, items, "cpu"))
    assert found.told_apart is not None
    assert found.told_apart > 0.9
    assert found.train == "heads"
    assert found.found is not None
    # The same objects, their classes given by chance.
    rng = np.random.default_rng(0)
    mixed = [replace(i, class_ids=rng.integers(1, 3, len(i.class_ids))) for i in items]
    found = exhaust(advise(start, mixed, "cpu"))
    assert found.train == "all"
    assert "2 classes are new" in found.sentence
    known = [replace(i, class_names=("disc", "ring")) for i in mixed]
    assert exhaust(advise(start, known, "cpu")).train == "heads"


def test_features_are_of_the_right_objects() -> None:
    """Those of two images in one, wherever the objects lie."""
    detector = Detector(tiny_checkpoint(), "cpu")
    image, _ = nuclei_field((128, 128), 20, seed=0)
    encoding = detector.encode(image, object_size=24.0)
    boxes = torch.tensor([[5.0, 5, 30, 30], [60, 70, 90, 95], [5, 5, 30, 30]])
    features, rows = exhaust(object_features(detector.network, encoding, boxes))
    assert sorted(rows.tolist()) == [0, 1, 2]
    by_box = features[np.argsort(rows)]
    assert torch.equal(by_box[0], by_box[2])
    assert not torch.allclose(by_box[0], by_box[1])


def test_objects_are_those_that_are_learnt_from() -> None:
    one = item(0, ("bright", "dark"), dark=True)
    labels = one.label_image.copy()
    labels[:40, :40] = -1
    # Too small to be learnt from, or to be asked about.
    labels[60:62, 60:62] = labels.max() + 1
    one = replace(
        one, label_image=labels, class_ids=np.arange(labels.max() + 1) % 2 + 1
    )
    target = make_target(one.label_image, one.class_ids)
    boxes, class_ids = judging._objects(one)
    assert torch.equal(boxes, target["boxes"])
    assert class_ids == target["labels"].tolist()
    assert 0 < len(class_ids) < len(np.unique(labels[labels > 0]))
