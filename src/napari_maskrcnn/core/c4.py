"""Mask R-CNN on conv4, with conv5 in its heads: the ResNet-C4 of the paper."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import torchvision
from torch import nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

MASK_CHANNELS = 256
ROI_SIZE = 14
PROPOSALS = 1000


class TrunkWithoutPyramid(nn.Module):
    """A trunk of one level, with the parts that a trunk with a pyramid has.

    Parameters
    ----------
    trunk : nn.Module
        A ResNet of torchvision.
    layer : str
        Its last stage that is kept.
    out_channels : int
        Of that stage.
    """

    def __init__(self, trunk: nn.Module, layer: str, out_channels: int) -> None:
        super().__init__()
        self.body = IntermediateLayerGetter(trunk, {layer: "0"})
        # So that whoever runs trunk and pyramid apart needs no special case.
        self.fpn = nn.Identity()
        self.out_channels = out_channels

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return the one level, by the name "0"."""
        levels: dict[str, Tensor] = self.fpn(self.body(pixels))
        return levels


class BoxHead(nn.Sequential):
    """Conv5 on each region, and the average over what it gives."""

    def __init__(self, res5: nn.Module) -> None:
        super().__init__(OrderedDict(res5=res5, pool=nn.AdaptiveAvgPool2d(1)))


class MaskHead(nn.Module):
    """The same conv5, for the mask branch."""

    def __init__(self, box_head: BoxHead) -> None:
        super().__init__()
        # In a tuple, so that it is not registered, saved and counted twice.
        self._shared = (box_head,)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return conv5's features of each region, half as wide as they came."""
        features: Tensor = self._shared[0].get_submodule("res5")(pooled)
        return features


def c4(
    num_classes: int,
    trunk: str,
    norm_layer: Callable[[int], nn.Module],
    anchor_sizes: Sequence[int],
    rois_per_image: int,
    roi_size: int = ROI_SIZE,
    proposals: int = PROPOSALS,
) -> MaskRCNN:
    """Assemble a Mask R-CNN on conv4 (He et al. 2017, figure 4, left).

    Stride 16; on each cell anchors of five sizes and three ratios; RoIAlign to 14 x 14
    into conv5, which the box and the mask branch share; one mask of 14 x 14 a class.

    In torchvision's ResNets the 3 x 3 convolution of a block has the stride, in
    detectron2's first ones the 1 x 1 before it. How many proposals are kept is as in
    detectron2's configuration of this network.

    Parameters
    ----------
    num_classes : int
        Classes with the background.
    trunk : str
        Name of a ResNet of torchvision.
    norm_layer : callable
        Makes a normalisation layer for a number of channels.
    anchor_sizes : sequence of int
        In pixels that the network sees.
    rois_per_image : int
        Proposals an image that the heads learn from.
    roi_size : int
        Side of a region that goes into conv5, in cells, and of a mask.
    proposals : int
        The most that the heads look at in an image.
    """
    resnet = torchvision.models.get_model(trunk, weights=None, norm_layer=norm_layer)
    # Half of the channels of the last stage, which is not in the backbone.
    channels = resnet.fc.in_features
    box_head = BoxHead(resnet.layer4)
    return MaskRCNN(
        TrunkWithoutPyramid(resnet, "layer3", channels // 2),
        rpn_anchor_generator=AnchorGenerator(
            (tuple(anchor_sizes),), ((0.5, 1.0, 2.0),)
        ),
        box_roi_pool=MultiScaleRoIAlign(["0"], roi_size, sampling_ratio=2),
        box_head=box_head,
        box_predictor=FastRCNNPredictor(channels, num_classes),
        mask_roi_pool=MultiScaleRoIAlign(["0"], roi_size, sampling_ratio=2),
        mask_head=MaskHead(box_head),
        mask_predictor=MaskRCNNPredictor(channels, MASK_CHANNELS, num_classes),
        box_batch_size_per_image=rois_per_image,
        rpn_pre_nms_top_n_train=12_000,
        rpn_pre_nms_top_n_test=6000,
        rpn_post_nms_top_n_test=proposals,
        _skip_resize=True,
    )
