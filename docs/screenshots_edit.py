"""Make the screenshot of the Edit widget by driving a real viewer.

    python docs/screenshots_edit.py [--out docs/images]

Needs a display; without one: ``xvfb-run -a python docs/screenshots_edit.py``.
"""

from __future__ import annotations

import screenshot_stage as stage  # isort: skip  # before napari

import numpy as np
from napari.qt import get_qapp
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.viewer.features import update_features
from napari_maskrcnn.viewer.layers import Plane
from napari_maskrcnn.viewer.selection import select
from napari_maskrcnn.widgets.canvas_line import canvas_in


def main() -> None:
    """Show two nuclei taken for one, with the line that is to cut them."""
    out = stage.parser(__doc__).parse_args().out
    viewer = stage.new_viewer()
    widget = stage.dock(viewer, "Edit")
    window = widget.window()
    image, label_image = nuclei_field()
    viewer.add_image(image, name="nuclei")
    data = label_image.astype(np.uint16)
    # The pair of neighbours whose middles are nearest to each other.
    ids = np.unique(data)[1:]
    middles = np.array([np.argwhere(data == i).mean(axis=0) for i in ids])
    apart = np.linalg.norm(middles[:, None] - middles[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    one, other = np.unravel_index(apart.argmin(), apart.shape)
    data[data == ids[other]] = ids[one]
    layer = viewer.add_labels(data, name="nuclei instances")
    update_features(layer, Plane((0, 1)))
    select(layer, [int(ids[one])])
    centre = (middles[one] + middles[other]) / 2
    viewer.scene.camera.center = (0, *centre)
    viewer.scene.camera.zoom = 9
    stage.rest(1500)
    stage.click(widget.buttons["split_line"])
    canvas = canvas_in(window)
    along = middles[other] - middles[one]
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along) * 9 * 9
    for step in (-1.0, -0.5, 0.0, 0.5, 1.0):
        y, x = np.array([canvas.height(), canvas.width()]) / 2 + step * across
        point = QPoint(round(x), round(y))
        if step == -1.0:
            QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=point)
        QTest.mouseMove(canvas, point)
        stage.rest(60)
    out.mkdir(parents=True, exist_ok=True)
    window.grab().save(str(out / "edit-split.png"))
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=point)
    stage.rest(500)
    print(widget.status.text())  # noqa: T201
    viewer.close()
    get_qapp().quit()


if __name__ == "__main__":
    main()
