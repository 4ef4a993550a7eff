"""Make the screenshots of the Review widget by driving a real viewer.

    python docs/screenshots_review.py [--out docs/images]

Needs a display; without one: ``xvfb-run -a python docs/screenshots_review.py``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

# Before napari reads its settings: the pictures show the defaults.
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
os.environ["NAPARI_MASKRCNN_STATE"] = tempfile.mkdtemp()

from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip

import napari
from napari.qt import get_qapp
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtTest import QTest

from napari_maskrcnn.viewer.layers import unwrap

SIZE = (1280, 900)
DOCK_WIDTH = 350


def rest(milliseconds: int) -> None:
    """Let the window do its work."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def click(button: Any) -> None:
    """Click a button as a person does."""
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def segmented(viewer: Any) -> Any:
    """Segment the sample nuclei with the bundled model; return the Labels layer."""
    _, segment = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Segment")
    viewer.open_sample("napari-maskrcnn", "nuclei")
    image = viewer.layers["nuclei"]
    loop = QEventLoop()

    def on_job() -> None:
        if not segment.session.jobs.running:
            loop.quit()

    segment.session.job_changed.connect(on_job)
    click(segment.run_button)
    loop.exec()
    segment.session.job_changed.disconnect(on_job)
    viewer.window.remove_dock_widget(segment)
    return segment.session.results.labels_of(unwrap(image))


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    labels = segmented(viewer)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Review")
    widget.window().resizeDocks([dock], [DOCK_WIDTH], Qt.Orientation.Horizontal)
    rest(1500)

    def take(name: str) -> None:
        rest(600)
        path = arguments.out / f"review-{name}.png"
        viewer.screenshot(str(path), canvas_only=False, flash=False)
        print(path)  # noqa: T201

    click(widget.next_button)
    for _ in range(4):
        click(widget.approve_button)
    viewer.reset_view()
    take("queue")
    widget.classes.name_edit.setText("dividing")
    click(widget.classes.add_button)
    widget.table.select(widget.model.ids[3:14].tolist())
    widget.set_class("dividing")
    widget.table.select(widget.model.ids[6:7].tolist())
    widget.classes.colour_box.click()
    viewer.reset_view()
    take("classes")
    del labels
    viewer.close()
    get_qapp().quit()


if __name__ == "__main__":
    main()
