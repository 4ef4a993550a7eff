"""Make the screenshot of a run over the frames of a video, by driving a real viewer.

    python docs/screenshots_video.py [--out docs/images]

Needs a display, as `screenshots.py` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import screenshot_stage as stage  # isort: skip  # first: it guards torch and the settings

import numpy as np
from napari.qt import get_qapp
from qtpy.QtCore import QEventLoop
from screenshots import Camera

from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from napari_maskrcnn.core.progress import Progress

FRAMES = 40
SHAPE = (200, 280)
# The picture is taken when so many frames are done.
DONE = 12


def video_picture(out: Path) -> None:
    """Take the Segment widget in the middle of a run over a video."""
    camera = Camera(out)
    viewer, widget = camera.viewer, camera.widget
    wide, _ = nuclei_field((SHAPE[0], SHAPE[1] + 3 * FRAMES), 50)
    video = np.stack([wide[:, 3 * t : 3 * t + SHAPE[1]] for t in range(FRAMES)])
    viewer.add_image(video, name="video", axis_labels=("t", "y", "x"))
    box = widget.frames_row.box
    box.setCurrentIndex(box.findText(f"All {FRAMES} frames"))
    viewer.dims.set_current_step(0, 4)
    stage.rest(500)
    loop = QEventLoop()

    def on_progress(progress: Progress) -> None:
        if progress.done >= DONE and progress.total:
            loop.quit()

    widget.session.progressed.connect(on_progress)
    stage.click(widget.run_button)
    loop.exec()
    widget.session.progressed.disconnect(on_progress)
    camera.take("video")
    stage.click(widget.run_row.cancel_button)
    stage.rest(3000)
    viewer.close()


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    arguments = parser.parse_args()
    video_picture(arguments.out)
    get_qapp().quit()


if __name__ == "__main__":
    main()
