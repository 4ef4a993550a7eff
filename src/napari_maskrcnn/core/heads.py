"""The heads over an encoding: boxes, classes and masks of its instances."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from torchvision.models.detection.roi_heads import maskrcnn_inference

from .encoding import EncodedWindow, Encoding, computing, encode_window
from .instances import Instances, empty_instances
from .pasting import paste_masks
from .progress import Progress, relay
from .tiling import Window, concatenate, join, renumbered

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor
    from torchvision.models.detection import MaskRCNN

# RoIs that the mask head takes at once: bounds memory, and the time to a cancel.
MASK_CHUNK = 128
# Copies of one object in two windows differ by a little of its size.
SEAM_MARGIN = 8.0
# So many sure objects for the candidates there are make it likely that some were lost.
CROWDED = 0.25
PROPOSAL_WARNING = (
    "The image is so crowded that not every candidate could be looked at; "
    "segment a part of it, or set a larger object size"
)


def detect_in_encoding(
    network: MaskRCNN, encoding: Encoding, class_names: tuple[str, ...]
) -> Generator[Progress, None, Instances]:
    """Run the heads over every window of an encoding and join what they find.

    Caps and floors are those that the network carries (``roi_heads.score_thresh``,
    ``nms_thresh``, ``detections_per_img``), as in torchvision.

    Yields
    ------
    Progress
        After every chunk of objects.

    Returns
    -------
    Instances
        In pixels of the image, in falling order of score, ids from 1.
    """
    parts: list[Instances] = []
    total = len(encoding.plan)
    for index, window in enumerate(encoding.plan):
        encoded = encoding.windows[index]
        if encoded is None:
            encoded = yield from encode_again(network, encoding, window, index)
        part = yield from relay(
            _detect_in_window(network, encoding, encoded, class_names),
            partial(Progress, index, total, "Finding objects"),
        )
        parts.append(part)
        yield Progress(index + 1, total, "Finding objects")
    if total == 1:
        return renumbered(concatenate(parts))
    margin = max(SEAM_MARGIN, 0.1 * encoding.object_size)
    return join(parts, [_to_image(w, encoding) for w in encoding.plan], margin)


def encode_again(
    network: MaskRCNN, encoding: Encoding, window: Window, index: int
) -> Generator[Progress, None, EncodedWindow]:
    """Encode a window that the memory budget did not allow to keep."""
    if encoding.pixels is None:
        raise ValueError("the encoding lacks the pixels of a window that was not kept")
    return (
        yield from relay(
            encode_window(network, encoding.pixels, window, encoding.precision),
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
    network: MaskRCNN,
    encoding: Encoding,
    encoded: EncodedWindow,
    class_names: tuple[str, ...],
) -> Generator[None, None, Instances]:
    shape = shape_of(encoded)
    boxes, scores, class_ids = detect_boxes(
        network, encoded.features, encoded.proposals, shape, encoding.precision
    )
    yield
    if not len(boxes):
        return empty_instances(encoding.image_shape, class_names)
    chunks: list[Tensor] = []
    for start in range(0, len(boxes), MASK_CHUNK):
        part = slice(start, start + MASK_CHUNK)
        chunks.append(
            mask_grids(
                network,
                encoded.features,
                boxes[part],
                class_ids[part],
                shape,
                encoding.precision,
            )
        )
        yield
    y0, x0 = encoded.window.outer[:2]
    scale_y, scale_x = encoding.scale
    scale = torch.tensor([scale_x, scale_y, scale_x, scale_y])
    in_image = (boxes.cpu() + torch.tensor([x0, y0, x0, y0])) / scale
    masks, offsets = paste_masks(torch.cat(chunks), in_image, encoding.image_shape)
    return Instances(
        image_shape=encoding.image_shape,
        boxes=in_image.numpy().astype(np.float32),
        class_ids=class_ids.cpu().numpy(),
        scores=scores.cpu().numpy(),
        masks=masks,
        offsets=offsets,
        ids=np.arange(1, len(boxes) + 1, dtype=np.int64),
        class_names=class_names,
        warnings=_warnings(network, encoded, scores),
    )


def shape_of(encoded: EncodedWindow) -> tuple[int, int]:
    """Return (H, W) of a window in network pixels."""
    y0, x0, y1, x1 = encoded.window.outer
    return y1 - y0, x1 - x0


def _warnings(
    network: MaskRCNN, encoded: EncodedWindow, scores: Tensor
) -> tuple[str, ...]:
    warnings = []
    cap = network.roi_heads.detections_per_img
    if len(scores) >= cap:
        warnings.append(
            f"The cap of {cap} objects was reached, and further ones were dropped; "
            "raise max_detections"
        )
    sure = int((scores >= 0.5).sum())
    if encoded.proposals_full and sure >= CROWDED * len(encoded.proposals):
        warnings.append(PROPOSAL_WARNING)
    return tuple(warnings)


def detect_boxes(
    network: MaskRCNN,
    features: dict[str, Tensor],
    proposals: Tensor,
    shape: tuple[int, int],
    precision: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the box head over proposals.

    Returns
    -------
    boxes, scores, class_ids : Tensor
        Shapes (N, 4) xyxy in network pixels of the window, (N,) and (N,); best first.
    """
    heads = network.roi_heads
    with computing(proposals.device, precision):
        pooled = heads.box_roi_pool(features, [proposals], [shape])
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
        boxes, scores, class_ids = heads.postprocess_detections(
            logits.float(), deltas.float(), [proposals], [shape]
        )
    return boxes[0], scores[0], class_ids[0]


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
