"""Values of a JSON file that may be anything, as what they were meant to be."""

from __future__ import annotations

import math
from typing import Any

_PLAIN = {int, float}
LARGEST = 2**53
"""Whole numbers up to here are the same as floating-point numbers."""


def number(value: Any) -> float | None:
    """Return a finite number, also from text; None if `value` is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def whole(value: Any) -> int | None:
    """Return a whole number, also from text or ``3.0``; None if `value` is none."""
    if type(value) is int and -LARGEST <= value <= LARGEST:
        return value
    result = number(value)
    if result is None or result != int(result) or abs(result) > LARGEST:
        return None
    return int(result)


def numbers(values: Any, count: int | None = None) -> list[float] | None:
    """Return a list of finite numbers, `count` of them; None if `values` is none."""
    if not isinstance(values, list) or (count is not None and len(values) != count):
        return None
    if set(map(type, values)) <= _PLAIN:
        try:
            if math.isfinite(math.fsum(values)):
                return values
        except (OverflowError, ValueError):
            return None
    result = [number(value) for value in values]
    return None if None in result else result  # type: ignore[return-value]


def shown(value: Any, longest: int = 40) -> str:
    """Return a value as a message shows it: on one line and not endless."""
    # The text of a long list or number can take longer than reading the file.
    if isinstance(value, list | dict) and len(value) > longest:
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a number of more than 16 digits"
    if isinstance(value, str):
        value = value[: longest + 1]
    text = repr(value)
    return text if len(text) <= longest else text[:longest] + "..."
