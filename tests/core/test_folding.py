"""Folded networks give what they gave before."""

from __future__ import annotations

from napari_maskrcnn.core import preload  # noqa: F401

import pytest
import torch
from tiny_network import NATIVE_SIZE, tiny_checkpoint
from torch import nn

from napari_maskrcnn.core.architectures import build
from napari_maskrcnn.core.checkpoints import Checkpoint
from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.folding import fold_normalisations


def with_statistics(network: nn.Module) -> nn.Module:
    """As if it had been trained: statistics, factors and summands of every channel."""
    torch.manual_seed(0)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.3, 3.0)
            nn.init.uniform_(part.weight, 0.3, 2.0)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    return network.eval()


def normalisations(network: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in network.modules())


@pytest.mark.parametrize("trunk", ["resnet18", "resnet34"])
def test_a_folded_trunk_gives_the_same_features(trunk: str) -> None:
    backbone = with_statistics(
        build("small_fpn", 2, {"trunk": trunk, "channels": 16}).backbone
    )
    image = torch.rand(1, 3, 96, 64)
    with torch.inference_mode():
        before = backbone(image)
        assert normalisations(backbone) > 15
        fold_normalisations(backbone)
        after = backbone(image)
    assert not normalisations(backbone)
    for name, features in before.items():
        spread = float(features.std())
        torch.testing.assert_close(after[name], features, rtol=0, atol=1e-4 * spread)


def test_a_detector_folds_unless_told_otherwise() -> None:
    checkpoint = tiny_checkpoint()
    folded, plain = (
        Detector(checkpoint, "cpu", folded=fold, precision=torch.float32)
        for fold in (True, False)
    )
    assert not normalisations(folded.network)
    assert not any(p.requires_grad for p in folded.network.parameters())
    plain.network.load_state_dict(checkpoint.state)
    image = torch.rand(64, 96).numpy()
    a, b = (x.encode(image, object_size=NATIVE_SIZE) for x in (folded, plain))
    for name, features in a.windows[0].features.items():
        torch.testing.assert_close(features, b.windows[0].features[name])


def test_a_network_of_whole_images_stays_as_torchvision_made_it() -> None:
    checkpoint = tiny_checkpoint()
    config = {k: v for k, v in checkpoint.config.items() if k != "object_size"}
    whole = Checkpoint({**config, "image_size": [64, 96]}, checkpoint.state)
    assert normalisations(Detector(whole, "cpu").network)
