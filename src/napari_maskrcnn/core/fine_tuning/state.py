"""What a fine-tuning run changes, and what it keeps on disk of it."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import torch

from napari_maskrcnn.core.atomic import replacing
from napari_maskrcnn.core.checkpoints import (
    Checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from napari_maskrcnn.core.training_state import (
    CONFIG_NAME,
    HISTORY_NAME,
    STATE_NAME,
    refuse_other_run,
    write_state,
    write_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from .config import FineTuneConfig

BEST_NAME = "best.safetensors"
VIEWS_NAME = "views"
HISTORY_FIELDS = (
    "step", "seconds", "learning_rate", "loss", "loss_objectness", "loss_rpn_box_reg",
    "loss_classifier", "loss_box_reg", "loss_mask", "ap50", "ap75", "ap50_any_class",
    "score_threshold", "replay_ap50", "replay_ap75",
)  # fmt: skip
# Steps between two rows of losses in the history.
LOG_EVERY = 5
# Keys that may change when a run is taken up again.
FREE_KEYS = {
    "steps", "minutes", "patience", "save_every", "memory_budget", "disk_budget",
    "description",
}  # fmt: skip


@dataclass(slots=True)
class FineTuneState:
    """All that a run changes.

    Parameters
    ----------
    learning : dict of str to Parameter
        What learns, by name.
    average : dict of str to Tensor
        Its exponential average.
    optimizer : Optimizer
        Over the same parameters.
    step, seconds
        Done so far.
    validated : int
        The last step that was validated; -1 before the model was measured as it is.
    best : dict of str to Tensor
        The average at the step with the best validation; empty before the first.
    best_step, best_scores
        When, and what was measured.
    without_gain : int
        Validations since then.
    before : dict
        The figures of the model as it was, and the recommendation's.
    """

    learning: dict[str, nn.Parameter]
    average: dict[str, Tensor]
    optimizer: Optimizer
    step: int = 0
    seconds: float = 0.0
    validated: int = -1
    best: dict[str, Tensor] = field(default_factory=dict)
    best_step: int = 0
    best_scores: dict[str, float] = field(default_factory=dict)
    without_gain: int = 0
    before: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return tensors and plain values only."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        learning = {key: value.detach() for key, value in self.learning.items()}
        return {**plain, "learning": learning, "optimizer": self.optimizer.state_dict()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `to_dict` gave."""
        with torch.no_grad():
            for key, value in self.learning.items():
                value.copy_(saved["learning"][key])
        self.optimizer.load_state_dict(saved["optimizer"])
        for name in _PLAIN:
            setattr(self, name, saved[name])


_PLAIN = (
    "average", "step", "seconds", "validated", "best", "best_step", "best_scores",
    "without_gain", "before",
)  # fmt: skip


def initial_state(
    learning: dict[str, nn.Parameter], config: FineTuneConfig
) -> FineTuneState:
    """Return the state of a run that has not begun.

    Parameters
    ----------
    learning : dict of str to Parameter
        What learns, by name.
    config : FineTuneConfig
        Of the optimiser.
    """
    rate, trunk_share = config.rates()
    groups: dict[tuple[float, bool], list[Any]] = {}
    for name, parameter in learning.items():
        share = trunk_share if name.startswith("backbone.body.") else 1.0
        groups.setdefault((share, parameter.ndim > 1), []).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {
                "params": parameters,
                "share": share,
                "weight_decay": config.weight_decay if decayed else 0.0,
            }
            for (share, decayed), parameters in groups.items()
        ],
        lr=rate,
    )
    average = {key: p.detach().clone() for key, p in learning.items()}
    return FineTuneState(learning, average, optimizer)


class FineTuneRun:
    """The folder of a run; without a folder only the history is kept, in memory.

    Parameters
    ----------
    folder : Path or None
        Made when missing.
    identity : mapping
        What makes the run this one: "config", and further JSON-able values. A folder
        that holds another run is refused.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.history: list[dict[str, float]] = []
        self._saved: tuple[int, int, bool] | None = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        wanted = json.loads(json.dumps(identity))
        path = folder / CONFIG_NAME
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            refuse_other_run(found, wanted, folder, FREE_KEYS)
        write_text(path, json.dumps(wanted, indent=1))

    def restore(self, state: FineTuneState, device: torch.device) -> None:
        """Go on from the saved state, if there is one."""
        path = self.folder / STATE_NAME if self.folder else None
        if path is None or not path.exists():
            return
        state.restore(torch.load(path, map_location=device, weights_only=True))
        self.history = [
            row for row in read_history(path.parent) if row["step"] <= state.step
        ]
        # Rows of steps that a killed run had done but not saved go.
        self._write_history()

    def save(self, state: FineTuneState) -> None:
        """Write the state under a temporary name, then rename it into place.

        Nothing is written where it has not changed: a cancel need not wait for it.
        """
        reached = (state.step, state.validated, bool(state.before))
        if self.folder is None or reached == self._saved:
            return
        write_state(self.folder / STATE_NAME, state.to_dict())
        self._saved = reached
        self._write_history()

    def log(self, state: FineTuneState, figures: Mapping[str, float]) -> None:
        """Add a row to the history."""
        row: dict[str, float] = {"step": state.step, "seconds": round(state.seconds, 1)}
        row |= {k: round(figures[k], 6) for k in HISTORY_FIELDS if k in figures}
        self.history.append(row)

    def keep_best(self, checkpoint: Checkpoint) -> None:
        """Write the best model so far, and the history up to it."""
        if self.folder is not None:
            write_checkpoint(self.folder / BEST_NAME, checkpoint)
            self._write_history()

    def _write_history(self) -> None:
        if self.folder is not None:
            write_history(self.folder / HISTORY_NAME, self.history)


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Write the rows of a history as CSV."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, HISTORY_FIELDS)
        writer.writeheader()
        writer.writerows(history)


def read_history(folder: Path) -> list[dict[str, float]]:
    """Read the history of a run's folder: a row has only the figures it was given."""
    path = folder / HISTORY_NAME
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {key: _number(key, text) for key, text in row.items() if text}
            for row in csv.DictReader(file)
        ]


def _number(key: str, text: str) -> float:
    return int(text) if key == "step" else float(text)


def read_best(folder: Path) -> Checkpoint | None:
    """Return the best model so far of a run that is going on or was cancelled."""
    path = folder / BEST_NAME
    return read_checkpoint(path) if path.exists() else None
