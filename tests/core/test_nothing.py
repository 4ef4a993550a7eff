"""Pictures without objects, and that training sees its share of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from tiny_network import ARCHITECTURE

from napari_maskrcnn.core.augmentation import Augmentation
from napari_maskrcnn.core.dataset import AnnotatedImage, annotated_image
from napari_maskrcnn.core.examples import random_view
from napari_maskrcnn.core.nothing import draw_nothing
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.core.training import train
from napari_maskrcnn.core.training_config import TrainConfig


@pytest.fixture(scope="module")
def crowded() -> AnnotatedImage:
    return annotated_image("field", *nuclei_field((128, 128), 60))


def test_nothing_is_noise_in_colour_or_grey() -> None:
    colourful = 0
    for seed in range(200):
        picture = draw_nothing(64, np.random.default_rng(seed))
        assert picture.shape == (3, 64, 64)
        assert picture.dtype == torch.float32
        assert float(picture.min()) == 0
        assert float(picture.max()) == 1
        # Bright and dark alike, where objects stand out from a ground.
        assert abs(stats.skew(picture.numpy().ravel())) < 1.2
        colourful += not torch.equal(picture[0], picture[1])
    assert 30 < colourful < 70
    again = draw_nothing(64, np.random.default_rng(199))
    assert torch.equal(again, picture)


def test_some_views_show_nothing(crowded: AnnotatedImage) -> None:
    def counts(empty: float) -> list[int]:
        rng = np.random.default_rng(0)
        found = []
        for _ in range(200):
            image, target = random_view(
                crowded,
                rng,
                crop=64,
                native_size=16,
                augmentation=Augmentation(empty=empty),
            )
            assert image.shape == (3, 64, 64)
            assert 0 <= float(image.min()) <= float(image.max()) <= 1
            assert target["masks"].shape == (len(target["boxes"]), 64, 64)
            found.append(len(target["labels"]))
        return found

    assert min(counts(0)) > 0
    assert 30 < counts(0.25).count(0) < 70
    assert max(counts(1)) == 0


def test_a_step_on_nothing_is_a_step(crowded: AnnotatedImage) -> None:
    config = TrainConfig(
        arguments={**ARCHITECTURE["arguments"], "rois_per_image": 16},
        native_size=24.0,
        steps=2,
        batch_size=2,
        crop=64,
        precision="float32",
        augmentation=Augmentation(empty=1.0),
    )
    steps = [x for x in train([crowded], config, device="cpu") if x.losses]
    assert len(steps) == 2
    for step in steps:
        assert np.isfinite(step.losses["loss"])
        assert step.losses["loss_mask"] == step.losses["loss_box_reg"] == 0
        assert step.losses["loss_objectness"] > 0
