"""Medians of time and peaks of memory."""

from __future__ import annotations

import gc
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torchvision.models.detection import FasterRCNN

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


def _status(field: str) -> float:
    """Return a field of the process's status in MB."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1000
    raise ValueError(f"no field {field} in {STATUS}")


def peak_memory(work: Callable[[], object]) -> float:
    """Return how many MB of memory a piece of work added at its peak (Linux)."""
    gc.collect()
    # Resets the high-water mark of the resident memory.
    CLEAR_REFS.write_text("5")
    before = _status("VmRSS")
    work()
    return max(0.0, _status("VmHWM") - before)


def medians(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each piece of work, run in turns."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for name, work in works.items():
        work()  # the first run pays for imports and caches
        del name
    for _ in range(repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def make_sure(network: FasterRCNN) -> None:
    """Make a network of random weights find as much as it may.

    With nothing found its mask head and its pasting would have nothing to do. Every
    candidate gets the same high score for the first class.
    """
    import torch

    predictor = network.roi_heads.box_predictor
    with torch.no_grad():
        # Scores far from even: else no class reaches the floor of what is kept.
        predictor.cls_score.weight.zero_()
        predictor.cls_score.bias.zero_()
        predictor.cls_score.bias[1] += 8
