"""The heads over an encoding: boxes, classes, and masks or keypoints."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from torchvision.models.detection.roi_heads import maskrcnn_inference
from torchvision.models.detection.transform import resize_boxes, resize_keypoints

from .box_head import find_boxes
from .calibration import calibrated
from .encoding import EncodedWindow, Encoding, computing, encode_window
from .instances import Instances, empty_instances
from .joining import concatenate, join, renumbered
from .keypoint_head import keypoints_of
from .mask_alignment import lag
from .pasting import paste_masks
from .progress import Progress, relay
from .tiling import Window

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torch import Tensor
    from torchvision.models.detection import FasterRCNN, MaskRCNN

    from .skeletons import Skeleton

# RoIs that the mask head takes at once: bounds memory, and the time to a cancel.
MASK_CHUNK = 128
# Copies of one object in two windows differ by a little of its size.
SEAM_MARGIN = 8.0
# So many sure objects for the candidates there are make it likely that some were lost.
CROWDED = 0.25
SURE_SCORE = 0.5
PROPOSAL_WARNING = (
    "The image is so crowded that not every candidate could be looked at; "
    "segment a part of it, or set a larger object size"
)


def detect_in_encoding(
    network: FasterRCNN,
    encoding: Encoding,
    class_names: tuple[str, ...],
    skeleton: Skeleton | None = None,
) -> Generator[Progress, None, Instances]:
    """Run the heads over every window of an encoding and join what they find.

    Caps and floors are those that the network carries (``roi_heads.score_thresh``,
    ``nms_thresh``, ``detections_per_img``), as in torchvision.

    Parameters
    ----------
    network : FasterRCNN
        In evaluation mode.
    encoding : Encoding
        On the network's device.
    class_names : tuple of str
        Of the classes 1, 2 ...
    skeleton : Skeleton, optional
        Of a network with keypoints.

    Yields
    ------
    Progress
        After every chunk of objects.

    Returns
    -------
    Instances
        In pixels of the image, in falling order of score, ids from 1. Floors and caps
        go by the box head's score, the order by what the model's calibration makes of
        it.
    """
    parts: list[Instances] = []
    total = len(encoding.plan)
    for index, window in enumerate(encoding.plan):
        encoded = encoding.windows[index]
        if encoded is None:
            encoded = yield from encode_again(network, encoding, window, index)
        part = yield from relay(
            _detect_in_window(network, encoding, encoded, class_names, skeleton),
            partial(Progress, index, total, "Finding objects"),
        )
        parts.append(part)
        yield Progress(index + 1, total, "Finding objects")
    if total == 1:
        found = renumbered(concatenate(parts))
    else:
        margin = max(SEAM_MARGIN, 0.1 * (encoding.object_size or 0.0))
        found = join(parts, [_to_image(w, encoding) for w in encoding.plan], margin)
    return calibrated(found, getattr(network, "calibration", None), encoding.scale)


def encode_again(
    network: FasterRCNN, encoding: Encoding, window: Window, index: int
) -> Generator[Progress, None, EncodedWindow]:
    """Encode a window that the memory budget did not allow to keep."""
    if encoding.pixels is None:
        raise ValueError("the encoding lacks the pixels of a window that was not kept")
    place = None if encoding.object_size is None else window
    return (
        yield from relay(
            encode_window(network, encoding.pixels, place, encoding.precision),
            partial(Progress, index, len(encoding.plan), "Encoding"),
        )
    )


def _to_image(window: Window, encoding: Encoding) -> Window:
    """Take a window from network pixels to pixels of the image."""
    scale = np.array(encoding.scale * 2)
    outer = np.rint(np.array(window.outer) / scale).astype(int).tolist()
    core = np.rint(np.array(window.core) / scale).astype(int).tolist()
    return Window(tuple(outer), tuple(core))


def _detect_in_window(
    network: FasterRCNN,
    encoding: Encoding,
    encoded: EncodedWindow,
    class_names: tuple[str, ...],
    skeleton: Skeleton | None,
) -> Generator[None, None, Instances]:
    seen = find_boxes(network, encoded, encoding.precision)
    boxes, scores, class_ids = seen.boxes, seen.scores, seen.class_ids
    yield
    has_masks = network.roi_heads.has_mask()
    found = replace(
        empty_instances(encoding.image_shape, class_names), has_masks=has_masks
    )
    if skeleton is not None:
        nowhere = np.zeros((0, len(skeleton.names), 3), np.float32)
        found = replace(found, keypoints=nowhere, skeleton=skeleton)
    if not len(boxes):
        return found
    in_image = _boxes_in_image(boxes.cpu(), encoding, encoded)
    corners = in_image.numpy().astype(np.float32)
    if has_masks:
        grids = yield from _all_mask_grids(
            network, encoded, boxes, class_ids, encoding.precision
        )
        masks, offsets = masks_in_image(network, encoding, grids, in_image)
    else:
        masks, offsets = (), np.floor(corners[:, 1::-1]).astype(np.int64)
    keypoints = None
    if skeleton is not None:
        points = yield from keypoints_of(
            network, encoded.features, boxes, encoded.shape, encoding.precision
        )
        keypoints = _points_in_image(points, encoding, encoded).numpy()
    return replace(
        found,
        boxes=corners,
        class_ids=class_ids.cpu().numpy(),
        scores=scores.cpu().numpy(),
        masks=masks,
        offsets=offsets,
        ids=np.arange(1, len(boxes) + 1, dtype=np.int64),
        keypoints=keypoints,
        warnings=_warnings(network, encoding, encoded, scores),
    )


def _all_mask_grids(
    network: MaskRCNN,
    encoded: EncodedWindow,
    boxes: Tensor,
    class_ids: Tensor,
    precision: torch.dtype,
) -> Generator[None, None, Tensor]:
    """Run the mask head over all boxes of a window, with pauses."""
    chunks: list[Tensor] = []
    for start in range(0, len(boxes), MASK_CHUNK):
        part = slice(start, start + MASK_CHUNK)
        chunks.append(
            mask_grids(
                network,
                encoded.features,
                boxes[part],
                class_ids[part],
                encoded.shape,
                precision,
            )
        )
        yield
    return torch.cat(chunks)


def masks_in_image(
    network: MaskRCNN, encoding: Encoding, grids: Tensor, in_image: Tensor
) -> tuple[tuple[NDArray[np.uint8], ...], NDArray[np.int64]]:
    """Paste the mask head's grids over boxes of the image; see `pasting.paste_masks`.

    Parameters
    ----------
    network : MaskRCNN
        That drew them.
    encoding : Encoding
        Of the image.
    grids : Tensor
        Shape (N, M, M), probabilities.
    in_image : Tensor
        Shape (N, 4), xyxy in pixels of the image.
    """
    behind = lag(network)
    scale_y, scale_x = encoding.scale
    return paste_masks(
        grids,
        in_image,
        encoding.image_shape,
        shift=(behind / scale_y, behind / scale_x),
        as_torchvision=encoding.object_size is None,
    )


def _boxes_in_image(
    boxes: Tensor, encoding: Encoding, encoded: EncodedWindow
) -> Tensor:
    """Take boxes (N, 4) from network pixels of a window to pixels of the image."""
    if encoding.object_size is None:
        # With torchvision's own rounding: a mask's edge may hang on it.
        resized: Tensor = resize_boxes(boxes, encoded.shape, encoding.image_shape)
        return resized
    y0, x0 = encoded.window.outer[:2]
    scale_y, scale_x = encoding.scale
    scale = torch.tensor([scale_x, scale_y, scale_x, scale_y])
    return (boxes + torch.tensor([x0, y0, x0, y0])) / scale


def _points_in_image(
    points: Tensor, encoding: Encoding, encoded: EncodedWindow
) -> Tensor:
    """Likewise keypoints (N, K, 3), of which x and y move."""
    if encoding.object_size is None:
        resized: Tensor = resize_keypoints(points, encoded.shape, encoding.image_shape)
        return resized
    y0, x0 = encoded.window.outer[:2]
    scale_y, scale_x = encoding.scale
    places = (points[..., :2] + torch.tensor([x0, y0])) / torch.tensor(
        [scale_x, scale_y]
    )
    return torch.cat([places, points[..., 2:]], dim=2)


def _warnings(
    network: FasterRCNN, encoding: Encoding, encoded: EncodedWindow, scores: Tensor
) -> tuple[str, ...]:
    warnings = []
    cap = network.roi_heads.detections_per_img
    # torchvision's cap is low and its floor too: it is often reached by mere noise.
    least = 0.0 if encoding.object_size is not None else SURE_SCORE
    if len(scores) >= cap and float(scores.min()) >= least:
        warnings.append(
            f"The cap of {cap} objects was reached, and further ones were dropped; "
            "raise max_detections"
        )
    sure = int((scores >= SURE_SCORE).sum())
    if encoded.proposals_full and sure >= CROWDED * len(encoded.proposals):
        warnings.append(PROPOSAL_WARNING)
    return tuple(warnings)


def mask_grids(
    network: MaskRCNN,
    features: dict[str, Tensor],
    boxes: Tensor,
    class_ids: Tensor,
    shape: tuple[int, int],
    precision: torch.dtype,
) -> Tensor:
    """Run the mask head over boxes; return probabilities (N, M, M), float32, CPU."""
    heads = network.roi_heads
    with computing(boxes.device, precision):
        pooled = heads.mask_roi_pool(features, [boxes], [shape])
        logits = heads.mask_predictor(heads.mask_head(pooled))
        (probabilities,) = maskrcnn_inference(logits.float(), [class_ids])
    grids: Tensor = probabilities[:, 0].cpu()
    return grids
