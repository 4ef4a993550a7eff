"""A network cut in two: the frozen part runs once a view, the rest learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import torch
from torchvision.models.detection.image_list import ImageList

from napari_maskrcnn.core.encoding import computing
from napari_maskrcnn.core.mask_alignment import aligned, learns_aligned
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.reviewed import ReviewedOnly

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor, nn
    from torchvision.models.detection import MaskRCNN

# Proposals of a view that are kept; the heads see a hundred or so of them a step.
MAX_PROPOSALS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class FrozenOutput:
    """What the frozen part makes of some views.

    Parameters
    ----------
    levels : dict of str to Tensor
        Shapes (B, C, h, w): the pyramid's levels, the trunk's where the pyramid learns,
        or the image itself where everything does.
    proposals : tuple of Tensor
        One (P, 4) a view, xyxy in pixels of the view; none where the RPN learns.
    """

    levels: dict[str, Tensor]
    proposals: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(t.nbytes for t in (*self.levels.values(), *self.proposals))

    def map(self, change: Callable[[Tensor], Tensor]) -> FrozenOutput:
        """Return the output with every level changed."""
        levels = {key: change(value) for key, value in self.levels.items()}
        return FrozenOutput(levels, self.proposals)

    def to(self, device: torch.device) -> FrozenOutput:
        """Move to a device, as float32."""
        moved = self.map(lambda level: level.to(device, torch.float32))
        return FrozenOutput(moved.levels, tuple(p.to(device) for p in self.proposals))


class CutNetwork:
    """A network of which a part learns.

    Parameters
    ----------
    network : MaskRCNN
        Changed for good: what is frozen asks for no gradients, no batch normalisation
        updates its statistics, and `ReviewedOnly` is in its losses.
    part : str
        A key of `config.PARTS`.
    precision : torch.dtype
        Below float32, everything runs under autocast.
    """

    def __init__(self, network: MaskRCNN, part: str, precision: torch.dtype) -> None:
        self.network, self.part, self.precision = network, part, precision
        network.eval().requires_grad_(False)
        for module in self._learning():
            module.requires_grad_(True)
        # Not `train()`, which reaches the normalisation layers inside.
        network.roi_heads.training = True
        network.rpn.training = part != "heads"
        ReviewedOnly(network)

    def _learning(self) -> list[nn.Module]:
        network = self.network
        modules = [network.roi_heads]
        if self.part in ("rpn", "fpn", "all"):
            modules.append(network.rpn)
        if self.part in ("fpn", "all"):
            modules.append(network.backbone.fpn)
        if self.part == "all":
            modules.append(network.backbone.body)
        return modules

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        device: torch.device = next(self.network.parameters()).device
        return device

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return what learns, by name."""
        return {k: p for k, p in self.network.named_parameters() if p.requires_grad}

    def encode(self, images: Sequence[Tensor]) -> FrozenOutput:
        """Run the frozen part.

        Parameters
        ----------
        images : sequence of Tensor
            Views (3, crop, crop) in [0, 1], of one size.
        """
        return exhaust(self.encode_steps(images))

    def encode_steps(
        self, images: Sequence[Tensor]
    ) -> Generator[None, None, FrozenOutput]:
        """Run the frozen part with pauses; see `encode`."""
        network, transform = self.network, self.network.transform
        with self._frozen():
            pixels = transform.batch_images(
                [transform.normalize(image.to(self.device)) for image in images],
                transform.size_divisible,
            )
            if self.part == "all":
                return FrozenOutput({"image": pixels}, ())
            levels = network.backbone.body(pixels)
        if self.part == "fpn":
            return FrozenOutput(dict(levels), ())
        yield
        with self._frozen():
            features = network.backbone.fpn(levels)
        if self.part == "rpn":
            return FrozenOutput(dict(features), ())
        yield
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        with self._frozen():
            proposals, _ = network.rpn(ImageList(pixels, sizes), features)
        kept = tuple(p[:MAX_PROPOSALS].float() for p in proposals)
        return FrozenOutput(dict(features), kept)

    def losses(
        self,
        output: FrozenOutput,
        size: tuple[int, int],
        targets: Sequence[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Run the part that learns over a batch; return torchvision's loss terms.

        Parameters
        ----------
        output : FrozenOutput
            Of `encode`, on the network's device, float32.
        size : tuple of int
            (H, W) of the views.
        targets : sequence of dict
            One a view; see `core.examples.make_target`.
        """
        return exhaust(self.losses_steps(output, size, targets))

    def losses_steps(
        self,
        output: FrozenOutput,
        size: tuple[int, int],
        targets: Sequence[dict[str, Tensor]],
        *,
        seed: int | None = None,
    ) -> Generator[None, None, dict[str, Tensor]]:
        """Run the part that learns with pauses; see `losses`.

        Parameters
        ----------
        output, size, targets
            See there.
        seed : int, optional
            Of the samplers of RoIs and anchors.
        """
        network, features = self.network, output.levels
        if self.part == "all":
            with self._learning_precision():
                features = network.backbone.body(features["image"])
            yield
        if self.part in ("fpn", "all"):
            with self._learning_precision():
                features = network.backbone.fpn(features)
            yield
        sizes, own = [size] * len(targets), list(targets)
        if learns_aligned(network):
            own = [aligned(target) for target in own]
        proposals, terms = list(output.proposals), {}
        if seed is not None:
            # torchvision's samplers draw from the global generator: no pause from here.
            torch.manual_seed(seed)
        with self._learning_precision():
            if self.part != "heads":
                # The anchors' generator asks the pixels for their shape alone.
                level = next(iter(features.values()))
                blank = level.new_empty(()).expand(len(sizes), 3, *size)
                images = ImageList(blank, sizes)
                proposals, terms = network.rpn(images, features, own)
            _, more = network.roi_heads(features, proposals, sizes, own)
        return {**terms, **more}

    # Never paused inside of these: their state belongs to the thread and would leak.

    def _frozen(self) -> AbstractContextManager[None]:
        return computing(self.device, self.precision)

    def _learning_precision(self) -> AbstractContextManager[Any]:
        enabled = self.precision != torch.float32
        return torch.autocast(self.device.type, self.precision, enabled=enabled)
