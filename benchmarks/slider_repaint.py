"""How long the picture takes to follow the score slider.

A real viewer with the Segment widget, 1,000 objects on 2048 x 2048 pixels, kept
detections with soft masks as a network gives them.  The slider is moved to and fro by
its own `setValue`; measured is the time until the Labels layer has been refreshed, and
besides until the window has drawn it, which depends on the graphics driver.

    python benchmarks/slider_repaint.py [--json FILE]

Needs a display; under Xvfb OpenGL is emulated on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

# Nothing is left behind among a person's unsaved corrections.
os.environ["NAPARI_MASKRCNN_STATE"] = tempfile.mkdtemp()

from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip
import torch  # isort: skip

import napari
import numpy as np
from napari.qt import get_qapp
from scipy import ndimage

from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.viewer.jobs import Outcome
from napari_maskrcnn.viewer.layers import current_plane, unwrap

SHAPE, COUNT, STEPS = (2048, 2048), 1000, 60


class NoEncoding:
    """Stands for the encoding, which sliders do not touch."""

    object_size, nbytes = 24.0, 0


def detections() -> tuple[np.ndarray, Instances]:
    """Return an image and detections on it: soft masks, scores from 0.05 to 1."""
    image, label_image = nuclei_field(SHAPE, COUNT)
    exact = Instances.from_label_image(label_image, class_names=("nucleus",))
    random = np.random.default_rng(0)
    masks, offsets = [], []
    for mask, (y, x) in zip(exact.masks, exact.offsets, strict=True):
        top, left = max(0, y - 3), max(0, x - 3)
        bottom = min(SHAPE[0], y + mask.shape[0] + 3)
        right = min(SHAPE[1], x + mask.shape[1] + 3)
        soft = np.zeros((bottom - top, right - left), np.float32)
        soft[y - top :, x - left :][: mask.shape[0], : mask.shape[1]] = mask
        masks.append(ndimage.gaussian_filter(soft, 1.5).round().astype(np.uint8))
        offsets.append((top, left))
    return image, Instances(
        image_shape=SHAPE,
        boxes=exact.boxes,
        class_ids=exact.class_ids,
        scores=random.uniform(0.05, 1, len(exact)).astype(np.float32),
        masks=tuple(masks),
        offsets=np.array(offsets, np.int64),
        ids=exact.ids,
        class_names=exact.class_names,
    )


def measure(edited: bool) -> dict[str, Any]:
    """Open a viewer, move the slider, return milliseconds."""
    image, instances = detections()
    viewer = napari.Viewer(show=True)
    layer = unwrap(viewer.add_image(image))
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Segment")
    outcome = Outcome(NoEncoding(), (), instances)
    plane = current_plane(layer, viewer)
    widget.session.take(layer, plane, outcome, widget.recipe())
    labels = widget.session.results.labels_of(layer)
    if edited:
        for index in instances.ids[instances.scores > 0.5][:20]:
            with labels.block_history():
                labels.data_setitem(np.nonzero(labels.data == index), 0)
    get_qapp().processEvents()
    refreshed, drawn, first = [], [], 0.0
    path = np.concatenate([np.linspace(0.51, 0.9, STEPS // 2)] * 2)
    path[STEPS // 2 :] = path[STEPS // 2 :][::-1] - 0.4
    widget.score_slider.slider.setSliderDown(True)
    for step, value in enumerate(path):
        start = time.perf_counter()
        widget.score_slider.move_to(float(value))
        middle = time.perf_counter()
        get_qapp().processEvents()
        if step == 0:
            first = middle - start
            continue
        refreshed.append(middle - start)
        drawn.append(time.perf_counter() - start)
    start = time.perf_counter()
    widget.score_slider.slider.setSliderDown(False)
    committed = time.perf_counter() - start
    count = len(np.unique(labels.data)) - 1
    viewer.close()
    milliseconds = {
        "refreshed_median": np.median(refreshed),
        "refreshed_95th": np.percentile(refreshed, 95),
        "drawn_median": np.median(drawn),
        "first_move": first,
        "release_as_one_undo_step": committed,
    }
    return {
        "objects": len(instances),
        "objects_shown_at_the_end": count,
        **{name: round(1000 * float(value), 1) for name, value in milliseconds.items()},
    }


def main() -> None:
    """Print the figures, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        "machine": platform.processor() or platform.machine(),
        "shape": SHAPE,
        "nothing_edited_ms": measure(edited=False),
        "twenty_deleted_by_hand_ms": measure(edited=True),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
