"""How well the order of review finds what is wrong.

The bundled model segments every third image of a folder; an object is wrong when it
overlaps no true one by an intersection over union of half.  Printed is how often a
wrong object stands before a right one (the area under the ROC curve), for the score
alone and for the certainty of `core.review`.

    python benchmarks/review_order.py IMAGES LABELS
"""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip
import torch  # isort: skip

import numpy as np
from scipy.stats import rankdata
from skimage.io import imread

from napari_maskrcnn import load_model
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.review import check_masks, judge, measure

LARGEST = 600 * 600


def best_overlaps(label_image: np.ndarray, truth: np.ndarray, ids: np.ndarray) -> list:
    """Return the best intersection over union of each object with a true one."""
    best = []
    for index in ids:
        mask = label_image == index
        found, shared = np.unique(truth[mask], return_counts=True)
        overlaps = [
            n / (mask.sum() + np.count_nonzero(truth == k) - n)
            for k, n in zip(found, shared, strict=True)
            if k
        ]
        best.append(max(overlaps, default=0.0))
    return best


def first(values: np.ndarray, wrong: np.ndarray) -> float:
    """Return how often a wrong object has a lower value than a right one."""
    ranks, count = rankdata(values), int(wrong.sum())
    above = ranks[wrong].sum() - count * (count + 1) / 2
    return 1 - above / (count * (len(values) - count))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    detector = load_model("nuclei", device="cpu")
    truths = {path.stem: path for path in arguments.labels.iterdir()}
    scores, certainties, overlaps = [], [], []
    images = 0
    for path in sorted(arguments.images.iterdir())[::3]:
        image = imread(path)
        image = image[..., :3] if image.ndim == 3 else image
        if image.shape[0] * image.shape[1] > LARGEST:
            continue
        images += 1
        instances = Recipe().apply(detector.detect(image))
        label_image = instances.to_label_image()
        measures = measure(label_image)
        own = instances.scores[np.searchsorted(instances.ids, measures.ids)]
        _, certainty = judge(measures, own, check_masks(instances))
        scores += own.tolist()
        certainties += certainty.tolist()
        overlaps += best_overlaps(label_image, imread(truths[path.stem]), measures.ids)
    wrong = np.array(overlaps) < 0.5
    print(f"{images} images, {len(wrong)} objects, {wrong.sum()} of them wrong")
    print(f"score      {first(np.array(scores), wrong):.3f}")
    print(f"certainty  {first(np.array(certainties), wrong):.3f}")


if __name__ == "__main__":
    main()
