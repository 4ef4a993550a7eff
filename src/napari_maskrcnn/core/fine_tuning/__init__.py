"""Fine-tuning: a model learns from a person's corrections.

The configuration is there at once, since the widgets show it; the rest brings torch and
is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import FineTuneConfig

if TYPE_CHECKING:
    from .tune import FineTuneProgress, FineTuneResult, advise, fine_tune, plan

__all__ = [
    "FineTuneConfig",
    "FineTuneProgress",
    "FineTuneResult",
    "advise",
    "fine_tune",
    "plan",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import tune

    return getattr(tune, name)
