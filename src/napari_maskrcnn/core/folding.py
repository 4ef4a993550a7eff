"""Batch normalisations folded into the convolutions before them: the same, sooner."""

from __future__ import annotations

from itertools import pairwise

from napari_maskrcnn.core import preload  # noqa: F401

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_normalisations(network: nn.Module) -> None:
    """Fold every batch normalisation that follows a convolution into it, in place.

    In evaluation a batch normalisation is one factor and one summand a channel, so the
    convolution can have them (`torch.nn.utils.fusion`). Results differ by rounding.
    What is left neither learns nor takes the weights of a checkpoint.

    Parameters
    ----------
    network : Module
        In evaluation mode, of parts that call their children in the order in which they
        have them, as torchvision's ResNets and pyramids do.
    """
    for child in network.children():
        fold_normalisations(child)
    for (name, first), (after, second) in pairwise(list(network.named_children())):
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            setattr(network, name, fuse_conv_bn_eval(first, second))
            setattr(network, after, nn.Identity())
