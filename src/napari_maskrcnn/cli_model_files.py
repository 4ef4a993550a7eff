"""Model files that a command starts from, and that it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def check_model_out(out: Path) -> None:
    """Refuse, before any work is done, a name that no checkpoint may have."""
    from .core.checkpoints import SUFFIX

    if out.suffix != SUFFIX:
        raise ValueError(f"--out must end in {SUFFIX}, got {out.name!r}")


def model_to_start_from(model: str, out: Path) -> Path:
    """Return the file of the model to start from, which nothing may overwrite."""
    from .core.model_list import find_model

    check_model_out(out)
    start = find_model(model)
    if out.exists() and out.samefile(start):
        raise ValueError(
            f"--out is the model to start from, {start.name}: choose a new name"
        )
    return start
