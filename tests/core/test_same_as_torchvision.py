"""Networks of torchvision through the detector, against torchvision's own forward."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from numpy.typing import NDArray

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = (
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
)
IMAGE_SIZE = (96, 160)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("same_as_torchvision")


def colours(shape: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """A colourful image, dim, so that stretching its contrast would show."""
    planes = [nuclei_field(shape, 15, seed=seed + k)[0] for k in range(3)]
    image = np.stack(planes, axis=2).astype(np.float64)
    return (20 + 150 * image / image.max()).astype(np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_the_detector_gives_what_torchvision_gives(script: Any, name: str) -> None:
    """On images that are enlarged, and limited by their longer side."""
    classes = ["person"] if "keypoint" in name else ["disc", "ring", "blob"]
    first = colours((96, 120), 1)
    checkpoint = script.random_checkpoint(name, classes, IMAGE_SIZE, first)
    detector = Detector(checkpoint, "cpu", precision=torch.float32)
    network = script.torchvisions(checkpoint)
    # Their heads take longer.
    slow = name in ("maskrcnn_resnet50_fpn_v2", "keypointrcnn_resnet50_fpn")
    for image in [first, colours((60, 200), 7)][slow:]:
        found = script.difference(detector, network, image, 20)
        assert found.expected == found.found > 3
        assert found.boxes < 1e-3
        assert found.scores < 1e-5
        assert found.keypoints < 1e-3
        assert found.classes == found.pixels == 0
        assert bool(found.painted) == name.startswith("mask")
