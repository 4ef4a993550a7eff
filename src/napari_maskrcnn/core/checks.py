"""Checks that the recipes of training and of fine-tuning share; imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# A view is cut from the image in pixels that the network sees; its strides divide it.
SMALLEST_CROP, STRIDE = 64, 32


def check_at_least_one(recipe: object, *names: str) -> None:
    """Raise ValueError where one of these fields is below 1."""
    for name in names:
        if (value := getattr(recipe, name)) < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_not_negative(recipe: object, *names: str) -> None:
    """Raise ValueError where one of these fields is negative."""
    for name in names:
        if (value := getattr(recipe, name)) < 0:
            raise ValueError(f"{name} must not be negative, got {value}")


def check_minutes(minutes: float | None) -> None:
    """Raise ValueError where a time budget is given and is no time."""
    if minutes is not None and minutes <= 0:
        raise ValueError(f"minutes must be positive, got {minutes}")


def check_crop(crop: int) -> None:
    """Raise ValueError where the side of a view does not suit the network."""
    if crop < SMALLEST_CROP or crop % STRIDE:
        raise ValueError(
            f"crop must be a multiple of {STRIDE} from {SMALLEST_CROP} on, got {crop}"
        )


def check_precision(precision: str, known: Sequence[str]) -> None:
    """Raise ValueError where a precision is none of these."""
    if precision not in known:
        *first, last = (repr(name) for name in known)
        raise ValueError(
            f"precision must be {', '.join(first)} or {last}, got {precision!r}"
        )


def check_fraction(name: str, value: float) -> None:
    """Raise ValueError unless the value lies in [0, 1]."""
    # Written so that NaN is refused too.
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
