"""Is what the detector finds what torchvision's forward finds? With the same weights.

    python benchmarks/same_as_torchvision.py [FOLDER]

compares boxes, scores, classes, keypoints and label images on the first five images of
a folder, at full size, for Mask R-CNN v1 and v2, Faster and Keypoint R-CNN. By default
the folder is ../shared/data/coco beside the project; without it the script says so and
ends.

The weights are random. Each normalisation layer takes its statistics from one image,
and the last layers of the branches are multiplied until scores and masks differ as much
as those of a trained network do: else every score is the same, and nothing is compared.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList
from torchvision.transforms.v2 import functional as transforms

from napari_maskrcnn.core.architectures import build
from napari_maskrcnn.core.checkpoint_config import IMAGE_SIZE
from napari_maskrcnn.core.checkpoints import Checkpoint
from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.images import image_files, read_image
from napari_maskrcnn.core.kinds import output_kind
from napari_maskrcnn.core.skeletons import COCO_PERSON

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).parents[2] / "shared" / "data" / "coco"
NAMES = (
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
)
# How much the outputs of the branches vary, as logits.
SPREAD = 3.0


@dataclass(frozen=True)
class Difference:
    """The largest differences on one image.

    Parameters
    ----------
    expected, found : int
        Objects that torchvision and the detector give.
    boxes, scores, keypoints : float
        In pixels, and without unit; infinite where the numbers of objects differ.
    classes, pixels : int
        Objects of another class, and pixels of another object.
    painted : int
        Pixels of any object.
    """

    expected: int
    found: int
    boxes: float
    scores: float
    keypoints: float
    classes: int
    pixels: int
    painted: int


def random_checkpoint(
    name: str, class_names: list[str], image_size: tuple[int, int], image: Any
) -> Checkpoint:
    """Return a network with random weights that finds something in an image like this.

    Parameters
    ----------
    name : str
        Of an architecture.
    class_names : list of str
        Without the background.
    image_size : tuple of int
        Shorter side, and limit of the longer.
    image : ndarray
        Shape (H, W, 3), uint8.
    """
    torch.manual_seed(0)
    network = build(name, len(class_names) + 1, {})
    _spread(network, image, image_size)
    config: dict[str, Any] = {
        "architecture": {"name": name, "arguments": {}},
        "class_names": class_names,
        "image_size": list(image_size),
    }
    if output_kind(name) == "keypoints":
        bones = [list(bone) for bone in COCO_PERSON.bones]
        config["keypoints"] = {"names": list(COCO_PERSON.names), "bones": bones}
    return Checkpoint(config, network.state_dict())


@torch.no_grad()
def _spread(network: Any, image: Any, image_size: tuple[int, int]) -> None:
    normalisations = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for module in normalisations:
        module.momentum = None  # the statistics of all batches so far
    transform, heads = network.transform, network.roi_heads
    transform.min_size, transform.max_size = (image_size[0],), image_size[1]
    network.eval()
    images, _ = transform([transforms.to_image(image).float() / 255])
    _in_training(normalisations, on=True)
    features = network.backbone(images.tensors)
    _in_training(normalisations, on=False)
    (proposals,), _ = network.rpn(
        ImageList(images.tensors, images.image_sizes), features
    )
    regions = [proposals[::4]]
    _in_training(normalisations, on=True)
    pooled = heads.box_head(heads.box_roi_pool(features, regions, images.image_sizes))
    logits, _ = heads.box_predictor(pooled)
    last = heads.box_predictor.cls_score
    last.weight *= SPREAD / logits.std(dim=0).mean()
    # No class is likelier than another, and most of what is looked at is background.
    last.bias -= heads.box_predictor(pooled)[0].mean(dim=0)
    last.bias[0] += SPREAD
    few = [proposals[::50]]
    if heads.has_mask():
        pooled = heads.mask_roi_pool(features, few, images.image_sizes)
        logits = heads.mask_predictor(heads.mask_head(pooled))
        heads.mask_predictor.mask_fcn_logits.weight *= SPREAD / logits.std()
    _in_training(normalisations, on=False)


def _in_training(modules: list[nn.BatchNorm2d], *, on: bool) -> None:
    for module in modules:
        module.train(on)


def torchvisions(checkpoint: Checkpoint) -> Any:
    """Return the network that torchvision itself builds, with the same weights."""
    shorter, limit = checkpoint.config["image_size"]
    network = getattr(detection, checkpoint.config["architecture"]["name"])(
        weights=None,
        weights_backbone=None,
        num_classes=len(checkpoint.config["class_names"]) + 1,
        min_size=shorter,
        max_size=limit,
    )
    network.load_state_dict(checkpoint.state)
    return network.eval()


def difference(
    detector: Detector, network: Any, image: NDArray[np.uint8], most: int = 100
) -> Difference:
    """Compare what two ways find on one image, (H, W, 3) uint8: so many objects."""
    network.roi_heads.detections_per_img = most
    with torch.no_grad():
        (result,) = network([transforms.to_image(image).float() / 255])
    expected = {key: value.numpy() for key, value in result.items()}
    # 100 is torchvision's own cap, and the detector's.
    found = detector.detect(image, max_detections=None if most == 100 else most)
    count = len(expected["scores"])
    same = count == len(found)

    def largest(a: Any, b: Any) -> float:
        return float(np.abs(a - b).max(initial=0)) if same else float("inf")

    keypoints, pixels, painted = 0.0, 0, 0
    if "keypoints" in expected:
        points = expected["keypoints"].copy()
        points[..., 2] = expected["keypoints_scores"]
        keypoints = largest(points, found.keypoints)
    if "masks" in expected:
        label_image = np.zeros(image.shape[:2], np.int64)
        # Rising, so that the higher score has the shared pixel.
        for index in np.argsort(expected["scores"], kind="stable"):
            label_image[expected["masks"][index, 0] >= 0.5] = index + 1
        pixels = int((label_image != found.to_label_image()).sum())
        painted = int((label_image > 0).sum())
    return Difference(
        expected=count,
        found=len(found),
        boxes=largest(expected["boxes"], found.boxes),
        scores=largest(expected["scores"], found.scores),
        keypoints=keypoints,
        classes=int((expected["labels"] != found.class_ids).sum()) if same else count,
        pixels=pixels,
        painted=painted,
    )


def main() -> None:
    """Compare all networks on all images, and print the largest differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    parser.add_argument("--networks", nargs="+", default=NAMES)
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if not options.folder.is_dir():
        print(f"{options.folder} is not there: nothing is compared")
        return
    images = [read_image(path) for path in image_files(options.folder)]
    images = [image for image in images if image.ndim == 3][: options.images]
    for name in options.networks:
        persons = output_kind(name) == "keypoints"
        classes = ["person"] if persons else [f"class {k}" for k in range(1, 91)]
        checkpoint = random_checkpoint(name, classes, IMAGE_SIZE, images[0])
        detector = Detector(checkpoint, options.device, precision=torch.float32)
        network = torchvisions(checkpoint)
        print(f"{name}, {sum(p.numel() for p in network.parameters()):,} parameters")
        for image in images:
            d = difference(detector, network, image)
            print(
                f"  {image.shape[1]} x {image.shape[0]}: "
                f"{d.expected} objects, {d.found} found; largest difference of boxes "
                f"{d.boxes:.2g} px, scores {d.scores:.2g}, keypoints "
                f"{d.keypoints:.2g} px; other classes {d.classes}; other pixels "
                f"{d.pixels} of {d.painted}",
                flush=True,
            )


if __name__ == "__main__":
    main()
