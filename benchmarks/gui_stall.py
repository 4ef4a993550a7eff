"""The longest stall of the window during a first run, from the click to the result.

    python benchmarks/gui_stall.py [--side 512] [--model nuclei]

A real viewer and the real button, in a process in which torch has not been imported. A
timer that should fire every 5 ms says how long the window did not answer, and what the
widget was showing meanwhile. The machine should do nothing else; under Xvfb OpenGL is
emulated on the CPU and takes its part.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time

# Nothing is left behind among a person's unsaved corrections.
os.environ["NAPARI_MASKRCNN_STATE"] = tempfile.mkdtemp()

import napari
from window import Stalls, click, rest

from napari_maskrcnn.core.samples import nuclei_field

GOAL = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--model", default="nuclei")
    options = parser.parse_args()
    viewer = napari.Viewer(show=True)
    viewer.add_image(nuclei_field((options.side, options.side))[0])
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Segment")
    widget.model_box.setCurrentIndex(widget.model_box.findData(options.model))
    rest(2000)
    if "torch" in sys.modules:
        raise RuntimeError("torch was imported before the click")
    stalls = Stalls(lambda: widget.status.text())
    start = time.perf_counter()
    click(widget.run_button)
    while widget.session.jobs.running:
        rest(50)
    rest(1000)
    print(f"{widget.count_label.text()} after {time.perf_counter() - start - 1:.1f} s")
    longest = stalls.stop(5)
    viewer.close()
    return int(longest > GOAL)


if __name__ == "__main__":
    sys.exit(main())
