"""Every network by name: torchvision's where it has it, and the paper's C4."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torchvision.models import detection
from torchvision.ops import FrozenBatchNorm2d

from napari_maskrcnn.core.architectures import ARCHITECTURES, build
from napari_maskrcnn.core.checkpoints import Checkpoint, write_checkpoint
from napari_maskrcnn.core.kinds import KINDS, output_kind, published_arguments

TORCHVISIONS = sorted(
    set(ARCHITECTURES) & {name for name, _ in inspect.getmembers(detection)}
)
# Of torchvision's enums of weights.
PUBLISHED_PARAMETERS = {
    "fasterrcnn_resnet50_fpn": detection.FasterRCNN_ResNet50_FPN_Weights,
    "fasterrcnn_resnet50_fpn_v2": detection.FasterRCNN_ResNet50_FPN_V2_Weights,
    "keypointrcnn_resnet50_fpn": detection.KeypointRCNN_ResNet50_FPN_Weights,
    "maskrcnn_resnet50_fpn": detection.MaskRCNN_ResNet50_FPN_Weights,
    "maskrcnn_resnet50_fpn_v2": detection.MaskRCNN_ResNet50_FPN_V2_Weights,
}


def shapes(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def test_every_network_has_its_kind() -> None:
    assert ARCHITECTURES.keys() == KINDS.keys()
    assert output_kind("keypointrcnn_resnet50_fpn") == "keypoints"
    for ask in (output_kind, lambda name: build(name, 2, {})):
        with pytest.raises(ValueError, match="unknown architecture 'yolo'; known are"):
            ask("yolo")


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_torchvisions_networks_are_torchvisions(name: str) -> None:
    """The names of tensors, so that weights load, and the numbers of parameters."""
    with torch.device("meta"):
        theirs = getattr(detection, name)(
            weights=None, weights_backbone=None, num_classes=5
        )
        assert shapes(build(name, 5, {})) == shapes(theirs)
        meta = PUBLISHED_PARAMETERS[name].DEFAULT.meta
        published = build(name, len(meta["categories"]), published_arguments(name))
    count = sum(parameter.numel() for parameter in published.parameters())
    assert count == meta["num_params"]
    for module in published.modules():
        if isinstance(module, FrozenBatchNorm2d):
            assert module.eps == 0
    frozen = any(isinstance(m, FrozenBatchNorm2d) for m in published.modules())
    assert frozen != name.endswith("_v2")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("maskrcnn_resnet50_fpn", {"wings": 2}, "wrong arguments .* 'wings'"),
        ("maskrcnn_resnet18_fpn", {"norm": "layer"}, "norm must be one of batch,"),
        ("keypointrcnn_resnet50_fpn", {"wings": 2}, "wrong arguments .* 'wings'"),
        ("fasterrcnn_resnet50_fpn_v2", {"norm": "batch"}, "wrong arguments .* 'norm'"),
    ],
)
def test_arguments_that_are_none_are_refused(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, 2, arguments)


@pytest.mark.parametrize("name", ["maskrcnn_resnet18_fpn", "maskrcnn_resnet101_fpn"])
def test_a_pyramid_has_five_levels_of_three_anchors(name: str) -> None:
    network = build(name, 3, {}).eval()
    with torch.no_grad():
        levels = network.backbone(torch.zeros(1, 3, 64, 96))
    assert [level.shape[-1] for level in levels.values()] == [24, 12, 6, 3, 2]
    assert {level.shape[1] for level in levels.values()} == {256}
    assert network.rpn.anchor_generator.num_anchors_per_location() == [3] * 5
    grid = network.roi_heads.mask_head(torch.zeros(1, 256, 14, 14))
    assert network.roi_heads.mask_predictor(grid).shape == (1, 3, 28, 28)


# ------------------------------------------------------------------ C4


@pytest.fixture(scope="module")
def c4() -> Any:
    torch.manual_seed(0)
    arguments = {"trunk": "resnet18", "norm": "group"}
    return build("maskrcnn_resnet50_c4", 4, arguments).eval()


def test_c4_is_as_the_paper_has_it() -> None:
    """Figures of detectron2's R50-C4 are in docs/models.md."""
    with torch.device("meta"):
        network = build("maskrcnn_resnet50_c4", 81, {"norm": "frozen"})
    heads = network.roi_heads
    (anchors,) = network.rpn.anchor_generator.num_anchors_per_location()
    assert anchors == 15
    assert network.rpn.head.cls_logits.out_channels == 15
    res5 = heads.box_head.res5
    assert [block.conv2.stride for block in res5] == [(2, 2), (1, 1), (1, 1)]
    assert all(isinstance(block.bn1, FrozenBatchNorm2d) for block in res5)
    assert heads.box_roi_pool.output_size == (14, 14)
    assert heads.mask_roi_pool.output_size == (14, 14)
    # detectron2's predictors have no rows for the background's box and mask.
    background = 4 * (2048 + 1) + (256 + 1)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count - background == 35_909_612


