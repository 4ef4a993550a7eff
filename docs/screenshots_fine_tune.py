"""Make the screenshots of fine-tuning by driving a real viewer.

    python docs/screenshots_fine_tune.py FOLDER [--out docs/images] [--minutes 10]

FOLDER holds photographs and their COCO file, instances.json; see docs/fine-tune.md for
where to get them. Needs a display; without one put ``xvfb-run -a`` before it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

# Before napari reads its settings: the pictures show the defaults.
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
os.environ["NAPARI_MASKRCNN_STATE"] = tempfile.mkdtemp()
os.environ["NAPARI_MASKRCNN_MODELS"] = tempfile.mkdtemp()

from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip

import napari
from napari.qt import get_qapp
from PIL import Image
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QScrollArea

from napari_maskrcnn.viewer.export_parts import likely_image

SIZE = (1400, 1000)
DOCK_WIDTH = 360


def rest(milliseconds: int) -> None:
    """Let the window do its work."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def click(button: Any) -> None:
    """Click a button as a person does."""
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


class Camera:
    """A viewer with the widget, and where its pictures go."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(*SIZE)
        self.dock, self.widget = self.viewer.window.add_plugin_dock_widget(
            "napari-maskrcnn", "Fine-tune"
        )
        main = self.widget.window()
        main.resizeDocks([self.dock], [DOCK_WIDTH], Qt.Orientation.Horizontal)
        rest(1000)

    def take(self, name: str, show: Any = None) -> None:
        """Write one picture of the window, with a part of the widget in sight."""
        rest(500)
        if show is not None:
            self.widget.findChild(QScrollArea).ensureWidgetVisible(show, 0, 0)
        rest(500)
        path = self.out / f"fine-tune-{name}.png"
        self.viewer.screenshot(str(path), canvas_only=False, flash=False)
        # Without the alpha channel, which says nothing.
        Image.open(path).convert("RGB").save(path, optimize=True)
        print(path, flush=True)  # noqa: T201

    def wait(self, fraction: float = 2.0) -> None:
        """Wait for the end of the job, or until a run has come so far."""
        tuning = self.widget.tuning
        while tuning.jobs.running:
            rest(200)
            if getattr(tuning.last, "fraction", 0) > fraction and tuning.scores[1:]:
                return


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--steps", type=int, default=0, help="in place of minutes")
    parser.add_argument("--images", type=int, default=13, help="to learn from")
    parser.add_argument("--train", default="")
    parser.add_argument("--validate-every", type=int, default=50)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    camera = Camera(arguments.out)
    viewer, widget = camera.viewer, camera.widget
    viewer.open(str(arguments.folder / "instances.json"), plugin="napari-maskrcnn")
    # One photograph stays without labels: the next image.
    images = [x for x in viewer.layers if type(x).__name__ == "Image"]
    all_labels = widget.session.all_labels()
    kept = images[: arguments.images + 1]
    owners = {labels: likely_image(widget.session, labels) for labels in all_labels}
    for labels, image in owners.items():
        if image not in kept[:-1]:
            viewer.layers.remove(labels)
    for image in images[len(kept) :]:
        viewer.layers.remove(image)
    for layer in list(viewer.layers)[2:]:
        layer.visible = False
    widget.sources.layers.list_layers()
    for labels in widget.session.all_labels():
        widget.sources.layers.tick(labels, True)
    viewer.reset_view()
    widget.form.base = replace(
        widget.form.base, validate_every=arguments.validate_every
    )
    if arguments.steps:
        widget.form.unit_box.setCurrentText("steps")
    widget.form.length_box.setValue(arguments.steps or arguments.minutes)
    click(widget.run_button)
    camera.wait()
    print(widget.summary_label.text(), widget.status.text(), flush=True)  # noqa: T201
    camera.take("check", widget.run_button)
    if widget.follow_button.isVisible() and not arguments.train:
        click(widget.follow_button)
    elif arguments.train:
        widget.form.train(arguments.train)
    click(widget.run_button)
    camera.wait(0.6)
    camera.take("running", widget.curves)
    camera.wait()
    print(widget.result.verdict_label.text(), widget.status.text(), flush=True)  # noqa: T201
    camera.take("done", widget.result.folder_button)
    click(widget.result.use_button)
    camera.wait()
    click(widget.result.next_button)
    while widget.session.jobs.running:
        rest(200)
    viewer.reset_view()
    camera.take("next", widget.result.use_button)
    dock, models = viewer.window.add_plugin_dock_widget(
        "napari-maskrcnn", "Manage models"
    )
    models.select(widget.tuning.outcome.name)
    models.window().resizeDocks([dock], [840], Qt.Orientation.Horizontal)
    camera.take("models")
    viewer.close()
    get_qapp().quit()


if __name__ == "__main__":
    main()
