"""The longest stall of the window while a model is fine-tuned, from Check to the end.

    python benchmarks/fine_tune_stall.py [--side 512] [--images 3] [--steps 60]

A real viewer and the real buttons, in a process in which torch has not been imported;
generated nuclei, the bundled model, its heads. A timer that should fire every 5 ms says
how long the window did not answer, and what the widget was showing meanwhile. The
machine should do nothing else; under Xvfb OpenGL is emulated on the CPU and takes its
part.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

# The person's own models are neither read nor written.
os.environ["NAPARI_MASKRCNN_MODELS"] = tempfile.mkdtemp()
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")

import napari
from window import Stalls, add_fields, click, rest

GOAL = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    viewer = napari.Viewer(show=True)
    add_fields(viewer, options.images, options.side)
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Fine-tune")
    widget.form.base = replace(widget.form.base, validate_every=20)
    widget.form.unit_box.setCurrentText("steps")
    widget.form.length_box.setValue(options.steps)
    rest(2000)
    if "torch" in sys.modules:
        raise RuntimeError("torch was imported before the click")
    stalls = Stalls(lambda: widget.status.text())
    start = time.perf_counter()
    for _ in ("check", "train"):
        click(widget.run_button)
        while widget.tuning.jobs.running:
            rest(50)
        rest(1000)
    print(f"{widget.result.verdict_label.text()}")
    print(f"{time.perf_counter() - start - 2:.1f} s, {widget.status.text()}")
    longest = stalls.stop(8)
    viewer.close()
    return int(longest > GOAL)


if __name__ == "__main__":
    sys.exit(main())
