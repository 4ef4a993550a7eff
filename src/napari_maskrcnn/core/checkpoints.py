"""Checkpoint files.

A checkpoint is one ``.safetensors`` whose header carries its configuration as JSON:
architecture, class names, native object size, thresholds, provenance. No pickle.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .atomic import replacing
from .checkpoint_config import (
    aligned_masks,
    checked_config,
    image_size,
    nms_threshold,
    object_size,
    score_threshold,
    skeleton,
    usual_size,
)
from .kinds import OutputKind, output_kind

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor
    from torchvision.models.detection import FasterRCNN

    from .calibration import Calibration
    from .skeletons import Skeleton

FORMAT = "napari-maskrcnn/1"
SUFFIX = ".safetensors"
# The longest header that is read before a file is called broken.
MAX_HEADER_BYTES = 16_000_000
# The strides that poolers have learnt, by architecture: once for all its networks.
_LEARNT: dict[str, list[tuple[Any, Any]]] = {}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network's configuration and weights.

    Parameters
    ----------
    config : dict
        JSON-able; see ``docs/models.md`` for its keys.
    state : dict of str to Tensor
        The network's state dict.
    """

    config: dict[str, Any]
    state: dict[str, Tensor]

    @property
    def score_threshold(self) -> float:
        """The score from which on this model's objects are shown by default."""
        return score_threshold(self.config)

    @property
    def nms_threshold(self) -> float:
        """The overlap up to which this model's objects are two by default."""
        return nms_threshold(self.config)

    @property
    def object_size(self) -> float | None:
        """Object size that images are rescaled to; None with an image size."""
        return object_size(self.config)

    @property
    def usual_size(self) -> float | None:
        """Object size of the images that it learnt from; None where nobody said it."""
        return usual_size(self.config)

    @property
    def image_size(self) -> tuple[int, int] | None:
        """What images are resized to, whatever is in them: (shorter side, limit)."""
        return image_size(self.config)

    @property
    def aligned_masks(self) -> bool:
        """Whether its masks were learnt where they are; see `core.mask_alignment`."""
        return aligned_masks(self.config)

    @property
    def calibration(self) -> Calibration | None:
        """What makes probabilities of its scores; see `core.calibration`."""
        values = self.config.get("calibration")
        if values is None:
            return None
        from .calibration import Calibration

        return Calibration.from_config(values)

    @property
    def output_kind(self) -> OutputKind:
        """What the network gives: "masks", "boxes" or "keypoints"."""
        return output_kind(self.config["architecture"]["name"])

    @property
    def skeleton(self) -> Skeleton | None:
        """Names and bones of the keypoints, of a network that gives some."""
        return skeleton(self.config)

    @property
    def trunk_id(self) -> str:
        """A hash of all that an encoding depends on: everything but the heads.

        Models with the same one, such as one whose heads were fine-tuned, can use each
        other's encodings.
        """
        return self.digest(lambda key: not key.startswith("roi_heads."))

    def digest(self, chosen: Callable[[str], bool] = bool) -> str:
        """Return a hash of architecture, size and the chosen tensors.

        Parameters
        ----------
        chosen : callable
            Tells by its name whether a tensor counts; by default all do. In which
            precision a value is stored makes no difference.
        """
        digest = hashlib.blake2b(digest_size=16, usedforsecurity=False)
        size = self.object_size if self.image_size is None else self.image_size
        parts = [self.config["architecture"], size]
        digest.update(json.dumps(parts, sort_keys=True).encode())
        for key in sorted(filter(chosen, self.state)):
            value = self.state[key].detach().cpu()
            if value.is_floating_point():
                value = value.float()
            digest.update(key.encode() + value.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def build(self) -> FasterRCNN:
        """Build the network, load the weights and return it in evaluation mode.

        Its ``transform`` resizes as the image size says, if there is one.

        Raises
        ------
        ValueError
            When the architecture is unknown, or the weights are another network's.
        """
        from .architectures import build

        architecture = self.config["architecture"]
        network = build(
            architecture["name"],
            len(self.config["class_names"]) + 1,
            architecture["arguments"],
        )
        state = {
            key: value.float() if value.is_floating_point() else value
            for key, value in self.state.items()
        }
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            # torch lists every tensor, line by line.
            raise ValueError(
                f"the weights do not fit the architecture {architecture['name']!r} "
                f"with {len(self.config['class_names'])} classes"
            ) from error
        if self.image_size is not None:
            shorter, limit = self.image_size
            network.transform.min_size, network.transform.max_size = (shorter,), limit
        network.aligned_masks = self.aligned_masks
        network.calibration = self.calibration
        network.eval()
        _learn_strides(network, architecture)
        return network


def _learn_strides(network: FasterRCNN, architecture: dict[str, Any]) -> None:
    """Let the poolers learn the strides of the features from an image of full strides.

    torchvision's learn them from the first image that they see, for good; from one of a
    few pixels, which is padded to a whole stride, they would learn wrong ones.
    """
    from napari_maskrcnn.core import preload  # noqa: F401

    import torch
    from torchvision.ops import MultiScaleRoIAlign

    poolers = [
        part
        for part in network.roi_heads.modules()
        if isinstance(part, MultiScaleRoIAlign)
    ]
    key = json.dumps(architecture, sort_keys=True)
    if key not in _LEARNT:
        side = 128
        box = torch.tensor([[0.0, 0.0, side, side]])
        with torch.inference_mode():
            features = network.backbone(torch.zeros(1, 3, side, side))
            for part in poolers:
                part(features, [box], [(side, side)])
        _LEARNT[key] = [(part.scales, part.map_levels) for part in poolers]
    for part, (scales, map_levels) in zip(poolers, _LEARNT[key], strict=True):
        part.scales, part.map_levels = scales, map_levels


def write_checkpoint(
    path: str | Path, checkpoint: Checkpoint, *, dtype: torch.dtype | None = None
) -> None:
    """Write a checkpoint under a temporary name, then rename it into place.

    Parameters
    ----------
    path : str or Path
        A file name that ends in ``.safetensors``.
    checkpoint : Checkpoint
        What to write; tensors may be on any device.
    dtype : torch.dtype, optional
        Store floating-point weights so, ``torch.float16`` to halve the file; by default
        as they are. Running statistics of normalisation layers stay float32.
    """
    from napari_maskrcnn.core import preload  # noqa: F401

    from safetensors.torch import save

    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"a checkpoint's name must end in {SUFFIX}, got {path.name!r}")
    state = {key: _stored(key, value, dtype) for key, value in checkpoint.state.items()}
    config = {"format": FORMAT, **checkpoint.config}
    with replacing(path) as temporary:
        # As bytes: safetensors' file writer makes files that only their owner reads.
        temporary.write_bytes(save(state, metadata={"config": json.dumps(config)}))


def _stored(key: str, value: Tensor, dtype: torch.dtype | None) -> Tensor:
    value = value.detach().cpu()
    if dtype and value.is_floating_point() and "running_" not in key:
        value = value.to(dtype)
    return value.contiguous()


def read_config(path: str | Path) -> dict[str, Any]:
    """Read only the configuration: no tensor is loaded and torch is not imported.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is not a checkpoint of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    wrong = f"{path.name} is not a checkpoint of napari-maskrcnn"
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MAX_HEADER_BYTES:
                raise ValueError(wrong)
            header = json.loads(file.read(length))
        config = json.loads(header["__metadata__"]["config"])
        version = config["format"]
    except (struct.error, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(wrong) from error
    if version != FORMAT:
        raise ValueError(
            f"{path.name} has the format {version!r}; this version reads {FORMAT!r}"
        )
    return checked_config(config, path.name)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint to the CPU; errors as of `read_config`."""
    from napari_maskrcnn.core import preload  # noqa: F401

    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = read_config(path)
    try:
        return Checkpoint(config, load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{Path(path).name} is damaged: {error}") from error
