"""Make the screenshots of boxes and keypoints: COCO files opened in a real viewer.

    python docs/screenshots_boxes.py [--out docs/images]

The picture is scikit-image's astronaut, annotated here by hand.  Needs a display;
without one: ``xvfb-run -a python docs/screenshots_boxes.py``.
"""

from __future__ import annotations

import argparse
import json
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
from skimage.data import astronaut

from napari_maskrcnn.core.coco.keypoints import skeleton_keys
from napari_maskrcnn.core.images import write_array
from napari_maskrcnn.core.skeletons import COCO_PERSON

SIZE, DOCK_WIDTH = (1280, 860), 320
PERSON = [22, 15, 344, 497]
BOXES = {
    "person": PERSON,
    "helmet": [277, 344, 235, 168],
    "shuttle": [354, 0, 118, 290],
    "flag": [0, 0, 97, 512],
}
# x, y, and 2 for what is seen, 1 for what is hidden; the others are outside.
KEYPOINTS = {
    "nose": (224, 124, 2),
    "left_eye": (248, 104, 2),
    "right_eye": (203, 101, 2),
    "left_ear": (277, 119, 2),
    "right_ear": (177, 112, 2),
    "left_shoulder": (318, 268, 2),
    "right_shoulder": (96, 248, 2),
    "left_elbow": (352, 398, 1),
    "right_elbow": (48, 398, 2),
    "right_wrist": (138, 499, 1),
}


def document(boxes: dict[str, list[int]], *, keypoints: bool) -> dict[str, Any]:
    """Return a COCO document of the astronaut."""
    categories: list[dict[str, Any]] = [
        {"id": number, "name": name, "supercategory": ""}
        for number, name in enumerate(boxes, start=1)
    ]
    annotations: list[dict[str, Any]] = [
        {
            "id": number, "image_id": 1, "category_id": number, "iscrowd": 0,
            "bbox": box, "area": box[2] * box[3], "segmentation": [],
        }
        for number, box in enumerate(boxes.values(), start=1)
    ]  # fmt: skip
    if keypoints:
        categories[0] |= skeleton_keys(COCO_PERSON)
        flat = [v for name in COCO_PERSON.names for v in KEYPOINTS.get(name, (0, 0, 0))]
        annotations[0] |= {"keypoints": flat, "num_keypoints": len(KEYPOINTS)}
    image = {"id": 1, "file_name": "astronaut.png", "width": 512, "height": 512}
    return {"images": [image], "annotations": annotations, "categories": categories}


def take(out: Path, name: str, content: dict[str, Any]) -> None:
    """Open a document as a person does, beside the Export COCO widget."""
    viewer = napari.Viewer(show=True)
    loop = QEventLoop()
    viewer.window.resize(*SIZE)
    with tempfile.TemporaryDirectory() as folder:
        write_array(Path(folder) / "astronaut.png", astronaut())
        path = Path(folder) / "astronaut.coco.json"
        path.write_text(json.dumps(content))
        viewer.open(str(path), plugin="napari-maskrcnn")
        dock, widget = viewer.window.add_plugin_dock_widget(
            "napari-maskrcnn", "Export COCO"
        )
        window = widget.window()
        window.resizeDocks([dock], [DOCK_WIDTH], Qt.Orientation.Horizontal)
        widget.form.file_edit.setText(str(path.with_name("corrected.coco.json")))
        viewer.layers.selection.active = viewer.layers[-1]
        QTimer.singleShot(6000, loop.quit)
        loop.exec()
        viewer.reset_view(margin=0.15)
        QTimer.singleShot(1500, loop.quit)
        loop.exec()
        picture = out / f"{name}.png"
        viewer.screenshot(str(picture), canvas_only=False, flash=False)
    print(picture)  # noqa: T201
    viewer.close()


def main() -> None:
    """Make both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    take(out, "keypoints", document({"person": PERSON}, keypoints=True))
    take(out, "boxes", document(BOXES, keypoints=False))
    get_qapp().quit()


if __name__ == "__main__":
    main()
