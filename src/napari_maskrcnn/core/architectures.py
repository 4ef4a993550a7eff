"""Every network by name, assembled from torchvision's parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import torchvision
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import (
    MaskRCNNHeads,
    MaskRCNNPredictor,
)
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Builder = Callable[..., MaskRCNN]


def small_fpn(
    num_classes: int,
    *,
    trunk: str = "resnet18",
    stages: int = 3,
    channels: int = 96,
    box_features: int = 512,
    anchor_sizes: Sequence[int] = (24, 48, 96, 192),
    aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
    mask_layers: int = 3,
    rois_per_image: int = 128,
) -> MaskRCNN:
    """Build the starter: a Mask R-CNN that a laptop's processor runs.

    A trunk of torchvision's ResNet family, cut after ``stages`` stages, a feature
    pyramid of few channels with batch normalisation, and the heads of the Mask R-CNN
    paper (He et al. 2017) in the same width. It sees images in [0, 1] at the scale that
    the caller chose: it does not resize.

    Parameters
    ----------
    num_classes : int
        Classes with the background, so at least 2.
    trunk : str
        Name of a basic-block ResNet of torchvision: "resnet18" or "resnet34".
    stages : int
        How many of its four stages are kept. Strides are 4, 8, 16 and 32.
    channels : int
        Channels of every pyramid level and of the mask head.
    box_features : int
        Width of the two fully connected layers of the box head.
    anchor_sizes : sequence of int
        One anchor side a level, in pixels that the network sees; ``stages + 1`` of
        them, since a last level comes from max-pooling.
    aspect_ratios : sequence of float
        Height over width of the anchors, on every level.
    mask_layers : int
        3 x 3 convolutions of the mask head; the paper has four.
    rois_per_image : int
        Proposals an image that the heads learn from; a quarter of them are objects.
        torchvision's 512 would spend most of the time on these small heads.
    """
    body = torchvision.models.get_model(trunk, weights=None)
    layers = [f"layer{stage}" for stage in range(1, stages + 1)]
    backbone = BackboneWithFPN(
        body,
        return_layers={name: str(level) for level, name in enumerate(layers)},
        in_channels_list=[64 * 2**level for level in range(stages)],
        out_channels=channels,
        extra_blocks=LastLevelMaxPool(),
        norm_layer=nn.BatchNorm2d,
    )
    levels = [str(level) for level in range(stages)]
    return MaskRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(
            tuple((size,) for size in anchor_sizes),
            (tuple(aspect_ratios),) * len(anchor_sizes),
        ),
        box_roi_pool=MultiScaleRoIAlign(levels, output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(channels * 7 * 7, box_features),
        box_predictor=FastRCNNPredictor(box_features, num_classes),
        mask_roi_pool=MultiScaleRoIAlign(levels, output_size=14, sampling_ratio=1),
        mask_head=MaskRCNNHeads(channels, (channels,) * mask_layers, 1),
        mask_predictor=MaskRCNNPredictor(channels, channels, num_classes),
        box_batch_size_per_image=rois_per_image,
        # A crowded window holds a thousand objects, each with a few proposals.
        rpn_pre_nms_top_n_test=4000,
        rpn_post_nms_top_n_test=4000,
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
        # In training the caller has rescaled already.
        _skip_resize=True,
    )


ARCHITECTURES: dict[str, Builder] = {"small_fpn": small_fpn}


def build(name: str, num_classes: int, arguments: Mapping[str, Any]) -> MaskRCNN:
    """Build a network by name with random weights.

    Parameters
    ----------
    name : str
        A key of ``ARCHITECTURES``.
    num_classes : int
        Classes with the background.
    arguments : mapping
        Keyword arguments of the builder, as a checkpoint's configuration holds them.

    Raises
    ------
    ValueError
        When the name or an argument is not known.
    """
    if name not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ValueError(f"unknown architecture {name!r}; known are {known}")
    try:
        return ARCHITECTURES[name](num_classes, **arguments)
    except TypeError as error:
        raise ValueError(
            f"wrong arguments for architecture {name!r}: {error}"
        ) from None
