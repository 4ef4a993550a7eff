"""Small versions of the large networks learn two images by heart, from nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_maskrcnn.core.augmentation import Augmentation
from napari_maskrcnn.core.dataset import AnnotatedImage, annotated_image, random_view
from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.metrics import evaluate
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.training import TrainConfig, train

SIZE = (64, 64)
AS_THEY_ARE = Augmentation(
    scale_jitter=1.1, invert=0, blur=0, noise=0, illumination=0, tint=0, to_grey=0,
    gamma=0, colour=0, upright=True,
)  # fmt: skip
CONFIG = TrainConfig(
    class_names=("disc", "square"),
    image_size=SIZE,
    steps=70,
    batch_size=2,
    crop=64,
    learning_rate=1e-3,
    warm_up=10,
    ema_decay=0.9,
    validation_fraction=0,
    validate_every=0,
    precision="float32",
    augmentation=AS_THEY_ARE,
)


def picture(seed: int) -> AnnotatedImage:
    """Bright discs and coloured squares, (64, 64), 8-bit colours."""
    rng = np.random.default_rng(seed)
    image = rng.integers(20, 60, (64, 64, 3))
    label_image = np.zeros((64, 64), np.int64)
    rows, columns = np.mgrid[:64, :64]
    places = [(16, 16), (16, 46), (46, 18), (46, 46)]
    for label, (y, x) in enumerate(places, start=1):
        y, x = y + rng.integers(-3, 4), x + rng.integers(-3, 4)
        inside = (rows - y) ** 2 + (columns - x) ** 2 < 81
        if label % 2:
            inside = (abs(rows - y) < 9) & (abs(columns - x) < 9)
        label_image[inside] = label
        image[inside] = (200, 60, 60) if label % 2 else (150, 220, 90)
    class_ids = np.array([0, 2, 1, 2, 1])
    return annotated_image(
        f"picture {seed}", image.astype(np.uint8), label_image, class_ids,
        class_names=CONFIG.class_names,
    )  # fmt: skip


PICTURES = [picture(1), picture(2)]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        # With regions of 6 x 6 cells conv5 is done with them five times as soon.
        (
            "maskrcnn_resnet50_c4",
            {"trunk": "resnet18", "anchor_sizes": [12, 20, 32], "roi_size": 6},
        ),
        ("maskrcnn_resnet18_fpn", {"anchor_sizes": [20, 32, 48, 64, 96]}),
    ],
)
def test_two_images_are_learnt_by_heart(name: str, arguments: dict[str, Any]) -> None:
    arguments = {**arguments, "norm": "group", "rois_per_image": 16}
    config = replace(CONFIG, architecture=name, arguments=arguments)
    losses = []
    work = train(PICTURES, config, device="cpu")
    while True:
        try:
            losses.append(next(work).losses.get("loss"))
        except StopIteration as stop:
            checkpoint = stop.value
            break
    assert checkpoint.image_size == SIZE
    detector = Detector(checkpoint, "cpu", precision=torch.float32)
    found = []
    for item in PICTURES:
        _, kept = exhaust(detector.segment(item.photograph))
        found.append(Recipe(score_threshold=0.5).apply(kept))
    import os

    if os.environ.get("SHOW"):
        print(
            [l and round(l, 2) for l in losses][::5],
            [(i.names, i.scores) for i in found],
        )
    result = evaluate(
        [item.label_image for item in PICTURES],
        [instances.to_label_image() for instances in found],
    )
    assert result.ap(0.5) >= 0.8
    for instances in found:
        assert instances.names.count("disc") == instances.names.count("square") == 2


def test_what_is_learnt_from_is_what_will_be_seen() -> None:
    """8-bit colours unscaled, at the size that the detector resizes to."""
    item = PICTURES[0]
    view, target = random_view(
        item,
        np.random.default_rng(0),
        crop=64,
        native_size=None,
        augmentation=replace(AS_THEY_ARE, scale_jitter=1.0),
        image_size=SIZE,
    )
    assert view.shape == (3, 64, 64)
    assert view.max() < 230 / 255
    assert 60 / 255 > view.min() > 10 / 255
    assert sorted(target["labels"].tolist()) == [1, 1, 2, 2]
    sides = (target["boxes"][:, 2:] - target["boxes"][:, :2]).mean()
    assert 14 < sides < 20


@pytest.mark.parametrize("size", [(0, 10), (20, 10)])
def test_an_image_size_that_is_none_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="image_size must be the shorter side"):
        replace(CONFIG, image_size=size)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fasterrcnn_resnet50_fpn", "boxes"),
        ("keypointrcnn_resnet50_fpn", "keypoints"),
    ],
)
def test_only_networks_with_masks_are_trained_from_nothing(
    name: str, kind: str
) -> None:
    with pytest.raises(ValueError, match=f"{name} gives {kind} only"):
        next(train(PICTURES, replace(CONFIG, architecture=name), device="cpu"))


def test_a_configuration_comes_back_from_json() -> None:
    import json

    again = TrainConfig.from_dict(json.loads(json.dumps(CONFIG.to_dict())))
    assert again == CONFIG
