"""A checkpoint's configuration: what it must say, and what it means."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from .kinds import KINDS
from .skeletons import Skeleton

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Of models whose file names none; those that see whole images let more overlap.
SCORE_THRESHOLD = 0.5
NMS_THRESHOLD, NMS_THRESHOLD_WHOLE = 0.2, 0.5
# As of torchvision's networks: the shorter side, and the most that the longer may have.
IMAGE_SIZE = (800, 1333)
# How many numbers a calibration has; see `core.calibration`.
CALIBRATION = {"center": 6, "spread": 6, "weights": 28}


def checked_config(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a configuration if nothing is missing or wrong.

    Parameters
    ----------
    config : dict
        Of a checkpoint; see ``docs/models.md`` for its keys.
    name : str
        Of the file, for messages.

    Raises
    ------
    ValueError
        When a key is missing, or its value makes no sense.
    """
    for key in _REQUIRED:
        if key not in config:
            raise ValueError(f"the configuration of {name} lacks {key!r}")
    for key, (fits, words) in {**_REQUIRED, **_OPTIONAL}.items():
        if key in config and not fits(config[key]):
            raise ValueError(
                f"{key} in the configuration of {name} must be {words}, "
                f"got {config[key]!r}"
            )
    if not {"object_size", "image_size"} & config.keys():
        raise ValueError(
            f"the configuration of {name} lacks 'object_size', or 'image_size' "
            "in its place"
        )
    if {"object_size", "image_size"} <= config.keys():
        raise ValueError(
            f"the configuration of {name} has both object_size and image_size: "
            "one of them says how images are resized"
        )
    # What is unknown is said when it is to be built.
    kind = KINDS.get(config["architecture"]["name"])
    if kind == "keypoints" and "keypoints" not in config:
        raise ValueError(f"the configuration of {name} lacks 'keypoints'")
    return config


def score_threshold(config: Mapping[str, Any]) -> float:
    """Return the score from which on a model's objects are shown by default."""
    return float(config.get("score_threshold", SCORE_THRESHOLD))


def nms_threshold(config: Mapping[str, Any]) -> float:
    """Return the overlap up to which a model's objects are two by default.

    Cells lie side by side; on photographs one thing stands before another.
    """
    usual = NMS_THRESHOLD if "image_size" not in config else NMS_THRESHOLD_WHOLE
    return float(config.get("nms_threshold", usual))


def object_size(config: Mapping[str, Any]) -> float | None:
    """Return the object size in pixels that the network sees, or None."""
    size = config.get("object_size")
    return None if size is None else float(size)


def usual_size(config: Mapping[str, Any]) -> float | None:
    """Return the object size in pixels of the images learnt from, None if not told."""
    size = config.get("usual_size")
    return None if size is None else float(size)


def image_size(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (shorter side, limit of the longer) that images are resized to, or None.

    None for a model with an object size.
    """
    size = config.get("image_size")
    return None if size is None else (int(size[0]), int(size[1]))


def aligned_masks(config: Mapping[str, Any]) -> bool:
    """Return whether a model learnt masks where they are, not as torchvision cuts them.

    See `core.mask_alignment`.
    """
    return bool(config.get("aligned_masks", False))


def skeleton(config: Mapping[str, Any]) -> Skeleton | None:
    """Return names and bones of the keypoints; None for a network without."""
    keypoints = config.get("keypoints")
    if keypoints is None:
        return None
    bones = tuple((int(a), int(b)) for a, b in keypoints.get("bones", ()))
    return Skeleton(tuple(keypoints["names"]), bones)


def is_card(value: Any) -> bool:
    """Tell whether a value is a model card: sentences by their headings."""
    return isinstance(value, dict) and all(
        isinstance(text, str) for pair in value.items() for text in pair
    )


def _is_architecture(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("arguments"), dict)
    )


def _are_names(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(name, str) for name in value)
    )


def _is_size(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < value < float("inf")


def _is_fraction(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 1


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_image_size(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(type(side) is int for side in value)
        and 0 < value[0] <= value[1]
    )


def _is_calibration(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == CALIBRATION.keys()
        and all(_are_numbers(value[key], count) for key, count in CALIBRATION.items())
        and min(value["spread"]) > 0
    )


def _are_numbers(value: Any, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(type(x) in (int, float) and isfinite(x) for x in value)
    )


def _are_keypoints(value: Any) -> bool:
    if not isinstance(value, dict) or not _are_names(value.get("names")):
        return False
    bones = value.get("bones", [])
    count = len(value["names"])
    return isinstance(bones, list) and all(
        isinstance(bone, (list, tuple))
        and len(bone) == 2
        and all(type(end) is int and 0 <= end < count for end in bone)
        for bone in bones
    )


_REQUIRED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "architecture": (_is_architecture, "a name with arguments"),
    "class_names": (_are_names, "a list of names"),
}
_OPTIONAL: dict[str, tuple[Callable[[Any], bool], str]] = {
    "object_size": (_is_size, "a positive number"),
    "usual_size": (_is_size, "a positive number"),
    "image_size": (_is_image_size, "the shorter side and the most of the longer one"),
    "aligned_masks": (_is_truth, "true or false"),
    "calibration": (_is_calibration, "6 centers, 6 spreads and 28 weights"),
    "card": (is_card, "sentences by their headings"),
    "keypoints": (_are_keypoints, "names, and bones as pairs of their positions"),
    "nms_threshold": (_is_fraction, "a number from 0 to 1"),
    "score_threshold": (_is_fraction, "a number from 0 to 1"),
}
