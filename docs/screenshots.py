"""Make the screenshots of the widgets by driving a real viewer.

    python docs/screenshots.py [--out docs/images] [--model nuclei] [--only export]

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
os.environ["NAPARI_MASKRCNN_STATE"] = tempfile.mkdtemp()

from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip

import napari
import numpy as np
from napari.qt import get_qapp
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QOpenGLWidget
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


def export_picture(out: Path) -> None:
    """Show what the Export COCO widget says of the sample with a hole in an object."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    dock, widget = viewer.window.add_plugin_dock_widget(
        "napari-maskrcnn", "Export COCO"
    )
    main = widget.window()
    main.resizeDocks([dock], [DOCK_WIDTH], Qt.Orientation.Horizontal)
    viewer.open_sample("napari-maskrcnn", "coco")
    labels = viewer.layers["field_b instances"]
    y, x = np.argwhere(labels.data == labels.data.max()).mean(axis=0).astype(int)
    labels.data_setitem(tuple(np.mgrid[y - 2 : y + 3, x - 2 : x + 3]), 0)
    widget.form.picture_box.setCurrentIndex(widget.form.picture_box.findData("tiff"))
    widget.form.mode_box.setCurrentIndex(widget.form.mode_box.findData("polygon"))
    with tempfile.TemporaryDirectory() as folder:
        widget.form.file_edit.setText(str(Path(folder) / "nuclei.coco.json"))
        loop = QEventLoop()
        widget.jobs.returned.connect(loop.quit)
        QTest.mouseClick(widget.check_button, Qt.MouseButton.LeftButton)
        loop.exec()
        QTimer.singleShot(4000, loop.quit)  # until the notification is gone
        loop.exec()
        path = out / "export-check.png"
        viewer.screenshot(str(path), canvas_only=False, flash=False)
        print(path)  # noqa: T201
    viewer.close()


def prompt_picture(out: Path) -> None:
    """A box under way in the Prompt widget, and corrections that are offered."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Prompt")
    main = widget.window()
    main.resizeDocks([dock], [DOCK_WIDTH], Qt.Orientation.Horizontal)
    viewer.open_sample("napari-maskrcnn", "nuclei")
    loop = QEventLoop()

    def rest(milliseconds: int) -> None:
        QTimer.singleShot(milliseconds, loop.quit)
        loop.exec()

    truth = viewer.layers["nuclei ground truth"].data
    ids = [i for i in np.unique(truth)[1:] if np.count_nonzero(truth == i) > 300][:9]
    boxes = []
    for index in ids:
        rows, columns = np.nonzero(truth == index)
        boxes.append((rows.min(), columns.min(), rows.max() + 1, columns.max() + 1))
    widget.tool.start("box")
    for y0, x0, y1, x1 in boxes[:-1]:
        widget.tool.prompt_in([y0 - 0.5, x0 - 0.5], [y1 - 0.5, x1 - 0.5])
    while widget.tool.jobs.running:
        rest(200)
    canvas = main.centralWidget().findChildren(QOpenGLWidget)[0]
    camera = viewer.scene.camera
    size = np.array([canvas.height(), canvas.width()])
    y0, x0, y1, x1 = boxes[-1]
    corners = [
        ((np.array(corner) - camera.center[-2:]) * camera.zoom + size / 2)[::-1]
        for corner in ((y0, x0), (y1, x1))
    ]
    widget.tool.pointer.dragged.emit(tuple(np.concatenate(corners)))
    rest(3000)
    for name in ("prompt-box", "prompt-restore"):
        path = out / f"{name}.png"
        viewer.screenshot(str(path), canvas_only=False, flash=False)
        print(path)  # noqa: T201
        widget.tool.pointer.dragged.emit(None)
        # The image is closed without saving, and opened again.
        viewer.layers.clear()
        viewer.open_sample("napari-maskrcnn", "nuclei")
        rest(3000)
    viewer.close()


def segment_pictures(out: Path, model: str) -> None:
    """Take the Segment widget empty, running, done, and after a refused input."""
    camera = Camera(out)
    camera.take("empty")
    box = camera.widget.model_box
    box.setCurrentIndex(box.findData(model))
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


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--only", choices=["export", "segment", "prompt"])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.only in (None, "export"):
        export_picture(arguments.out)
    if arguments.only in (None, "segment"):
        segment_pictures(arguments.out, arguments.model)
    # Last: it leaves corrections behind, which would be offered in the other pictures.
    if arguments.only in (None, "prompt"):
        prompt_picture(arguments.out)
    get_qapp().quit()


if __name__ == "__main__":
    main()
