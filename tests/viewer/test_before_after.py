"""Pictures of what two models find."""

from __future__ import annotations

import numpy as np
import pytest

from napari_maskrcnn.core.dataset import annotated_image
from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.viewer.before_after import SIDE, look


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [60, 1500])
def test_right_wrong_and_missed_are_told_apart(channels: int, side: int) -> None:
    labels = np.zeros((side, side), np.int32)
    labels[5:20, 5:20], labels[30:45, 30:45] = 1, 2
    shape = (side, side, 3) if channels == 3 else (side, side)
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    item = annotated_image("a", image, labels, reviewed=[1, 2], region=labels == 0)
    found = np.zeros_like(labels)
    found[6:20, 5:20], found[30:45, 5:20] = 1, 2
    seen = look(item, Instances.from_label_image(found, class_names=("thing",)))
    assert (seen.right, seen.wrong, seen.missed) == (1, 1, 1)
    assert seen.picture.dtype == np.uint8
    assert max(seen.picture.shape[:2]) <= SIDE
    colours = {tuple(pixel) for pixel in seen.picture.reshape(-1, 3).tolist()}
    assert {(0x56, 0xB4, 0xE9), (0xE6, 0x9F, 0x00), (0xCC, 0x79, 0xA7)} <= colours
