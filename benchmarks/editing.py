"""How long an edit takes, and what the Edit widget costs a brush stroke.

A real viewer, 1,000 objects on 2048 x 2048 pixels (uint16) with their table.  Each edit
is done by its button or by what the mouse draws, on one object after the other.
Measured is the time until napari has refreshed the layer, on the clock and of the
processor alone, which other programs on the machine touch less; "drawn" adds the time
until the window has drawn it, which depends on the graphics driver: "refresh alone" is
a layer that is refreshed and drawn with nothing edited.  Strokes of 20 dabs are painted
in turns in a viewer without the plugin and in one with the widget open.

    python benchmarks/editing.py [--json FILE] [--repeats N]

Needs a display; under Xvfb OpenGL is emulated on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Nothing is left behind among a person's unsaved corrections.
os.environ["NAPARI_MASKRCNN_STATE"] = tempfile.mkdtemp()

from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip

import napari
import numpy as np
from napari.qt import get_qapp
from scipy import ndimage

from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.viewer.features import update_features
from napari_maskrcnn.viewer.layers import Plane, unwrap
from napari_maskrcnn.viewer.selection import select

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Labels

SHAPE, COUNT = (2048, 2048), 1000
BUTTONS = (
    "split_parts",
    "delete",
    "fill_holes",
    "keep_largest",
    "grow",
    "shrink",
    "smooth",
)


def labels_in(viewer: Any) -> Labels:
    """Add 1,000 objects with a table; every third has a hole."""
    image, label_image = nuclei_field(SHAPE, COUNT)
    data = label_image.astype(np.uint16)
    for index, box in enumerate(ndimage.find_objects(data), 1):
        if box is None:
            continue
        middle = tuple((s.start + s.stop) // 2 for s in box)
        if index % 3 == 0 and data[middle] == index:
            data[middle] = 0
    viewer.add_image(image)
    layer: Labels = unwrap(viewer.add_labels(data))
    update_features(layer, Plane((0, 1)))
    return layer


def milliseconds(acts: list[Callable[[], object]]) -> dict[str, float]:
    """Return the medians of acts, each done once."""
    refreshed, drawn, computed = [], [], []
    for act in acts:
        get_qapp().processEvents()
        start, begin = time.perf_counter(), time.thread_time()
        act()
        computed.append(time.thread_time() - begin)
        refreshed.append(time.perf_counter() - start)
        get_qapp().processEvents()
        drawn.append(time.perf_counter() - start)
    return {
        "median": round(1000 * statistics.median(refreshed), 1),
        "cpu_median": round(1000 * statistics.median(computed), 1),
        "drawn_median": round(1000 * statistics.median(drawn), 1),
    }


def nearest(layer: Labels, index: int) -> int:
    """Return the object whose box has its middle nearest to that of another one."""
    boxes = ndimage.find_objects(layer.data)
    middles = np.array(
        [
            [np.inf] * 2 if box is None else [(s.start + s.stop) / 2 for s in box]
            for box in boxes
        ]
    )
    distances = np.hypot(*(middles - middles[index - 1]).T)
    distances[index - 1] = np.inf
    return int(distances.argmin()) + 1


def time_edits(widget: Any, layer: Labels, repeats: int) -> dict[str, Any]:
    """Do each edit on objects of its own."""
    random = np.random.default_rng(0)
    ids = iter(random.permutation(np.unique(layer.data)[1:]).tolist())
    done: dict[str, Any] = {}

    def pressing(name: str, chosen: list[int]) -> Callable[[], None]:
        def act() -> None:
            select(layer, chosen)
            before = len(layer_steps)
            widget.press(name)
            if len(layer_steps) == before and widget.status.level == "error":
                refused.append(widget.status.text())

        return act

    layer_steps: list[int] = []
    refused: list[str] = []
    layer.events.paint.connect(lambda: layer_steps.append(1))
    # What the window costs where nothing is edited.
    done["refresh alone"] = milliseconds([layer.refresh] * repeats)
    for name in BUTTONS:
        acts = []
        for _ in range(repeats):
            index = next(ids)
            if name == "fill_holes":
                index = next(i for i in ids if i % 3 == 0)
            if name == "keep_largest":
                where = np.argwhere(layer.data == index)[0]
                layer.data[max(0, where[0] - 4), where[1]] = index
            acts.append(pressing(name, [index]))
        done[name] = milliseconds(acts)
    for words, partner in (
        ("neighbours", partial(nearest, layer)),
        ("far apart", None),
    ):
        pairs = []
        for _ in range(repeats):
            index = next(ids)
            pairs.append([index, partner(index) if partner else next(ids)])
        done[f"merge {words}"] = milliseconds([pressing("merge", p) for p in pairs])
    lines, outlines = [], []
    for _ in range(repeats):
        rows, columns = np.nonzero(layer.data == next(ids))
        y, x = np.median(rows), np.median(columns)
        high = np.arange(rows.min() - 3, rows.max() + 4, 2.0)
        lines.append(np.stack([high, np.full_like(high, x)], axis=1))
        around = np.linspace(0, 2 * np.pi, 40)
        outlines.append(np.stack([y + 25 * np.sin(around), x + 25 * np.cos(around)], 1))
    for name, paths in (("split_line", lines), ("draw", outlines)):
        widget.press(name)
        traced = widget.editor.tracer.traced.emit
        done[name] = milliseconds([partial(traced, path) for path in paths])
        widget.editor.stop()
    done["undo"] = milliseconds([layer.undo] * repeats)
    done["redo"] = milliseconds([layer.redo] * repeats)
    done["refused"] = refused
    return done


def time_strokes(without: Labels, widget: Labels, repeats: int) -> dict[str, float]:
    """Compare strokes of 20 dabs in either layer, in turns."""
    random = np.random.default_rng(1)
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(10 * repeats):
        y, x = (int(n) for n in random.integers(100, 1800, 2))
        for kind, layer in (("without", without), ("with", widget)):
            layer.brush_size = 20
            get_qapp().processEvents()
            start = time.perf_counter()
            with layer.block_history():
                for step in range(20):
                    layer.paint((y, x + 4 * step), 2)
            seconds[kind].append(time.perf_counter() - start)
    medians = {kind: statistics.median(times) for kind, times in seconds.items()}
    return {
        "without_ms": round(1000 * medians["without"], 2),
        "with_ms": round(1000 * medians["with"], 2),
        "ratio": round(medians["with"] / medians["without"], 3),
    }


def main() -> None:
    """Print the figures, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    plain, viewer = napari.Viewer(show=True), napari.Viewer(show=True)
    alone, layer = labels_in(plain), labels_in(viewer)
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Edit")
    strokes = time_strokes(alone, layer, arguments.repeats)
    result = {
        "shape": SHAPE,
        "objects": COUNT,
        "strokes": strokes,
        "edits_ms": time_edits(widget, layer, arguments.repeats),
    }
    plain.close()
    viewer.close()
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
