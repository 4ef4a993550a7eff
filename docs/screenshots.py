"""Make the screenshots of the Segment widget by driving a real viewer.

    python docs/screenshots.py [--out docs/images] [--model nuclei]

Needs a display; without one: ``xvfb-run -a python docs/screenshots.py``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before napari reads its settings: the pictures show the defaults.
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")

from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip

import napari
import numpy as np
from napari.qt import get_qapp
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtTest import QTest
from skimage.data import coins

if TYPE_CHECKING:
    from napari_maskrcnn.core.progress import Progress
    from napari_maskrcnn.widgets.segment import SegmentWidget

SIZE = (1280, 860)
DOCK_WIDTH = 320


class Camera:
    """A viewer with the widget docked, and where its pictures go."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(*SIZE)
        dock, self.widget = self.viewer.window.add_plugin_dock_widget(
            "napari-maskrcnn", "Segment"
        )
        self.widget: SegmentWidget
        main = self.widget.window()
        main.resizeDocks([dock], [DOCK_WIDTH], Qt.Orientation.Horizontal)
        self.rest(1500)

    def rest(self, milliseconds: int) -> None:
        """Let the window do its work."""
        loop = QEventLoop()
        QTimer.singleShot(milliseconds, loop.quit)
        loop.exec()

    def take(self, name: str) -> None:
        """Write one picture of the whole window."""
        self.rest(300)
        path = self.out / f"segment-{name}.png"
        self.viewer.screenshot(str(path), canvas_only=False, flash=False)
        print(path)  # noqa: T201

    def click(self, button: Any) -> None:
        """Click a button as a person does."""
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def run(self) -> None:
        """Click "Segment instances" and wait for the end; one picture on the way."""
        session = self.widget.session
        loop = QEventLoop()
        pictures: list[str] = []

        def on_progress(progress: Progress) -> None:
            if progress.done > 0.4 * progress.total > 0 and not pictures:
                pictures.append("running")
                path = self.out / "segment-running.png"
                self.viewer.screenshot(str(path), canvas_only=False, flash=False)
                print(path)  # noqa: T201

        def on_job() -> None:
            if not session.jobs.running:
                loop.quit()

        session.progressed.connect(on_progress)
        session.job_changed.connect(on_job)
        self.click(self.widget.run_button)
        loop.exec()
        session.progressed.disconnect(on_progress)
        session.job_changed.disconnect(on_job)


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--model", default="nuclei")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    camera = Camera(arguments.out)
    camera.take("empty")
    box = camera.widget.model_box
    box.setCurrentIndex(box.findData(arguments.model))
    camera.viewer.open_sample("napari-maskrcnn", "nuclei")
    camera.rest(500)
    camera.run()
    camera.take("done")
    for layer in camera.viewer.layers:
        layer.visible = False
    # Objects of 2 pixels would need an enlargement that no memory holds.
    large = camera.viewer.add_image(np.tile(coins(), (15, 11)), name="many coins")
    camera.widget.image_box.setCurrentText(large.name)
    camera.widget.size_auto.setChecked(False)
    camera.widget.size_box.setValue(2)
    camera.viewer.reset_view()
    camera.run()
    camera.take("refused")
    camera.viewer.close()
    get_qapp().quit()


if __name__ == "__main__":
    main()
