"""A box or a point from a person, and the object that belongs to it.

Nothing of the backbone runs: the heads look at a few regions of an encoding that is
there. Only where the memory budget did not allow to keep a window, that one window is
encoded again.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from scipy import ndimage

from .box_head import score_regions
from .candidates import best_at, candidates, holds, unmoved
from .heads import encode_again, mask_grids, masks_in_image
from .instances import FULL, Instances
from .progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor
    from torchvision.models.detection import MaskRCNN

    from .encoding import EncodedWindow, Encoding

# Proposals around a point that the box head looks at, the best first.
MAX_PROPOSALS = 32
# Sides of the boxes that are tried around a point, in typical object sizes.
POINT_SIDES = (0.7, 1.0, 1.4)
# The same in network pixels, where no object size is known: those that torchvision's
# anchors have.
UNKNOWN_SIDES = (32.0, 64.0, 128.0, 256.0, 512.0)
# A person says that there is an object: a mask fainter than the threshold is lifted to
# it, so that a prompt never comes back empty.
LIFTED = 0.5


class WindowMemory:
    """Encoded windows, and the last one that had to be encoded again.

    The next prompt is likely to be in the same window.
    """

    def __init__(self) -> None:
        self._pixels: weakref.ref[Tensor] | None = None
        self._last: tuple[int, EncodedWindow] | None = None

    def encoded(
        self, network: MaskRCNN, encoding: Encoding, index: int
    ) -> Generator[Progress, None, EncodedWindow]:
        """Return a window of the plan, encoded again if it was not kept."""
        kept = encoding.windows[index] or self._remembered(network, encoding, index)
        if kept is not None:
            return kept
        window = encoding.plan[index]
        encoded = yield from encode_again(network, encoding, window, index)
        if encoding.pixels is not None:
            self._pixels = weakref.ref(encoding.pixels)
            self._last = (index, encoded)
        return encoded

    def _remembered(
        self, network: MaskRCNN, encoding: Encoding, index: int
    ) -> EncodedWindow | None:
        if self._last is None or self._pixels is None or encoding.pixels is None:
            return None
        known, encoded = self._last
        same = self._pixels() is encoding.pixels and known == index
        device = next(network.parameters()).device
        return encoded if same and encoded.proposals.device == device else None


@dataclass(frozen=True, slots=True)
class Prompter:
    """What a prompt needs of a detector.

    Parameters
    ----------
    network : MaskRCNN
        In evaluation mode.
    encoding : Encoding
        The encoded image, on the network's device.
    class_names : tuple of str
        Of the classes 1, 2 ...
    windows : WindowMemory
        Gives the encoded windows.
    """

    network: MaskRCNN
    encoding: Encoding
    class_names: tuple[str, ...]
    windows: WindowMemory

    def box(
        self, box: Sequence[float], class_id: int | None = None
    ) -> Generator[Progress, None, Instances]:
        """Return the object inside a box; see `Detector.prompt_box`."""
        in_image = check_box(box, self.encoding.image_shape)
        self._check(class_id)
        index, rois = self._in_window(in_image)
        encoded = yield from self._encoded(index)
        probs, _ = score_regions(self.network, encoded, rois, self.encoding.precision)
        chosen = class_id or int(probs[0, 1:].argmax()) + 1
        yield Progress(0, 0, "Drawing the object")
        grids = self._masks(encoded, rois, [chosen])
        return self._instances(
            in_image, chosen, float(probs[0, chosen]), grids, clip=True
        )

    def point(
        self, point: Sequence[float], class_id: int | None = None
    ) -> Generator[Progress, None, Instances]:
        """Return the object at a point; see `Detector.prompt_point`."""
        y, x = check_point(point, self.encoding.image_shape)
        self._check(class_id)
        # The middle of the pixel that was clicked.
        y, x = np.floor(y) + 0.5, np.floor(x) + 0.5
        index, _ = self._in_window(np.array([x, y, x, y], np.float64))
        encoded = yield from self._encoded(index)
        rois = self._around(encoded, y, x)
        probs, boxes = score_regions(
            self.network, encoded, rois, self.encoding.precision
        )
        yield Progress(0, 0, "Drawing the object")
        boxes, class_ids, scores = candidates(
            probs, boxes, self._to_window(encoded, [x, y]), class_id
        )
        if not len(boxes):
            # The box head moved every box away from the point: take them as they are.
            boxes, class_ids, scores = unmoved(probs, rois, class_id)
        grids = self._masks(encoded, boxes, class_ids.tolist())
        in_image = self._to_image(encoded, boxes)
        best = best_at(grids, in_image, scores, (x, y))
        return self._instances(
            in_image[best],
            int(class_ids[best]),
            float(scores[best]),
            grids[best : best + 1],
            point=(y, x),
        )

    def _encoded(self, index: int) -> Generator[Progress, None, EncodedWindow]:
        return self.windows.encoded(self.network, self.encoding, index)

    def _check(self, class_id: int | None) -> None:
        count = len(self.class_names)
        if class_id is not None and not 1 <= class_id <= count:
            raise ValueError(f"class_id must be from 1 to {count}, got {class_id}")
        if not self.network.roi_heads.has_mask():
            raise ValueError(
                "this model gives boxes only, and a prompt asks for a mask: choose a "
                "model that gives masks"
            )

    @property
    def _scale(self) -> NDArray[np.float64]:
        """Network pixels an image pixel, for (x, y, x, y)."""
        y, x = self.encoding.scale
        return np.array([x, y, x, y])

    def _in_window(self, box: NDArray[np.float64]) -> tuple[int, Tensor]:
        """Return the index of the window that sees most of a box, and the box in it."""
        scaled = box * self._scale
        index = best_window(scaled, self.encoding)
        y0, x0, y1, x1 = self.encoding.plan[index].outer
        inside = scaled - np.array([x0, y0, x0, y0])
        inside = np.clip(inside, 0, [x1 - x0, y1 - y0, x1 - x0, y1 - y0])
        device = next(self.network.parameters()).device
        return index, torch.tensor(inside[None], dtype=torch.float32, device=device)

    def _to_window(self, encoded: EncodedWindow, xy: Sequence[float]) -> Tensor:
        y0, x0 = encoded.window.outer[:2]
        place = np.asarray(xy) * self._scale[:2] - [x0, y0]
        return torch.tensor(place, dtype=torch.float32, device=encoded.proposals.device)

    def _to_image(self, encoded: EncodedWindow, boxes: Tensor) -> NDArray[np.float64]:
        y0, x0 = encoded.window.outer[:2]
        corners: NDArray[np.float64] = boxes.double().cpu().numpy()
        in_image: NDArray[np.float64] = corners + np.array([x0, y0, x0, y0])
        return in_image / self._scale

    def _around(self, encoded: EncodedWindow, y: float, x: float) -> Tensor:
        """Return the proposals that hold a point, and boxes of the typical size."""
        place = self._to_window(encoded, [x, y])
        near = encoded.proposals[holds(encoded.proposals, place)][:MAX_PROPOSALS]
        sides: tuple[float, ...] = UNKNOWN_SIDES
        size = np.ones(2)
        if self.encoding.object_size is not None:
            sides, size = POINT_SIDES, self.encoding.object_size * self._scale[:2]
        half = torch.tensor(size, dtype=near.dtype, device=near.device) / 2
        made = [torch.cat([place - side * half, place + side * half]) for side in sides]
        height, width = encoded.shape
        limits = torch.tensor([width, height] * 2, device=near.device)
        return torch.cat([near, torch.stack(made).clamp(min=0).minimum(limits)])

    def _masks(
        self, encoded: EncodedWindow, boxes: Tensor, class_ids: list[int]
    ) -> Tensor:
        return mask_grids(
            self.network,
            encoded.features,
            boxes,
            torch.tensor(class_ids, device=boxes.device),
            encoded.shape,
            self.encoding.precision,
        )

    def _instances(
        self,
        box: NDArray[np.float64],
        class_id: int,
        score: float,
        grids: Tensor,
        *,
        clip: bool = False,
        point: tuple[float, float] | None = None,
    ) -> Instances:
        boxes = torch.tensor(box[None], dtype=torch.float32)
        masks, offsets = masks_in_image(self.network, self.encoding, grids, boxes)
        mask = masks[0]
        if clip:
            mask = clipped(mask, offsets[0], box)
        mask = lifted(mask)
        if point is not None:
            mask = part_at(mask, offsets[0], point)
        return Instances(
            image_shape=self.encoding.image_shape,
            boxes=boxes.numpy(),
            class_ids=np.array([class_id], np.int64),
            scores=np.array([score], np.float32),
            masks=(mask,),
            offsets=offsets,
            ids=np.array([1], np.int64),
            class_names=self.class_names,
        )


def check_box(
    box: Sequence[float], image_shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return a box, cut at the image's edges.

    Raises
    ------
    ValueError
        When it is no box of four numbers, is empty, or lies outside of the image.
    """
    corners = np.asarray(box, np.float64)
    if corners.shape != (4,) or not np.isfinite(corners).all():
        raise ValueError(f"a box is four numbers (x0, y0, x1, y1), got {box!r}")
    x0, y0, x1, y1 = corners.tolist()
    if x1 <= x0 or y1 <= y0:
        raise ValueError(
            f"the box is empty: it goes from x {x0:g} to {x1:g} "
            f"and from y {y0:g} to {y1:g}"
        )
    height, width = image_shape
    cut = np.clip(corners, 0, [width, height, width, height])
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        raise ValueError(
            f"the box lies outside of the image of {width} x {height} pixels"
        )
    return cut


