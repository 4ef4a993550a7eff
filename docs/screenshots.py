"""Make the screenshots of the widgets by driving a real viewer.

    python docs/screenshots.py [--out docs/images] [--model nuclei] [--only export]

Needs a display; without one: ``xvfb-run -a python docs/screenshots.py``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import screenshot_stage as stage  # isort: skip  # before napari

import numpy as np
from napari.qt import get_qapp
from qtpy.QtWidgets import QOpenGLWidget
from skimage.data import coins

if TYPE_CHECKING:
    from napari_maskrcnn.core.progress import Progress
    from napari_maskrcnn.widgets.segment import SegmentWidget


class Camera:
    """A viewer with the widget docked, and where its pictures go."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.viewer = stage.new_viewer()
        self.widget: SegmentWidget = stage.dock(self.viewer, "Segment")

    def take(self, name: str) -> None:
        """Write one picture of the whole window."""
        stage.rest(300)
        stage.take(self.viewer, self.out / f"segment-{name}.png")

    def run(self) -> None:
        """Click "Segment instances" and wait for the end; one picture on the way."""
        session = self.widget.session
        pictures: list[str] = []

        def on_progress(progress: Progress) -> None:
            if progress.done > 0.4 * progress.total > 0 and not pictures:
                pictures.append("running")
                stage.take(self.viewer, self.out / "segment-running.png")

        session.progressed.connect(on_progress)
        stage.click(self.widget.run_button)
        stage.wait_for(session.jobs)
        session.progressed.disconnect(on_progress)


def export_picture(out: Path) -> None:
    """Show what the Export COCO widget says of the sample with a hole in an object."""
    viewer = stage.new_viewer()
    widget = stage.dock(viewer, "Export COCO")
    viewer.open_sample("napari-maskrcnn", "coco")
    labels = viewer.layers["field_b instances"]
    y, x = np.argwhere(labels.data == labels.data.max()).mean(axis=0).astype(int)
    labels.data_setitem(tuple(np.mgrid[y - 2 : y + 3, x - 2 : x + 3]), 0)
    widget.form.picture_box.setCurrentIndex(widget.form.picture_box.findData("tiff"))
    widget.form.mode_box.setCurrentIndex(widget.form.mode_box.findData("polygon"))
    with tempfile.TemporaryDirectory() as folder:
        widget.form.file_edit.setText(str(Path(folder) / "nuclei.coco.json"))
        stage.click(widget.check_button)
        stage.wait_for(widget.jobs)
        stage.rest(4000)  # until the notification is gone
        stage.take(viewer, out / "export-check.png")
    viewer.close()


def prompt_picture(out: Path) -> None:
    """A box under way in the Prompt widget, and corrections that are offered."""
    viewer = stage.new_viewer()
    widget = stage.dock(viewer, "Prompt")
    main = widget.window()
    viewer.open_sample("napari-maskrcnn", "nuclei")
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
        stage.rest(200)
    canvas = main.centralWidget().findChildren(QOpenGLWidget)[0]
    camera = viewer.scene.camera
    size = np.array([canvas.height(), canvas.width()])
    y0, x0, y1, x1 = boxes[-1]
    corners = [
        ((np.array(corner) - camera.center[-2:]) * camera.zoom + size / 2)[::-1]
        for corner in ((y0, x0), (y1, x1))
    ]
    widget.tool.pointer.dragged.emit(tuple(np.concatenate(corners)))
    stage.rest(3000)
    for name in ("prompt-box", "prompt-restore"):
        stage.take(viewer, out / f"{name}.png")
        widget.tool.pointer.dragged.emit(None)
        # The image is closed without saving, and opened again.
        viewer.layers.clear()
        viewer.open_sample("napari-maskrcnn", "nuclei")
        stage.rest(3000)
    viewer.close()


def segment_pictures(out: Path, model: str) -> None:
    """Take the Segment widget empty, running, done, and after a refused input."""
    camera = Camera(out)
    camera.take("empty")
    box = camera.widget.model_box
    box.setCurrentIndex(box.findData(model))
    camera.viewer.open_sample("napari-maskrcnn", "nuclei")
    stage.rest(500)
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
    options = stage.parser(__doc__)
    options.add_argument("--model", default="nuclei")
    options.add_argument("--only", choices=["export", "segment", "prompt"])
    arguments = options.parse_args()
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
