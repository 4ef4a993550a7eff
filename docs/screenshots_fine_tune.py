"""Make the screenshots of fine-tuning by driving a real viewer.

    python docs/screenshots_fine_tune.py FOLDER [--out docs/images] [--minutes 10]

FOLDER holds photographs and their COCO file, instances.json; see docs/fine-tune.md for
where to get them. Needs a display; without one put ``xvfb-run -a`` before it.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import screenshot_stage as stage  # isort: skip  # before napari

# After the stage, before the widget is opened: no models but those of the package.
os.environ["NAPARI_MASKRCNN_MODELS"] = tempfile.mkdtemp()

from napari.qt import get_qapp
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QScrollArea

from napari_maskrcnn.viewer.export_parts import likely_image

SIZE = (1400, 1000)


class Camera:
    """A viewer with the widget, and where its pictures go."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.viewer = stage.new_viewer(SIZE)
        self.widget = stage.dock(self.viewer, "Fine-tune", 360)

    def take(self, name: str, show: Any = None) -> None:
        """Write one picture of the window, with a part of the widget in sight."""
        stage.rest(500)
        if show is not None:
            self.widget.findChild(QScrollArea).ensureWidgetVisible(show, 0, 0)
        stage.rest(500)
        stage.take(self.viewer, self.out / f"fine-tune-{name}.png")

    def wait(self, fraction: float = 2.0) -> None:
        """Wait for the end of the job, or until a run has come so far."""
        tuning = self.widget.tuning
        while tuning.jobs.running:
            stage.rest(200)
            if getattr(tuning.last, "fraction", 0) > fraction and tuning.scores[1:]:
                return


def main() -> None:
    """Make all pictures."""
    options = stage.parser(__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--minutes", type=int, default=10)
    options.add_argument("--steps", type=int, default=0, help="in place of minutes")
    options.add_argument("--images", type=int, default=13, help="to learn from")
    options.add_argument("--train", default="")
    options.add_argument("--validate-every", type=int, default=50)
    options.add_argument("--drop", type=int, nargs="*", default=[], help="class rows")
    options.add_argument("--only-check", action="store_true", help="train nothing")
    arguments = options.parse_args()
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
    for row in arguments.drop:
        widget.form.classes.list.item(row).setCheckState(Qt.CheckState.Unchecked)
    stage.click(widget.run_button)
    camera.wait()
    print(widget.summary_label.text(), widget.status.text(), flush=True)  # noqa: T201
    camera.take("check", widget.run_button)
    if arguments.only_check:
        viewer.close()
        get_qapp().quit()
        return
    if widget.follow_button.isVisible() and not arguments.train:
        stage.click(widget.follow_button)
    elif arguments.train:
        widget.form.train(arguments.train)
    stage.click(widget.run_button)
    camera.wait(0.6)
    camera.take("running", widget.curves)
    camera.wait()
    print(widget.result.verdict_label.text(), widget.status.text(), flush=True)  # noqa: T201
    camera.take("done", widget.result.folder_button)
    stage.click(widget.result.use_button)
    camera.wait()
    stage.click(widget.result.next_button)
    while widget.session.jobs.running:
        stage.rest(200)
    viewer.reset_view()
    camera.take("next", widget.result.use_button)
    models = stage.dock(viewer, "Manage models", 840)
    models.select(widget.tuning.outcome.name)
    camera.take("models")
    viewer.close()
    get_qapp().quit()


if __name__ == "__main__":
    main()