def check_point(
    point: Sequence[float], image_shape: tuple[int, int]
) -> tuple[float, float]:
    """Return a point (y, x) as floats.

    Raises
    ------
    ValueError
        When it is no pair of numbers, or lies outside of the image.
    """
    place = np.asarray(point, np.float64)
    if place.shape != (2,) or not np.isfinite(place).all():
        raise ValueError(f"a point is two numbers (y, x), got {point!r}")
    y, x = place.tolist()
    height, width = image_shape
    if not (0 <= y < height and 0 <= x < width):
        raise ValueError(
            f"the point y {y:g}, x {x:g} lies outside of the image of "
            f"{width} x {height} pixels"
        )
    return y, x


def best_window(box: NDArray[np.float64], encoding: Encoding) -> int:
    """Return which window sees most of a box in network pixels, and owns its centre."""
    x0, y0, x1, y1 = box
    centre_y, centre_x = (y0 + y1) / 2, (x0 + x1) / 2
    best, most = 0, (-1.0, False)
    for index, window in enumerate(encoding.plan):
        top, left, bottom, right = window.outer
        height = max(0.0, min(y1, bottom) - max(y0, top))
        width = max(0.0, min(x1, right) - max(x0, left))
        core = window.core
        owns = core[0] <= centre_y < core[2] and core[1] <= centre_x < core[3]
        if (seen := (height * width, owns)) > most:
            best, most = index, seen
    return best


