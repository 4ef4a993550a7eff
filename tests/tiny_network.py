"""A tiny network with random weights, which finds junk, but quickly and always."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_maskrcnn.core.architectures import build
from napari_maskrcnn.core.checkpoints import Checkpoint, write_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

NATIVE_SIZE = 24.0
CLASS_NAMES = ("disc", "ring")
ARCHITECTURE: dict[str, Any] = {
    "name": "small_fpn",
    "arguments": {
        "stages": 2,
        "channels": 16,
        "box_features": 32,
        "mask_layers": 1,
        "anchor_sizes": [16, 32, 64],
    },
}


def tiny_checkpoint(*, spread: bool = True) -> Checkpoint:
    """Build the network; spread its outputs so that scores and masks differ."""
    torch.manual_seed(1)
    network = build(
        ARCHITECTURE["name"], len(CLASS_NAMES) + 1, ARCHITECTURE["arguments"]
    )
    if spread:
        heads = network.roi_heads
        with torch.no_grad():
            network.rpn.head.cls_logits.weight *= 1000
            network.rpn.head.cls_logits.bias -= 4
            heads.box_predictor.cls_score.weight *= 100
            heads.box_predictor.cls_score.bias[1] += 2.5
            heads.box_predictor.cls_score.bias[1:] -= 8
            heads.mask_predictor.mask_fcn_logits.weight *= 30
    config = {
        "architecture": ARCHITECTURE,
        "class_names": list(CLASS_NAMES),
        "object_size": NATIVE_SIZE,
        "description": "Random weights",
    }
    return Checkpoint(config, network.state_dict())


def write_tiny(folder: Path, name: str = "tiny") -> Path:
    """Write the checkpoint and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    write_checkpoint(path, tiny_checkpoint())
    return path
