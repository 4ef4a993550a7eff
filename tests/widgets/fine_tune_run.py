"""A window in which a model learns, for the test that closes it.

    python fine_tune_run.py

Trains without end, and once there is a model to keep it closes the window as a person
does. The process has to end by itself.
"""

from __future__ import annotations

import sys
from typing import Any

from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip

import napari
from qtpy.QtCore import QTimer

from napari_maskrcnn.core.fine_tuning.config import FineTuneConfig
from napari_maskrcnn.core.samples import nuclei_field

LOOK_MS = 20
CONFIG = FineTuneConfig(
    batch_size=1, crop=64, warm_up=1, save_every=1, validate_every=2, held_out=0.34,
    cache_views=2, precision="float32", patience=0,
)  # fmt: skip


def main() -> None:
    viewer = napari.Viewer(show=True)
    for seed in range(3):
        image, labels = nuclei_field((80, 96), 12, seed=seed)
        viewer.add_image(image, name=f"field {seed}")
        viewer.add_labels(labels, name=f"field {seed} objects")
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Fine-tune")
    widget.form.model_box.choose("junk")
    widget.form.base = CONFIG
    widget.form.unit_box.setCurrentText("steps")
    widget.form.length_box.setValue(10_000)
    looking = QTimer()
    looking.timeout.connect(lambda: look(viewer, widget, looking))
    looking.start(LOOK_MS)
    napari.run()
    sys.stdout.write("the loop has ended\n")


def look(viewer: Any, widget: Any, looking: QTimer) -> None:
    """Check, start, and close the window in the middle of it."""
    tuning = widget.tuning
    if not tuning.jobs.running:
        widget.run_button.click()
    elif tuning.training and getattr(tuning.last, "best_step", 0):
        looking.stop()
        sys.stdout.write(f"closed at step {tuning.last.step}\n")
        sys.stdout.flush()
        viewer.window._qt_window.close()


if __name__ == "__main__":
    main()