def test_c4_gives_a_mask_of_14_x_14_for_every_class(c4: Any) -> None:
    heads = c4.roi_heads
    with torch.no_grad():
        features = c4.backbone(torch.rand(1, 3, 64, 96))
        assert {key: tuple(f.shape) for key, f in features.items()} == {
            "0": (1, 256, 4, 6)
        }
        pooled = heads.mask_roi_pool(
            features, [torch.tensor([[5.0, 5.0, 60.0, 50.0]])], [(64, 96)]
        )
        assert pooled.shape[-2:] == (14, 14)
        assert heads.mask_head(pooled).shape == (1, 512, 7, 7)
        assert heads.mask_predictor(heads.mask_head(pooled)).shape == (1, 4, 14, 14)


def test_c4_pools_between_the_pixels(c4: Any) -> None:
    """RoIPool would round the half pixel away: its stride is 16."""
    box = torch.tensor([[16.0, 16.0, 64.0, 48.0]])
    features = {"0": torch.rand(1, 256, 4, 6)}
    for pool in (c4.roi_heads.box_roi_pool, c4.roi_heads.mask_roi_pool):
        first = pool(features, [box], [(64, 96)])
        moved = pool(features, [box + 0.5], [(64, 96)])
        assert (first - moved).abs().max() > 1e-3


def test_c4_shares_conv5_and_keeps_it_once(c4: Any, tmp_path: Any) -> None:
    heads = c4.roi_heads
    keys = c4.state_dict().keys()
    assert not [key for key in keys if key.startswith("roi_heads.mask_head")]
    assert [key for key in keys if key.startswith("roi_heads.box_head.res5")]
    pooled = torch.rand(1, 256, 14, 14)
    with torch.no_grad():
        before = heads.mask_head(pooled)
        for parameter in heads.box_head.res5[1].parameters():
            parameter.mul_(1.5)
        assert not torch.equal(before, heads.mask_head(pooled))
    config = {
        "architecture": {
            "name": "maskrcnn_resnet50_c4",
            "arguments": {"trunk": "resnet18", "norm": "group"},
        },
        "class_names": ["a", "b", "c"],
        "image_size": [64, 96],
    }
    checkpoint = Checkpoint(config, c4.state_dict())
    write_checkpoint(tmp_path / "c4.safetensors", checkpoint)
    # It belongs to the heads: what it learns leaves encodings valid.
    changed = dict(c4.state_dict())
    changed["roi_heads.box_head.res5.1.conv1.weight"] += 1
    assert Checkpoint(config, changed).trunk_id == checkpoint.trunk_id
    changed = {k: v.clone() for k, v in c4.state_dict().items()}
    changed["backbone.body.conv1.weight"] += 1
    assert Checkpoint(config, changed).trunk_id != checkpoint.trunk_id
