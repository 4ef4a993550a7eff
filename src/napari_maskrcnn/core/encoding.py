"""Encode once: the expensive part of a network, run window by window."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from torch.nn import functional
from torchvision.models.detection.image_list import ImageList

from .progress import Progress, relay
from .tiling import Window, plan_windows

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray
    from torch import Tensor
    from torchvision.models.detection import FasterRCNN

    from .box_head import FoundBoxes

# However small a window is, so many proposals are looked at.
MIN_PROPOSALS = 300
# Trunk, pyramid and proposals of one window.
PARTS_PER_WINDOW = 3
# Normalised grey levels that differ less are one: so rescaling leaves an even image.
EVEN = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class EncodedWindow:
    """What the network knows of one window, before the heads.

    Parameters
    ----------
    window : Window
        Where, in network pixels.
    features : dict of str to Tensor
        The pyramid's levels, each (1, C, h, w).
    proposals : Tensor
        Shape (P, 4), xyxy in network pixels of the window.
    proposals_full : bool
        Whether the cap of proposals was reached.
    found : FoundBoxes, optional
        What the search for the object size has found here already.
    """

    window: Window
    features: dict[str, Tensor]
    proposals: Tensor
    proposals_full: bool
    found: FoundBoxes | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in network pixels."""
        y0, x0, y1, x1 = self.window.outer
        return y1 - y0, x1 - x0

    @property
    def nbytes(self) -> int:
        """Bytes of the feature maps and proposals."""
        tensors = [*self.features.values(), self.proposals]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """An encoded image: every later act of the person works on this.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W) of the image.
    network_shape : tuple of int
        (H, W) after rescaling.
    object_size : float or None
        Object size in pixels of the image that was assumed or found; None where the
        network resized the whole image, whatever is in it.
    windows : tuple of EncodedWindow or None
        None where the memory budget was used up: such a window is encoded again, from
        ``pixels``, when it is needed.
    plan : tuple of Window
        All windows, in network pixels.
    pixels : Tensor or None
        Shape (3, H, W) of the rescaled image, or of the image itself where the network
        resizes it, float16; kept only if a window was not.
    precision : torch.dtype
        In which the trunk ran.
    warnings : tuple of str
        Sentences for the person.
    """

    image_shape: tuple[int, int]
    network_shape: tuple[int, int]
    object_size: float | None
    windows: tuple[EncodedWindow | None, ...]
    plan: tuple[Window, ...]
    pixels: Tensor | None
    precision: torch.dtype
    warnings: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes kept."""
        kept = sum(window.nbytes for window in self.windows if window)
        return kept + (self.pixels.nbytes if self.pixels is not None else 0)

    @property
    def scale(self) -> tuple[float, float]:
        """Network pixels an image pixel, (y, x)."""
        return (
            self.network_shape[0] / self.image_shape[0],
            self.network_shape[1] / self.image_shape[1],
        )


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """How an image is cut and how much is kept.

    Parameters
    ----------
    window, halo : int
        In network pixels; see `core.tiling.plan_windows`.
    precision : torch.dtype
        Of the trunk: float32, bfloat16 or float16.
    budget : int
        Bytes of encoding that may be kept.
    """

    window: int
    halo: int
    precision: torch.dtype
    budget: int


def rescale(plane: NDArray[np.float32], network_shape: tuple[int, int]) -> Tensor:
    """Resample a plane (H, W, 3) to (3, h, w), smoothing where it shrinks."""
    pixels = torch.from_numpy(np.ascontiguousarray(plane)).permute(2, 0, 1)
    if tuple(pixels.shape[1:]) == network_shape:
        return pixels.contiguous()
    return functional.interpolate(
        pixels[None],
        network_shape,
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )[0].clamp_(0, 1)


def encode_plane(
    network: FasterRCNN,
    pixels: Tensor,
    image_shape: tuple[int, int],
    object_size: float,
    settings: EncodeSettings,
) -> Generator[Progress, None, Encoding]:
    """Encode a rescaled image, window by window.

    Parameters
    ----------
    network : FasterRCNN
        In evaluation mode, on its device.
    pixels : Tensor
        Shape (3, h, w), float32 in [0, 1], on the CPU.
    image_shape, object_size
        As `Encoding` keeps them.
    settings : EncodeSettings
        See there.

    Yields
    ------
    Progress
        After the trunk, the pyramid and the proposals of each window.
    """
    network_shape = (int(pixels.shape[1]), int(pixels.shape[2]))
    plan = plan_windows(network_shape, settings.window, settings.halo)
    windows: list[EncodedWindow | None] = []
    kept = 0
    total = PARTS_PER_WINDOW * len(plan)
    parts = count(1)
    for window in plan:
        encoded = yield from relay(
            encode_window(network, pixels, window, settings.precision),
            lambda: Progress(next(parts), total, "Encoding"),
        )
        kept += encoded.nbytes
        windows.append(encoded if kept <= settings.budget else None)
    lost = any(window is None for window in windows)
    return Encoding(
        image_shape=image_shape,
        network_shape=network_shape,
        object_size=object_size,
        windows=tuple(windows),
        plan=tuple(plan),
        pixels=pixels.half() if lost else None,
        precision=settings.precision,
    )


def encode_whole(
    network: FasterRCNN,
    pixels: Tensor,
    settings: EncodeSettings,
) -> Generator[Progress, None, Encoding]:
    """Encode an image as one window, resized by the network's own transform.

    Parameters
    ----------
    network : FasterRCNN
        In evaluation mode, on its device.
    pixels : Tensor
        Shape (3, H, W), the image, float32 in [0, 1], on the CPU.
    settings : EncodeSettings
        Of which the precision and the budget count.

    Yields
    ------
    Progress
        As of `encode_plane`.
    """
    parts = count(1)
    encoded = yield from relay(
        encode_window(network, pixels, None, settings.precision),
        lambda: Progress(next(parts), PARTS_PER_WINDOW, "Encoding"),
    )
    kept = encoded.nbytes <= settings.budget
    return Encoding(
        image_shape=(int(pixels.shape[1]), int(pixels.shape[2])),
        network_shape=encoded.window.outer[2:],
        object_size=None,
        windows=(encoded if kept else None,),
        plan=(encoded.window,),
        pixels=None if kept else pixels.half(),
        precision=settings.precision,
    )


def encode_window(
    network: FasterRCNN, pixels: Tensor, window: Window | None, precision: torch.dtype
) -> Generator[None, None, EncodedWindow]:
    """Encode one window in ``PARTS_PER_WINDOW`` parts, with a pause after each.

    In parts, so that a cancel need not wait for the whole; and never paused inside
    ``computing``, whose state belongs to the thread and would leak out.

    Parameters
    ----------
    network : FasterRCNN
        In evaluation mode, on its device.
    pixels : Tensor
        Shape (3, H, W), in [0, 1].
    window : Window or None
        Which part, in pixels that have the right scale; None for all of them, resized
        by the network's own transform.
    precision : torch.dtype
        Of trunk and pyramid.
    """
    device = next(network.parameters()).device
    with computing(device, precision):
        images = _prepared(network, pixels, window, device)
        levels = network.backbone.body(images.tensors)
    yield
    with computing(device, precision):
        features = network.backbone.fpn(levels)
    del levels
    yield
    with computing(device, precision):
        proposals = propose(network, images, features)
    height, width = images.image_sizes[0]
    cap = proposal_cap(network, height * width)
    if window is None:
        window = Window((0, 0, height, width), (0, 0, height, width))
    elif _even(images.tensors[0, :, :height, :width]):
        # The network would see objects at the edge, where the padding begins.
        proposals = proposals[:0]
    yield
    return EncodedWindow(window, dict(features), proposals[:cap], len(proposals) >= cap)


def _even(pixels: Tensor) -> bool:
    """Whether nothing is to be seen in pixels (3, H, W)."""
    low, high = torch.aminmax(pixels.flatten(1), dim=1)
    return bool((high - low).max() < EVEN)


def _prepared(
    network: FasterRCNN, pixels: Tensor, window: Window | None, device: torch.device
) -> ImageList:
    transform = network.transform
    if window is None:
        images, _ = transform([pixels.to(device, torch.float32)])
        return images
    y0, x0, y1, x1 = window.outer
    crop = pixels[:, y0:y1, x0:x1].to(device, torch.float32)
    # The transform's parts but for its resizing: the image has the right scale.
    tensors = transform.batch_images(
        [transform.normalize(crop)], transform.size_divisible
    )
    return ImageList(tensors, [(y1 - y0, x1 - x0)])


def proposal_cap(network: FasterRCNN, area: int) -> int:
    """Return how many proposals of a window of so many network pixels are kept.

    The network's own cap is made for the most crowded of the largest windows. Where the
    network carries a ``proposal_density``, in proposals a pixel, it bounds them too: a
    small window holds few objects, and the box head looks at each proposal.
    """
    density: float | None = getattr(network, "proposal_density", None)
    cap: int = network.rpn.post_nms_top_n()
    return cap if density is None else min(cap, max(MIN_PROPOSALS, int(density * area)))


def propose(
    network: FasterRCNN, images: ImageList, features: dict[str, Tensor]
) -> Tensor:
    """Return one image's proposals, (P, 4) xyxy in network pixels, best first."""
    (proposals,), _ = network.rpn(images, features)
    floats: Tensor = proposals.float()
    return floats


@contextmanager
def computing(device: torch.device, precision: torch.dtype) -> Iterator[None]:
    """No gradients and, below float32, autocast; for one stretch without a pause.

    ``no_grad`` rather than ``inference_mode``: fine-tuning runs the heads, with
    gradients, over the same encodings.
    """
    enabled = precision != torch.float32
    with torch.no_grad(), torch.autocast(device.type, precision, enabled=enabled):
        yield
