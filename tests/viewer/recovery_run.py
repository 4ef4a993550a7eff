"""A person at work in a window of its own, for the test that kills it.

    python recovery_run.py correct IMAGE LOG
    python recovery_run.py reopen IMAGE OUT

"correct" paints an object every half second, and notes each one with its time; it never
ends by itself. "reopen" opens the same image in another window, takes the offer, and
writes the labels.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QTimer

from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.viewer.jobs import Outcome
from napari_maskrcnn.viewer.layers import current_plane
from napari_maskrcnn.viewer.session import session_of
from napari_maskrcnn.widgets.recovery_bar import RecoveryBar

EVERY_MS = 500
FIRST = 101


def rest(milliseconds: int) -> None:
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def opened(path: str) -> tuple[Any, Any, Any]:
    viewer = napari.Viewer(show=False)
    (image,) = viewer.open(path, plugin="napari")
    return viewer, image, session_of(viewer)


def correct(path: str, log: str) -> None:
    viewer, image, session = opened(path)
    bar = RecoveryBar(session)
    found = np.zeros(image.data.shape, np.uint16)
    found[300:310, 10:20], found[300:310, 40:50] = 1, 2
    outcome = Outcome(None, (), Instances.from_label_image(found))
    session.take(image, current_plane(image, viewer), outcome, Recipe())
    labels = session.results.labels_of(image)
    labels.selected_label = 2
    labels.fill((305, 12), 0)  # object 1 is deleted by hand
    for number in range(10_000):
        y, x = divmod(number, 30)
        labels.brush_size = 5
        labels.paint((8 + 8 * y, 8 + 8 * x), FIRST + number)
        with Path(log).open("a") as file:
            file.write(f"{FIRST + number} {time.time()}\n")
        rest(EVERY_MS)
    del bar


def reopen(path: str, out: str) -> None:
    viewer, image, session = opened(path)
    bar = RecoveryBar(session)
    for _ in range(200):
        if bar.recovery.offers():
            break
        rest(50)
    sys.stdout.write(bar.line.text())
    bar.restore_button.click()
    labels = session.results.labels_of(image)
    np.save(out, labels.data)
    bar.deleteLater()
    viewer.close()
    session.release()


if __name__ == "__main__":
    {"correct": correct, "reopen": reopen}[sys.argv[1]](*sys.argv[2:])
