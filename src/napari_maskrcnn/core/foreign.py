"""Weights of other programs: recognised by their shapes, turned into a checkpoint."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import torch

from .architectures import ARCHITECTURES, build
from .checkpoint_config import IMAGE_SIZE, SCORE_THRESHOLD
from .checkpoints import Checkpoint
from .class_names import names_from_text
from .kinds import output_kind
from .skeletons import COCO_PERSON

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from .catalogue import CatalogueModel

# What torch's reader raises for a pickle that is refused, cut off, or none at all.
_BROKEN_PICKLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, LookupError, AttributeError,
    TypeError, ValueError,
)  # fmt: skip
# Under these keys training programs keep the weights beside other things.
_WRAPPERS = ("model", "state_dict", "model_state_dict")
# Networks whose builder takes no normalisation: it is always the same.
_ONE_NORM = ("small_fpn", "maskrcnn_resnet50_fpn_v2", "fasterrcnn_resnet50_fpn_v2")
_CLASS_ROWS = "roi_heads.box_predictor.cls_score.weight"
_KEYPOINT_ROWS = "roi_heads.keypoint_predictor.kps_score_lowres.weight"


@dataclass(frozen=True, slots=True)
class Recognised:
    """A network that a state dict fits.

    Parameters
    ----------
    architecture : str
        Name of a builder in `core.architectures`.
    arguments : dict
        Of the builder.
    num_classes : int
        With the background.
    keypoints : int
        Keypoints an object; 0 for other networks.
    state : dict of str to Tensor
        The weights under the names that the network has now.
    """

    architecture: str
    arguments: dict[str, Any]
    num_classes: int
    keypoints: int
    state: dict[str, Tensor]


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a foreign state dict (``.pt``, ``.pth``) without running any of its code.

    Weights that lie in a larger dictionary, or under names that begin with "module.",
    are found there.

    Raises
    ------
    ValueError
        When the file holds anything but tensors, or code to be run.
    """
    name = Path(path).name
    try:
        # weights_only: a pickle may run any code when it is opened.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _BROKEN_PICKLE as error:
        raise ValueError(f"{name} holds more than weights, or is damaged") from error
    for key in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        raise ValueError(f"{name} is not a dictionary of tensors")
    # So torch's wrappers for several graphics cards name them.
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def fitted(
    state: Mapping[str, Tensor],
    architecture: str,
    num_classes: int,
    arguments: Mapping[str, Any],
) -> dict[str, Tensor] | None:
    """Return weights under the names that a network has, or None if they do not fit.

    The network is built without memory for its own weights. torchvision's modules
    know the names that their weights had in earlier versions.
    """
    with torch.device("meta"):
        network = build(architecture, num_classes, arguments)
    try:
        network.load_state_dict(dict(state), assign=True)
    except RuntimeError:
        return None
    return {key: value.detach() for key, value in network.state_dict().items()}


def recognise(state: Mapping[str, Tensor], name: str = "the file") -> Recognised:
    """Find the network that a state dict belongs to.

    Parameters
    ----------
    state : mapping of str to Tensor
        As of `read_weights`.
    name : str
        Of the file, for messages.

    Raises
    ------
    ValueError
        When it fits none of the architectures.
    """
    if any(key.startswith("backbone.bottom_up.") for key in state):
        raise ValueError(
            f"{name} is a checkpoint of detectron2, whose ResNet puts its strides, "
            "colours and classes elsewhere than torchvision's: it cannot be used here"
        )
    rows = state.get(_CLASS_ROWS)
    if rows is None or rows.ndim != 2:
        raise ValueError(
            f"{name} is not the state dict of a detection network of torchvision: it "
            f"has no {_CLASS_ROWS}"
        )
    points = state.get(_KEYPOINT_ROWS)
    keypoints = 0 if points is None else int(points.shape[1])
    for architecture, arguments in _candidates(state, keypoints):
        own = fitted(state, architecture, len(rows), arguments)
        if own is not None:
            return Recognised(architecture, arguments, len(rows), keypoints, own)
    raise ValueError(
        f"{name} fits none of the networks {', '.join(sorted(ARCHITECTURES))}: it has "
        f"{len(rows)} classes with the background and {_parts(state)}"
    )


def _candidates(
    state: Mapping[str, Tensor], keypoints: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    masks = any(key.startswith("roi_heads.mask_predictor.") for key in state)
    kind = "keypoints" if keypoints else "masks" if masks else "boxes"
    for architecture in ARCHITECTURES:
        arguments = {} if architecture in _ONE_NORM else _norm(state)
        if output_kind(architecture) == kind:
            special = {"num_keypoints": keypoints} if keypoints else {}
            yield architecture, {**arguments, **special}


def _norm(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the normalisation of a trunk, as far as its weights tell.

    Frozen layers have no counters. Their epsilon is not in the weights: it is 0 in
    networks that were fine-tuned from torchvision's, by far the most.
    """
    trunk = [key for key in state if key.startswith("backbone.body.")]
    if not any(key.endswith("running_mean") for key in trunk):
        return {"norm": "group"}
    if not any(key.endswith("num_batches_tracked") for key in trunk):
        return {"norm": "frozen", "norm_eps": 0.0}
    return {}


def _parts(state: Mapping[str, Tensor]) -> str:
    heads = {key.split(".")[1] for key in state if key.startswith("roi_heads.")}
    return f"the heads {', '.join(sorted(heads))}"


def foreign_checkpoint(
    path: str | Path,
    published: CatalogueModel | None = None,
    classes: str | None = None,
) -> Checkpoint:
    """Turn a foreign state dict into a checkpoint.

    Parameters
    ----------
    path : str or Path
        A ``.pt`` or ``.pth`` file.
    published : CatalogueModel, optional
        The model that the file is, where it is one of the catalogue.
    classes : str, optional
        The class names; see `class_names.names_from_text`. By default they are called
        "class 1", "class 2" ...

    Raises
    ------
    ValueError
        When the file is no state dict of a known network, or the names do not fit.
    """
    path = Path(path)
    state = read_weights(path)
    if published is not None and classes is None:
        return published_checkpoint(published, state)
    found = recognise(state, path.name)
    count = found.num_classes - 1
    names: Sequence[str] = [f"class {number}" for number in range(1, count + 1)]
    if classes is not None:
        names = names_from_text(classes, count)
    config: dict[str, Any] = {
        "architecture": {"name": found.architecture, "arguments": found.arguments},
        "class_names": list(names),
        "image_size": list(IMAGE_SIZE),
        "score_threshold": SCORE_THRESHOLD,
        "description": f"{found.architecture} from {path.name}",
        "provenance": {"source": path.name},
    }
    if found.keypoints:
        config["keypoints"] = _keypoints(found.keypoints)
    return Checkpoint(config, found.state)


def published_checkpoint(model: CatalogueModel, state: dict[str, Tensor]) -> Checkpoint:
    """Return the checkpoint of a catalogue model with a published state dict.

    Raises
    ------
    ValueError
        When the tensors are not this network's.
    """
    classes = len(model.class_names) + 1
    own = fitted(state, model.architecture, classes, model.arguments)
    if own is None:
        raise ValueError(f"{model.file_name} does not fit {model.architecture!r}")
    return Checkpoint(model.config(), own)


def _keypoints(count: int) -> dict[str, Any]:
    if count == len(COCO_PERSON.names):
        bones = [list(bone) for bone in COCO_PERSON.bones]
        return {"names": list(COCO_PERSON.names), "bones": bones}
    return {"names": [f"keypoint {k}" for k in range(1, count + 1)], "bones": []}
