"""What a training run begins with: its network, and the weights of another model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .architectures import build
from .checkpoints import Checkpoint, read_checkpoint
from .devices import memory_format
from .training_state import TrainingState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .training_config import TrainConfig


def checkpoint_config(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration of the checkpoint that a run will give."""
    size: dict[str, Any] = {"object_size": config.native_size}
    if config.image_size is not None:
        size = {"image_size": list(config.image_size)}
    return {
        "architecture": {"name": config.architecture, "arguments": config.arguments},
        "class_names": list(config.class_names),
        "description": config.description,
        "aligned_masks": True,
        **size,
        **({"card": config.card} if config.card else {}),
    }


def first_weights(config: TrainConfig) -> Checkpoint | None:
    """Read the checkpoint that the run begins with, if it begins with one."""
    if config.start_from is None:
        return None
    from .model_list import find_model

    first = read_checkpoint(find_model(config.start_from))
    # Through JSON, as the checkpoint went: a tuple has become a list.
    wanted = _fixed_by_weights(json.loads(json.dumps(checkpoint_config(config))))
    given = _fixed_by_weights(first.config)
    differing = [key for key in wanted if wanted[key] != given[key]]
    if differing:
        raise ValueError(
            f"the run cannot begin with {config.start_from}: its "
            f"{', '.join(differing)} differ from the configuration's"
        )
    return first


def _fixed_by_weights(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a checkpoint's configuration its weights do not fit without."""
    architecture = config["architecture"]
    # How many proposals are learnt from is of no matter to any weight.
    arguments = {
        key: value
        for key, value in architecture["arguments"].items()
        if key != "rois_per_image"
    }
    return {
        "architecture": (architecture["name"], arguments),
        "class_names": config["class_names"],
    }


def start(
    config: TrainConfig, first: Checkpoint | None, device: torch.device
) -> TrainingState:
    """Build the network with its first weights, its average and its optimiser."""
    torch.manual_seed(config.seed)
    network = build(config.architecture, len(config.class_names) + 1, config.arguments)
    if first is not None:
        network.load_state_dict(first.state)
    network = network.to(device, memory_format=memory_format(device)).train()
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
    )
    average = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True
    )
    return TrainingState(network, average, optimizer, device)
