"""Half a pixel between the masks that torchvision learns from and where they are.

It cuts the masks to learn from with an ``roi_align`` that takes a pixel's corner for
its centre (``project_masks_on_boxes``; ``aligned`` is False), so a head learns to draw
them half a network pixel up and left of where they are; its boxes are right. Either the
targets are moved before torchvision cuts them, or what comes out is moved afterwards.
Figures: docs/training.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor, nn

# Network pixels by which the masks of a network that learnt them as torchvision cuts
# them are moved down and right: moved by all of the half, they are cut at the box on
# two sides; half of it is best.
LAG = 0.25


def lag(network: nn.Module) -> float:
    """Return how far a network draws masks up and left, in pixels that it sees.

    Parameters
    ----------
    network : nn.Module
        One that learnt from `aligned` targets has a true ``aligned_masks``.
    """
    return 0.0 if learns_aligned(network) else LAG


def learns_aligned(network: nn.Module) -> bool:
    """Tell whether a network learns, and has learnt, from `aligned` targets."""
    return bool(getattr(network, "aligned_masks", False))


def aligned(target: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a target whose masks torchvision cuts where they are.

    They are moved half a pixel down and right, each pixel the mean of four.

    Parameters
    ----------
    target : dict
        As of `examples.make_target`, on any device.

    Returns
    -------
    dict
        The same, its masks (N, H, W) float32 in [0, 1].
    """
    masks = target["masks"]
    if not len(masks):
        return target
    # An object that goes on beyond the edge of a view does so in its mask.
    padded = functional.pad(masks[:, None].float(), (1, 0, 1, 0), mode="replicate")
    return {**target, "masks": functional.avg_pool2d(padded, 2, stride=1)[:, 0]}
