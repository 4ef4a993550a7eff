"""What a training run keeps on disk: the state to go on from, and the history."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import torch

from .atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from torch.optim import Optimizer
    from torch.optim.swa_utils import AveragedModel
    from torchvision.models.detection import MaskRCNN

STATE_NAME, CONFIG_NAME, HISTORY_NAME = "state.pt", "config.json", "history.csv"
# Keys that may change when a run is taken up again: they do not touch the weights that
# are already there, and an average forgets its earlier decay.
FREE_KEYS = {
    "steps", "minutes", "validate_every", "save_every", "workers", "ema_decay",
    "calm", "description",
}  # fmt: skip
HISTORY_FIELDS = (
    "step",
    "seconds",
    "loss",
    "loss_objectness",
    "loss_rpn_box_reg",
    "loss_classifier",
    "loss_box_reg",
    "loss_mask",
    "ap50",
    "ap75",
    "score_threshold",
)


@dataclass(slots=True)
class TrainingState:
    """All that a step of training changes."""

    network: MaskRCNN
    average: AveragedModel
    optimizer: Optimizer
    device: torch.device
    step: int = 0
    seconds: float = 0.0


class Run:
    """The folder of a training run; without a folder nothing is kept.

    Parameters
    ----------
    folder : Path or None
        Made when missing.
    config : mapping
        The training configuration. A folder that holds a run of another configuration
        is refused.
    names : sequence of str
        The training images' names, likewise.
    """

    def __init__(
        self, folder: Path | None, config: Mapping[str, Any], names: Sequence[str]
    ) -> None:
        self.folder = folder
        self.last_validation: dict[str, float] = {}
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        wanted = json.loads(json.dumps({"config": config, "images": list(names)}))
        path = folder / CONFIG_NAME
        if path.exists():
            refuse_other_run(json.loads(path.read_text()), wanted, folder, FREE_KEYS)
        write_text(path, json.dumps(wanted, indent=1))

    def restore(self, state: TrainingState) -> None:
        """Go on from the saved state, if there is one."""
        path = self.folder / STATE_NAME if self.folder else None
        if path is None or not path.exists():
            return
        saved = torch.load(path, map_location=state.device, weights_only=True)
        state.network.load_state_dict(saved["network"])
        state.average.load_state_dict(saved["average"])
        state.optimizer.load_state_dict(saved["optimizer"])
        state.step, state.seconds = saved["step"], saved["seconds"]
        self._cut_history(state.step)

    def save(self, state: TrainingState) -> None:
        """Write the state under a temporary name, then rename it into place."""
        if self.folder is None:
            return
        kept = {
            "network": state.network.state_dict(),
            "average": state.average.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "step": state.step,
            "seconds": state.seconds,
        }
        write_state(self.folder / STATE_NAME, kept)

    def log(
        self,
        state: TrainingState,
        losses: Mapping[str, float],
        validation: Mapping[str, float] | None = None,
    ) -> None:
        """Append a row to the history: every tenth step and every validation."""
        if validation:
            self.last_validation = dict(validation)
        elif state.step % 10:
            return
        if self.folder is None:
            return
        row = {"step": state.step, "seconds": round(state.seconds, 1)}
        figures = {**losses, **(validation or {})}
        row |= {key: round(figures[key], 5) for key in HISTORY_FIELDS if key in figures}
        path = self.folder / HISTORY_NAME
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, HISTORY_FIELDS)
            if new:
                writer.writeheader()
            writer.writerow(row)

    def _cut_history(self, step: int) -> None:
        """Drop the rows of steps that a killed run had done but not saved."""
        path = self.folder / HISTORY_NAME if self.folder else None
        if path is None or not path.exists():
            return
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        lines = [",".join(HISTORY_FIELDS)]
        # An older history may lack a column.
        lines += [
            ",".join(row.get(key) or "" for key in HISTORY_FIELDS) for row in rows
        ]
        write_text(path, "\n".join(lines) + "\n")
        measured = [row for row in rows if row["ap50"]]
        if measured:
            self.last_validation = {
                key: float(measured[-1][key])
                for key in ("ap50", "ap75", "score_threshold")
                if measured[-1].get(key)
            }


def refuse_other_run(
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
    folder: Path,
    free_keys: AbstractSet[str],
) -> None:
    """Raise ValueError if a folder holds another run than the one wanted.

    Parameters
    ----------
    found, wanted : mapping
        "config", of which the free keys may differ, and further values.
    folder : Path
        For the message.
    free_keys : set of str
        Keys of "config".
    """
    configs = (found.get("config", {}), wanted["config"])
    differing = sorted(
        key
        for key in configs[0].keys() | configs[1].keys()
        if configs[0].get(key) != configs[1].get(key) and key not in free_keys
    )
    others = (found.keys() | wanted.keys()) - {"config"}
    differing += sorted(key for key in others if found.get(key) != wanted.get(key))
    if differing:
        raise ValueError(
            f"{folder} holds a run of another configuration: {', '.join(differing)} "
            "differ. Choose another folder, or delete this one"
        )


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a file for ``torch.load`` whole or not at all.

    Through a stream: torch's own writer of files does not tell of a full disk.
    """
    with replacing(path) as temporary, temporary.open("wb") as stream:
        torch.save(state, stream)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
