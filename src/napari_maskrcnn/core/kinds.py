"""What each network gives: known without building one, and without torch."""

from __future__ import annotations

from typing import Any, Literal

OutputKind = Literal["masks", "boxes", "keypoints"]

KINDS: dict[str, OutputKind] = {
    "small_fpn": "masks",
    "maskrcnn_resnet18_fpn": "masks",
    "maskrcnn_resnet50_fpn": "masks",
    "maskrcnn_resnet101_fpn": "masks",
    "maskrcnn_resnet50_fpn_v2": "masks",
    "maskrcnn_resnet50_c4": "masks",
    "fasterrcnn_resnet50_fpn": "boxes",
    "fasterrcnn_resnet50_fpn_v2": "boxes",
    "keypointrcnn_resnet50_fpn": "keypoints",
}
"""The networks of `core.architectures`, and what comes with their boxes."""

# Without the statistics' counters, and with the epsilon of the torchvision they were
# trained with: what its builders do when they load these weights.
_FIRST_VERSION: dict[str, Any] = {"norm": "frozen", "norm_eps": 0.0}
_PUBLISHED: dict[str, dict[str, Any]] = {
    "maskrcnn_resnet50_fpn": _FIRST_VERSION,
    "fasterrcnn_resnet50_fpn": _FIRST_VERSION,
    "keypointrcnn_resnet50_fpn": _FIRST_VERSION,
    "maskrcnn_resnet50_fpn_v2": {},
    "fasterrcnn_resnet50_fpn_v2": {},
}


def output_kind(name: str) -> OutputKind:
    """Return what an architecture gives: "masks", "boxes" or "keypoints".

    Raises
    ------
    ValueError
        When there is no such architecture.
    """
    check_known(name)
    return KINDS[name]


def check_known(name: str) -> None:
    """Raise ValueError unless there is such an architecture."""
    if name not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise ValueError(f"unknown architecture {name!r}; known are {known}")


def published_arguments(name: str) -> dict[str, Any]:
    """Return the builder's arguments for which torchvision's COCO weights were made.

    Raises
    ------
    ValueError
        When torchvision publishes no weights of this architecture.
    """
    if name not in _PUBLISHED:
        known = ", ".join(sorted(_PUBLISHED))
        raise ValueError(
            f"torchvision publishes no weights for {name!r}; it does for {known}"
        )
    return dict(_PUBLISHED[name])
