"""How long a cancelled fine-tuning takes to leave its thread, from the click.

    python benchmarks/fine_tune_cancel.py [--side 512] [--images 3] [--cancels 30]

A real viewer and the real buttons: generated nuclei, the bundled model. Check and
training are cancelled at random moments, some of them in the middle of a validation;
measured is the time from the click on Cancel until the thread has ended. The button
itself answers at once. Below it stands what the longest were doing. The machine
should do nothing else.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

# The person's own models are neither read nor written.
os.environ["NAPARI_MASKRCNN_MODELS"] = tempfile.mkdtemp()
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")

from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip
import torch  # isort: skip

import napari
from window import add_fields, click, rest

GOAL = 1.0
CHECKS = 0.3


def opened(options: argparse.Namespace) -> Any:
    """Open a viewer with images, their objects and the widget."""
    viewer = napari.Viewer(show=True)
    add_fields(viewer, options.images, options.side)
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Fine-tune")
    widget.form.base = replace(widget.form.base, validate_every=5, patience=0)
    widget.form.train(options.train)
    widget.form.unit_box.setCurrentText("steps")
    widget.form.length_box.setValue(10_000)
    rest(1000)
    return viewer, widget


def cancelled(widget: Any, delay: float) -> tuple[float, str]:
    """Click, wait, cancel; return the seconds to the thread's end, and what it did."""
    click(widget.run_button)
    end = time.perf_counter() + delay
    while time.perf_counter() < end and widget.tuning.jobs.running:
        rest(10)
    doing = widget.status.text().split(", about")[0]
    start = time.perf_counter()
    click(widget.run_row.cancel_button)
    # The runner keeps a worker here until its thread has ended.
    while widget.tuning.jobs._leaving is not None:
        rest(2)
    return time.perf_counter() - start, doing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--cancels", type=int, default=30)
    parser.add_argument("--longest", type=float, default=20.0, help="seconds it runs")
    parser.add_argument("--train", default="heads")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    chance = random.Random(options.seed)
    viewer, widget = opened(options)
    found: list[tuple[float, str]] = []
    checks = round(CHECKS * options.cancels)
    for _ in range(checks):
        found.append(cancelled(widget, chance.uniform(0, options.longest / 4)))
    # A check that ends, so that the button starts the training.
    click(widget.run_button)
    while widget.tuning.jobs.running:
        rest(50)
    for number in range(options.cancels - checks):
        widget.form.name_edit.setText(f"cancel-{number}")
        found.append(cancelled(widget, chance.uniform(0, options.longest)))
    times = sorted(seconds for seconds, _ in found)
    print(
        f"{len(times)} cancels: median {statistics.median(times):.2f} s, "
        f"90 % within {times[int(0.9 * (len(times) - 1))]:.2f} s, "
        f"longest {times[-1]:.2f} s, {sum(t > GOAL for t in times)} above {GOAL:g} s"
    )
    for seconds, doing in sorted(found, reverse=True)[:8]:
        print(f"{seconds:6.2f} s  {doing}")
    viewer.close()
    return int(times[-1] > GOAL)


if __name__ == "__main__":
    sys.exit(main())
