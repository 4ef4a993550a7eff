"""COCO against the loop that everybody writes, and against one look at the image.

    python benchmarks/coco.py [--dtype uint16] [--rounds 5] [--json FILE]

1. 1,000 objects on 2048 x 2048 into compressed RLE, against `pycocotools.mask.encode`
   of one full-frame mask an object: the same bytes, at least 200 times faster.
2. 20,000 objects on 8192 x 8192 into a COCO file and back into a label image, against
   `scipy.ndimage.find_objects` on the same array: at most 4 times its time each way,
   and a peak memory under 3 times the label image, itself included.

Rounds alternate between the two sides, so that a busy machine slows both alike;
medians are compared.  Memory is what Python and numpy allocate, by tracemalloc, in a
pass of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as mask_utils
from scipy import ndimage

from napari_maskrcnn.core.coco import CocoImage, read_coco, rle, write_coco
from napari_maskrcnn.core.coco.extract import from_label_image

if TYPE_CHECKING:
    from collections.abc import Callable

FASTER, TIMES, MEMORY = 200, 4.0, 3.0


def discs(size: int, count: int, dtype: str) -> np.ndarray:
    """Return a label image of `count` discs of different sizes on a grid."""
    rng = np.random.default_rng(0)
    label_image = np.zeros((size, size), dtype)
    columns = int(np.ceil(np.sqrt(count)))
    step = size / columns
    for number in range(count):
        row, column = divmod(number, columns)
        y, x, radius = (row + 0.5) * step, (column + 0.5) * step, step
        radius *= rng.uniform(0.25, 0.49)
        top, left = int(y - radius), int(x - radius)
        bottom, right = int(y + radius) + 1, int(x + radius) + 1
        ys, xs = np.ogrid[top:bottom, left:right]
        inside = (ys + 0.5 - y) ** 2 + (xs + 0.5 - x) ** 2 < radius**2
        label_image[top:bottom, left:right][inside] = number + 1
    return label_image


def seconds(work: Callable[[], Any]) -> float:
    """Return how long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak(work: Callable[[], Any]) -> int:
    """Return the most bytes that `work` holds at a time."""
    tracemalloc.start()
    work()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def against_the_loop(dtype: str) -> dict[str, Any]:
    """Encode 1,000 objects both ways."""
    label_image = discs(2048, 1000, dtype)

    def loop() -> list[str]:
        return [
            mask_utils.encode(np.asfortranarray(label_image == label))[
                "counts"
            ].decode()
            for label in range(1, 1001)
        ]

    def ours() -> list[str]:
        return rle.encode(from_label_image(label_image)[1])

    ours()  # byte code
    same = ours() == loop()
    loop_s = seconds(loop)
    ours_s = statistics.median(seconds(ours) for _ in range(5))
    ratio = loop_s / ours_s
    print("1,000 objects on 2048 x 2048 into RLE")
    print(f"  pycocotools.mask.encode a mask  {loop_s:9.3f} s")
    print(f"  napari_maskrcnn.core.coco       {ours_s:9.3f} s")
    print(f"  ratio {ratio:.0f} (goal: {FASTER}), same bytes: {same}")
    return {
        "loop_s": loop_s,
        "ours_s": ours_s,
        "ratio": ratio,
        "ok": same and ratio >= FASTER,
    }


def out_and_back(dtype: str, rounds: int, folder: Path) -> dict[str, Any]:
    """Write and read 20,000 objects."""
    label_image = discs(8192, 20_000, dtype)
    path = folder / "a.coco.json"

    def write() -> None:
        write_coco(path, [CocoImage("a.png", label_image)], mode="rle")

    def read() -> np.ndarray:
        return read_coco(path).images[0].to_label_image()

    write()
    same = np.array_equal(read(), label_image)
    works = {
        "find_objects": lambda: ndimage.find_objects(label_image),
        "write": write,
        "read": read,
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work))
    medians = {name: statistics.median(values) for name, values in times.items()}
    # Written, the label image is there before; read, it is what comes out.
    size = label_image.nbytes
    memory = {"write": 1 + peak(write) / size, "read": peak(read) / size}
    print(
        f"20,000 objects on 8192 x 8192, {dtype}: a file of {path.stat().st_size} bytes"
    )
    print(f"  scipy.ndimage.find_objects      {medians['find_objects']:9.3f} s")
    ok = same
    result: dict[str, Any] = {"find_objects_s": medians["find_objects"]}
    for name in ("write", "read"):
        times_as_long = medians[name] / medians["find_objects"]
        ok &= times_as_long <= TIMES and memory[name] < MEMORY
        print(
            f"  {name:5}                           {medians[name]:9.3f} s: "
            f"{times_as_long:.2f} times (goal: {TIMES:g}), "
            f"memory {memory[name]:.2f} label images (goal: {MEMORY:g})"
        )
        result |= {
            f"{name}_s": medians[name],
            f"{name}_times": times_as_long,
            f"{name}_memory": memory[name],
        }
    print(f"  identical after the round trip: {same}")
    return {**result, "ok": bool(ok)}


def main() -> int:
    """Print both comparisons; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", default="uint16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = {
            "loop": against_the_loop(options.dtype),
            "find_objects": out_and_back(options.dtype, options.rounds, Path(folder)),
        }
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return int(not all(result["ok"] for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
