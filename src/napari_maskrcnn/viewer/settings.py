"""The person's settings, from napari's preferences."""

from __future__ import annotations

from typing import Any

MEGABYTE = 2**20


def _setting(name: str, default: Any) -> Any:
    """Return one of the person's settings, or the default outside of napari."""
    from napari.settings import get_plugin_settings

    settings = get_plugin_settings("napari-maskrcnn")
    return getattr(getattr(settings, "inference", None), name, default)


def encoding_budget() -> int:
    """Return the bytes that kept encodings may take, from the person's settings."""
    return int(_setting("encoding_budget_mb", 1024)) * MEGABYTE


def device_choice() -> str:
    """Return the device that the person asked for in the settings."""
    return str(_setting("device", "auto"))
