"""What images at half and at twice their size cost, with the object size found.

    python benchmarks/rescaled.py ../shared/data/nuclei [--split val] [--model nuclei]

segments every image at each scale with default settings, and prints the AP at IoU 0.5
and 0.75, mean over images, for each modality. At half the size nuclei of 10 pixels have
5: masks are compared there as they are.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from skimage.transform import resize

from napari_maskrcnn.core.detector import Detector, load_model
from napari_maskrcnn.core.images import read_image
from napari_maskrcnn.core.metrics import evaluate
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

THRESHOLDS = (0.5, 0.75)


def scaled(array: Array, scale: float, order: int) -> Array:
    """Return an image (order 1) or labels (order 0) at another size, same dtype."""
    if scale == 1:
        return array
    shape = [max(1, round(length * scale)) for length in array.shape[:2]]
    smooth = order > 0 and scale < 1
    shape += array.shape[2:]
    found = resize(array, shape, order, preserve_range=True, anti_aliasing=smooth)
    return found.astype(array.dtype)


def average_precisions(
    detector: Detector, image: Array, label_image: Array
) -> list[float]:
    """Segment an image by default settings and return its AP at each threshold."""
    _, found = exhaust(detector.segment(image))
    predicted = Recipe().apply(found).to_label_image()
    judged = evaluate([label_image], [predicted], thresholds=THRESHOLDS)
    return [judged.ap(threshold) for threshold in THRESHOLDS]


def main() -> None:
    """Print a line for each modality and scale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="With index.csv and the splits")
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--scales", type=float, nargs="+", default=[1, 0.5, 2])
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    detector = load_model(options.model, "cpu")
    with (options.folder / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == options.split]
    folder = options.folder / options.split
    for scale in options.scales:
        groups: dict[str, list[list[float]]] = {}
        for row in rows:
            image = read_image(folder / "images" / f"{row['id']}.png")
            labels = read_image(folder / "labels" / f"{row['id']}.png")
            values = average_precisions(
                detector, scaled(image, scale, 1), scaled(labels, scale, 0)
            )
            groups.setdefault(row["modality"], []).append(values)
        for modality, values in sorted(groups.items()):
            half, three_quarters = np.mean(values, axis=0)
            print(
                f"scale {scale:g}  {modality:18s} {len(values):3d} images  "
                f"AP50 {half:.3f}  AP75 {three_quarters:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
