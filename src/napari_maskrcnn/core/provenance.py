"""Where a checkpoint comes from."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def provenance() -> dict[str, str]:
    """Return the date, the versions, and the commit where there is one."""
    found = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **{
            name: _version(name) for name in ("napari-maskrcnn", "torch", "torchvision")
        },
    }
    if commit := _commit():
        found["commit"] = commit
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _commit() -> str:
    """The commit of the source tree, empty for an installed package."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            ["git", "-C", str(root), "rev-parse", "HEAD"],  # noqa: S607
            capture_output=True, text=True, check=False, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
