"""The starter against torchvision's maskrcnn_resnet50_fpn, one 512 x 512 image, CPU.

    python benchmarks/starter_speed.py

torchvision's network is called plainly. Its weights are random and sure of every
candidate, so it gives as many objects as it may, 100; the image has 110, and the
starter gives about as many. With --nothing-found torchvision's finds none, and its mask
head and its pasting have nothing to do.
"""

from __future__ import annotations

import argparse

from napari_maskrcnn.core import preload  # noqa: F401

import torch
import torchvision
from measure import make_sure, medians, peak_memory

from napari_maskrcnn.core.detector import Detector, load_model
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.samples import nuclei_field


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--nothing-found", action="store_true")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    image, _ = nuclei_field((512, 512))
    detector = load_model(options.model, "cpu")
    unfolded = load_model(options.model, "cpu", folded=False)
    peer = torchvision.models.detection.maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None
    ).eval()
    if not options.nothing_found:
        make_sure(peer)
    tensor = torch.from_numpy(image / image.max()).float().expand(3, -1, -1)

    def segment(recipe: Recipe, model: Detector = detector) -> object:
        _, instances = exhaust(model.segment(image, recipe))
        return recipe.apply(instances).to_label_image()

    def plain() -> object:
        with torch.inference_mode():
            return peer([tensor])

    works = {
        "starter, size found": lambda: segment(Recipe()),
        "starter, size given": lambda: segment(Recipe(object_size=24)),
        "the same, unfolded": lambda: segment(Recipe(object_size=24), unfolded),
        "torchvision": plain,
    }
    seconds = medians(works, options.repeats)
    memory = {name: peak_memory(work) for name, work in works.items()}
    for name, value in seconds.items():
        print(
            f"{name:20s} {value:7.2f} s  {memory[name]:8.0f} MB  "
            f"{seconds['torchvision'] / value:5.1f} times as fast"
        )


if __name__ == "__main__":
    main()
