"""Every network by name, assembled from torchvision's parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import torchvision
from torch import nn
from torchvision.models import detection
from torchvision.models.detection import FasterRCNN, KeypointRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import (
    BackboneWithFPN,
    resnet_fpn_backbone,
)
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import (
    MaskRCNNHeads,
    MaskRCNNPredictor,
)
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from .c4 import PROPOSALS, ROI_SIZE, c4
from .kinds import check_known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Builder = Callable[..., FasterRCNN]
"""Takes the number of classes, the background counted, and the arguments by name."""
# torchvision's: pixels that the network sees.
ANCHOR_SIZES = (32, 64, 128, 256, 512)
ASPECT_RATIOS = (0.5, 1.0, 2.0)
# torchvision's: proposals an image that the heads learn from.
ROIS_PER_IMAGE = 512
GROUPS = 32


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


def norm_layer(norm: str, eps: float) -> Callable[[int], nn.Module]:
    """Return what makes the normalisation layers of a ResNet.

    Parameters
    ----------
    norm : str
        "batch" learns and measures its statistics, with batches large enough;
        "group" normalises each image by itself (Wu & He 2018): for training from random
        weights with few images a step; "frozen" keeps the statistics of weights that
        were trained: those that torchvision publishes.
    eps : float
        Added to the variance.

    Raises
    ------
    ValueError
        When there is no such normalisation.
    """
    layers: dict[str, Callable[[int], nn.Module]] = {
        "batch": partial(nn.BatchNorm2d, eps=eps),
        "group": partial(nn.GroupNorm, GROUPS, eps=eps),
        "frozen": partial(FrozenBatchNorm2d, eps=eps),
    }
    if norm not in layers:
        raise ValueError(f"norm must be one of {', '.join(layers)}, got {norm!r}")
    return layers[norm]


def _fpn(trunk: str, network: Callable[..., FasterRCNN]) -> Builder:
    """Return a builder of a network on a ResNet with a pyramid, P2 to P6.

    It is torchvision's network of that name: with ``norm="batch"`` as it comes without
    weights, with ``norm="frozen"`` and ``norm_eps=0`` as it comes with those published.
    """

    def builder(
        num_classes: int,
        *,
        norm: str = "batch",
        norm_eps: float = 1e-5,
        anchor_sizes: Sequence[int] = ANCHOR_SIZES,
        rois_per_image: int = ROIS_PER_IMAGE,
    ) -> FasterRCNN:
        backbone = resnet_fpn_backbone(
            backbone_name=trunk,
            weights=None,
            norm_layer=norm_layer(norm, norm_eps),
            trainable_layers=5,
        )
        anchors = AnchorGenerator(
            tuple((size,) for size in anchor_sizes),
            (ASPECT_RATIOS,) * len(anchor_sizes),
        )
        return network(
            backbone,
            num_classes,
            rpn_anchor_generator=anchors,
            box_batch_size_per_image=rois_per_image,
            # In training the caller has rescaled already.
            _skip_resize=True,
        )

    return builder


def _second(network: Callable[..., FasterRCNN]) -> Builder:
    """Return a builder of a second version: torchvision's own."""

    def builder(
        num_classes: int, *, rois_per_image: int = ROIS_PER_IMAGE
    ) -> FasterRCNN:
        return network(
            weights=None,
            weights_backbone=None,
            num_classes=num_classes,
            box_batch_size_per_image=rois_per_image,
            _skip_resize=True,
        )

    return builder


def maskrcnn_resnet50_c4(
    num_classes: int,
    *,
    trunk: str = "resnet50",
    norm: str = "batch",
    norm_eps: float = 1e-5,
    anchor_sizes: Sequence[int] = ANCHOR_SIZES,
    rois_per_image: int = ROIS_PER_IMAGE,
    roi_size: int = ROI_SIZE,
    proposals: int = PROPOSALS,
) -> MaskRCNN:
    """Build the network of the paper's first experiments; see `core.c4.c4`.

    Parameters
    ----------
    num_classes : int
        Classes with the background.
    trunk : str
        Name of a ResNet of torchvision.
    norm, norm_eps
        See `norm_layer`; conv5 has it too.
    anchor_sizes : sequence of int
        In pixels that the network sees, all of them on the one level.
    rois_per_image : int
        Proposals an image that the heads learn from. Each goes through conv5.
    roi_size : int
        Side of a region that goes into conv5, in cells, and of a mask.
    proposals : int
        The most that the heads look at in an image. A processor takes most of its time
        for them.
    """
    layer = norm_layer(norm, norm_eps)
    return c4(
        num_classes, trunk, layer, anchor_sizes, rois_per_image, roi_size, proposals
    )


def keypointrcnn_resnet50_fpn(
    num_classes: int, *, num_keypoints: int = 17, **arguments: Any
) -> KeypointRCNN:
    """Build torchvision's Keypoint R-CNN.

    Parameters
    ----------
    num_classes : int
        Classes with the background.
    num_keypoints : int
        Of each object; 17 for the persons of COCO.
    **arguments
        As of the other networks with a pyramid.
    """
    network = partial(KeypointRCNN, num_keypoints=num_keypoints)
    return _fpn("resnet50", network)(num_classes, **arguments)


ARCHITECTURES: dict[str, Builder] = {
    "small_fpn": small_fpn,
    "maskrcnn_resnet18_fpn": _fpn("resnet18", MaskRCNN),
    "maskrcnn_resnet50_fpn": _fpn("resnet50", MaskRCNN),
    "maskrcnn_resnet101_fpn": _fpn("resnet101", MaskRCNN),
    "maskrcnn_resnet50_fpn_v2": _second(detection.maskrcnn_resnet50_fpn_v2),
    "maskrcnn_resnet50_c4": maskrcnn_resnet50_c4,
    "fasterrcnn_resnet50_fpn": _fpn("resnet50", FasterRCNN),
    "fasterrcnn_resnet50_fpn_v2": _second(detection.fasterrcnn_resnet50_fpn_v2),
    "keypointrcnn_resnet50_fpn": keypointrcnn_resnet50_fpn,
}


def build(name: str, num_classes: int, arguments: Mapping[str, Any]) -> FasterRCNN:
    """Build a network by name with random weights.

    Parameters
    ----------
    name : str
        A key of ``ARCHITECTURES``.
    num_classes : int
        Classes with the background.
    arguments : mapping
        Keyword arguments of the builder, as a checkpoint's configuration holds them.

    Returns
    -------
    FasterRCNN
        Or one of its subclasses, MaskRCNN or KeypointRCNN.

    Raises
    ------
    ValueError
        When the name or an argument is not known.
    """
    check_known(name)
    try:
        return ARCHITECTURES[name](num_classes, **arguments)
    except TypeError as error:
        raise ValueError(
            f"wrong arguments for architecture {name!r}: {error}"
        ) from None
