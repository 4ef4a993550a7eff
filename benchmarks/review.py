"""How long the Review widget takes with many objects.

A real viewer with 5,000 objects on 2048 x 2048 pixels.  Measured are the checks of the
objects alone; opening the widget; a filter; going to the next object; approving; what
follows a brush stroke.  Then a brush stroke with the widget open against one without,
and with the objects coloured by class against napari's own colours.

    python benchmarks/review.py [--count 5000] [--repeats 15] [--json FILE]

Times are those of the processor, until the window has been asked to draw: on a machine
that is busy otherwise, the clock says nothing.  Needs a display.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Nothing is left behind among a person's unsaved corrections.
os.environ["NAPARI_MASKRCNN_STATE"] = tempfile.mkdtemp()

from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip

import napari
import numpy as np
from napari.qt import get_qapp

from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.review import check_masks, judge, measure
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.viewer.classes import colour_by_class, set_class
from napari_maskrcnn.viewer.jobs import Outcome
from napari_maskrcnn.viewer.layers import current_plane, unwrap

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (2048, 2048)


class NoEncoding:
    """Stands for the encoding, which reviewing does not touch."""

    object_size, nbytes = 24.0, 0


def milliseconds(act: Callable[[], object], repeats: int) -> list[float]:
    """Return how long each call computed, the first left out."""
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        act()
        times.append(1000 * (time.process_time() - start))
    return times[1:]


def objects(count: int) -> tuple[np.ndarray, Instances]:
    """Return an image and its objects, of two classes, with scores."""
    image, label_image = nuclei_field(SHAPE, count)
    found = len(np.unique(label_image)) - 1
    random = np.random.default_rng(0)
    return image, Instances.from_label_image(
        label_image,
        class_ids=random.integers(1, 3, found),
        scores=random.uniform(0.05, 1, found),
        class_names=("cell", "debris"),
    )


class Bench:
    """A viewer with many objects, and what is done with them."""

    def __init__(self, count: int, repeats: int) -> None:
        image, self.found = objects(count)
        self.repeats = repeats
        self.viewer = napari.Viewer(show=True)
        picture = unwrap(self.viewer.add_image(image))
        _, segment = self.viewer.window.add_plugin_dock_widget(
            "napari-maskrcnn", "Segment"
        )
        self.plane = current_plane(picture, self.viewer)
        outcome = Outcome(NoEncoding(), (), self.found)
        recipe = Recipe(score_threshold=0.05, nms_threshold=1.0)
        segment.session.take(picture, self.plane, outcome, recipe)
        self.labels = segment.session.results.labels_of(picture)
        self.rest()

    def rest(self) -> None:
        """Let the window do what it has to."""
        until = time.monotonic() + 0.8
        while time.monotonic() < until:
            get_qapp().processEvents()

    def checks(self) -> dict[str, list[float]]:
        """Measure the checks of the objects alone."""
        label_image = self.labels.data
        measured = measure(label_image)
        checked = check_masks(self.found)
        scores = self.found.scores
        return {
            "measure": milliseconds(lambda: measure(label_image), self.repeats),
            "check masks": milliseconds(lambda: check_masks(self.found), self.repeats),
            "judge": milliseconds(
                lambda: judge(measured, scores, checked), self.repeats
            ),
        }

    def strokes(self) -> list[float]:
        """Paint a dab of the brush to and fro."""
        layer, number = self.labels, [0]

        def dab() -> None:
            number[0] += 1
            layer.paint((1000, 1000 + 3 * number[0] % 60), 1 + number[0] % 2)

        times = milliseconds(dab, 3 * self.repeats)
        self.rest()
        return times

    def widget(self) -> dict[str, list[float]]:
        """Open the widget and use it."""
        start = time.process_time()
        _, widget = self.viewer.window.add_plugin_dock_widget(
            "napari-maskrcnn", "Review"
        )
        get_qapp().processEvents()
        result = {"open": [1000 * (time.process_time() - start)]}
        self.rest()
        number = [0]

        def choose() -> None:
            number[0] += 1
            widget.list.filters.low_box.setValue(0.3 + 0.1 * (number[0] % 3))

        result["filter"] = milliseconds(choose, self.repeats)
        widget.list.filters.low_box.setValue(0)
        result["next"] = milliseconds(widget.list.go_on, self.repeats)
        self.rest()
        result["approve"] = milliseconds(widget.approve, self.repeats)
        self.rest()

        def follow() -> None:
            number[0] += 1
            self.labels.paint((500, 500 + number[0] % 50), 1 + number[0] % 2)
            start = time.process_time()
            widget.refresh()
            follows.append(1000 * (time.process_time() - start))

        follows: list[float] = []
        milliseconds(follow, self.repeats)
        self.rest()
        return {**result, "follow a stroke": follows[1:]}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bench = Bench(arguments.count, arguments.repeats)
    times = bench.checks()
    closed = [bench.strokes()]
    times |= bench.widget()
    opened = [bench.strokes()]
    set_class(bench.labels, bench.plane, [1], "cell")
    start = time.process_time()
    colour_by_class(bench.labels, True, ("cell", "debris"))
    times["colour by class, on"] = [1000 * (time.process_time() - start)]
    coloured = [bench.strokes()]
    medians: dict[str, Any] = {
        name: round(float(np.median(values)), 2) for name, values in times.items()
    }
    names = ("widget closed", "widget open", "open, coloured by class")
    for name, runs in zip(names, (closed, opened, coloured), strict=True):
        medians[f"stroke, {name}"] = round(float(np.median(runs)), 2)
    print(f"{len(bench.found):,} objects on {SHAPE[0]} x {SHAPE[1]}")
    print("medians in ms of the processor")
    for name, value in medians.items():
        print(f"{name:32s} {value:9.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(medians, indent=1), encoding="utf-8")
    bench.viewer.close()


if __name__ == "__main__":
    main()