def clipped(
    mask: NDArray[np.uint8], offset: NDArray[np.int64], box: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return a crop without the pixels whose middles lie outside of a box."""
    rows = np.arange(mask.shape[0]) + offset[0] + 0.5
    columns = np.arange(mask.shape[1]) + offset[1] + 0.5
    inside = np.outer(
        (rows >= np.floor(box[1])) & (rows <= np.ceil(box[3])),
        (columns >= np.floor(box[0])) & (columns <= np.ceil(box[2])),
    )
    return np.where(inside, mask, 0).astype(np.uint8)


def lifted(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a crop that is not empty at the usual threshold."""
    highest = int(mask.max(initial=0))
    if highest >= LIFTED * FULL or not highest:
        return mask
    scaled = mask.astype(np.float64) * (FULL / highest)
    return np.floor(scaled + 0.5).astype(np.uint8)


def part_at(
    mask: NDArray[np.uint8], offset: NDArray[np.int64], point: tuple[float, float]
) -> NDArray[np.uint8]:
    """Return the connected part that a point (y, x) is in, or next to."""
    parts, count = ndimage.label(mask >= LIFTED * FULL)
    if count < 2:
        return mask
    rows, columns = np.nonzero(parts)
    y, x = np.asarray(point) - offset - 0.5
    nearest = np.argmin((rows - y) ** 2 + (columns - x) ** 2)
    own = parts == parts[rows[nearest], columns[nearest]]
    return np.where(own, mask, 0).astype(np.uint8)
