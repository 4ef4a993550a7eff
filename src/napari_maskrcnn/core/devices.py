"""Which device computes, and in which precision."""

from __future__ import annotations

import os

from napari_maskrcnn.core import preload  # noqa: F401

import torch

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str = "auto") -> torch.device:
    """Return a device that works.

    Parameters
    ----------
    name : str
        "auto" takes a CUDA GPU, else Apple's (mps), else the CPU; or a torch device
        string such as "cpu" or "cuda:1".

    Raises
    ------
    ValueError
        When the name is unknown or the device is not there.
    """
    if name == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if _mps() else "cpu"
        )
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(
            f"device must be one of {', '.join(DEVICES)}, got {name!r}"
        ) from None
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available()
        and (device.index or 0) < torch.cuda.device_count(),
        "mps": _mps(),
    }
    if not available.get(device.type, False):
        raise ValueError(
            f"device {name!r} is not available on this machine; use 'auto'"
        )
    return device


def _mps() -> bool:
    return torch.backends.mps.is_available()


def describe_device(name: str = "auto") -> str:
    """Return the device's name for a person, such as "CPU (8 cores)"."""
    device = choose_device(name)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    return f"CPU ({os.cpu_count()} cores)"


def inference_precision(device: torch.device) -> torch.dtype:
    """Return the precision that is quick and safe on a device.

    bfloat16 on GPUs and processors that multiply in it, float32 elsewhere. Boxes and
    suppression always stay in float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.bfloat16
    return torch.float32


def memory_format(
    device: torch.device, *, small_trunk: bool = False
) -> torch.memory_format:
    """Return the layout of feature maps that suits a device's convolutions.

    Parameters
    ----------
    device : torch.device
        GPUs want channels last.
    small_trunk : bool
        So do processors for few channels on large maps, as the starter has them, and
        without gradients: 15 to 23% less time. A ResNet-50 gains nothing.
    """
    last = device.type == "cuda" or (small_trunk and device.type == "cpu")
    return torch.channels_last if last else torch.contiguous_format
