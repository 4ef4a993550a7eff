"""Prompts on annotated images: boxes and points of every object, and their time.

    python benchmarks/prompts.py nuclei/val --groups nuclei/index.csv

The first argument is a folder with ``images`` and ``labels``, matched by stem. Every
object is prompted twice on the encoded image: by its tight box, and by its centroid, or
by its innermost pixel where the centroid is not on it. Times are those of a prompt
alone, on the CPU, in one thread; where other programs want the processor as well, the
time that the prompt itself computed says more than the time on the clock.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from scipy import ndimage

from napari_maskrcnn.core.dataset import pair_files
from napari_maskrcnn.core.detector import load_model
from napari_maskrcnn.core.images import read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_maskrcnn.core.detector import Detector
    from napari_maskrcnn.core.instances import Instances

KINDS = ("box", "point")


def overlap(found: Instances, truth: NDArray[np.bool_]) -> float:
    """Intersection over union of the returned mask with an object."""
    mask, (y, x) = found.mask(0), found.offsets[0]
    shared = truth[y : y + mask.shape[0], x : x + mask.shape[1]]
    both = np.count_nonzero(mask & shared)
    return both / (np.count_nonzero(mask) + np.count_nonzero(truth) - both)


def middle(inside: NDArray[np.bool_]) -> tuple[float, float]:
    """The centroid, or the innermost pixel where that is not on the object."""
    y, x = ndimage.center_of_mass(inside)
    if inside[round(y), round(x)]:
        return round(y), round(x)
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return float(row), float(column)


def timed(work: Callable[[], Instances]) -> tuple[Instances, float, float]:
    """A prompt's object, and its milliseconds on the clock and of computing."""
    clock, computing = time.perf_counter(), time.process_time()
    found = work()
    return (
        found,
        1000 * (time.perf_counter() - clock),
        1000 * (time.process_time() - computing),
    )


def prompts(
    detector: Detector, image: Any, labels: NDArray[Any], most: int
) -> Iterator[tuple[str, float, float, float]]:
    """Yield the kind, the overlap and the times of every prompt on an image."""
    encoding = detector.encode(image)
    objects = [
        (index, where)
        for index, where in enumerate(ndimage.find_objects(labels), start=1)
        if where is not None
    ]
    if len(objects) > most:
        chosen = np.random.default_rng(0).permutation(len(objects))[:most]
        objects = [objects[i] for i in chosen]
    for index, (rows, columns) in objects:
        truth = labels == index
        box = (columns.start, rows.start, columns.stop, rows.stop)
        y, x = middle(truth[rows, columns])
        point = (y + rows.start, x + columns.start)
        for kind, work in (
            ("box", lambda box=box: detector.prompt_box(encoding, box)),
            ("point", lambda point=point: detector.prompt_point(encoding, point)),
        ):
            found, clock, computing = timed(work)
            yield kind, overlap(found, truth), clock, computing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--groups", type=Path, help="CSV with columns id and modality")
    parser.add_argument("--names", type=Path, help="JSON list: only these images")
    parser.add_argument("--every", type=int, default=1, help="only every n-th image")
    parser.add_argument("--objects", type=int, default=10**9, help="most of an image")
    options = parser.parse_args()
    torch.set_num_threads(1)
    groups: dict[str, str] = {}
    if options.groups:
        with options.groups.open(newline="") as file:
            groups = {row["id"]: row["modality"] for row in csv.DictReader(file)}
    pairs = pair_files(options.folder / "images", options.folder / "labels")
    if options.names:
        names = set(json.loads(options.names.read_text()))
        pairs = [pair for pair in pairs if pair[0].stem in names]
    detector = load_model(options.model, "cpu")
    overlaps: dict[tuple[str, str], list[float]] = defaultdict(list)
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path, labels in pairs[:: options.every]:
        group = groups.get(path.stem, "all")
        work = prompts(detector, read_image(path), read_image(labels), options.objects)
        for kind, iou, clock, computing in work:
            overlaps[group, kind].append(iou)
            times[kind].append((clock, computing))
    print(
        f"{'group':20s} {'objects':>8s} {'box: mean IoU':>14s} {'point: IoU>=0.5':>16s}"
    )
    for group in sorted({group for group, _ in overlaps}):
        boxes, points = (np.array(overlaps[group, kind]) for kind in KINDS)
        share = 100 * np.mean(points >= 0.5)
        print(f"{group:20s} {len(boxes):8d} {boxes.mean():14.3f} {share:14.1f} %")
    for kind in KINDS:
        clock, computing = np.median(times[kind], axis=0)
        print(
            f"{kind}: median {clock:.0f} ms on the clock, {computing:.0f} ms computing"
        )


if __name__ == "__main__":
    main()
