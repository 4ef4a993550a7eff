"""Teach a model stained tissue from few images, or from a part of their objects.

    python benchmarks/fine_tune_nuclei.py --model FILE --images 1 2 4 8 --minutes 5
    python benchmarks/fine_tune_nuclei.py --model FILE --images 8 --partial --minutes 5
    python benchmarks/fine_tune_nuclei.py --model FILE --images 8 --scratch --minutes 5

FILE is a checkpoint that was trained without stained tissue. Images to learn from are
those of train, AP at IoU 0.5 is measured on all of val, apart for stained tissue and
for fluorescence (nuclei set, BBBC038, CC0). With --partial the same images are learnt
from three times: all objects reviewed; every third object; and every third with the
rest taken for background. With --scratch a network starts from random weights and
learns from the same images for the same time.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from fine_tuning import DATA, read

from napari_maskrcnn.core.checkpoints import Checkpoint, read_checkpoint
from napari_maskrcnn.core.fine_tuning import FineTuneConfig, fine_tune
from napari_maskrcnn.core.fine_tuning.judging import Judge
from napari_maskrcnn.core.model_list import find_model
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.reviewed import UNREVIEWED
from napari_maskrcnn.core.training import train
from napari_maskrcnn.core.training_config import TrainConfig

if TYPE_CHECKING:
    from napari_maskrcnn.core.dataset import AnnotatedImage


def main() -> None:
    """Print a line of figures for each way to learn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--train", default="heads")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--steps", type=int, help="Instead of a time")
    parser.add_argument("--partial", action="store_true")
    parser.add_argument("--scratch", action="store_true")
    parser.add_argument("--val", type=int, help="Fluorescence images to measure with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if not options.folder.is_dir():
        print(f"{options.folder} is not there: nothing is measured")
        return
    torch.set_num_threads(options.threads)
    tissue = read(options.folder, "val", "histology_colour")
    fluorescence = read(options.folder, "val", "fluorescence", options.val)
    start = read_checkpoint(find_model(options.model))
    config = FineTuneConfig(
        train=options.train,
        minutes=None if options.steps else options.minutes,
        steps=options.steps or 300,
        seed=options.seed,
    )
    print("as it is:", figures(start, tissue, fluorescence), flush=True)
    everything = read(options.folder, "train", "histology_colour")
    places = np.random.default_rng(options.seed).permutation(len(everything))
    order = [everything[place] for place in places]
    for count in options.images:
        items = order[:count]
        ways = {"all objects": items}
        if options.partial:
            third = [every_third(item, UNREVIEWED) for item in items]
            ways["a third reviewed"] = third
            ways["the rest as background"] = [every_third(item, 0) for item in items]
        for name, chosen in ways.items():
            result = exhaust(fine_tune(start, chosen, config, device="cpu"))
            text = figures(result.checkpoint, tissue, fluorescence)
            print(f"{count} images, {name}: {text}", flush=True)
        if options.scratch:
            made = from_nothing(start, items, options.minutes, options.seed)
            text = figures(made, tissue, fluorescence)
            print(f"{count} images, from nothing: {text}", flush=True)


def every_third(item: AnnotatedImage, rest: int) -> AnnotatedImage:
    """Keep every third object; all that was not reviewed becomes `rest`."""
    kept = (item.label_image > 0) & (item.label_image % 3 == 1)
    if rest == UNREVIEWED:
        return replace(
            item, label_image=np.where(kept, item.label_image, np.int32(UNREVIEWED))
        )
    return replace(item, label_image=np.where(kept, item.label_image, np.int32(0)))


def figures(
    checkpoint: Checkpoint,
    tissue: list[AnnotatedImage],
    fluorescence: list[AnnotatedImage],
) -> str:
    """AP at IoU 0.5 on both kinds of image."""
    parts = []
    for name, items in (("tissue", tissue), ("fluorescence", fluorescence)):
        if items:
            ap = exhaust(Judge(checkpoint, items, "cpu").scores())["ap50"]
            parts.append(f"{name} AP50 {ap:.3f}")
    return ", ".join(parts)


def from_nothing(
    start: Checkpoint, items: list[AnnotatedImage], minutes: float, seed: int
) -> Checkpoint:
    """Train the same architecture from random weights for the same time."""
    architecture = start.config["architecture"]
    config = TrainConfig(
        architecture=architecture["name"],
        arguments=architecture["arguments"],
        class_names=tuple(start.config["class_names"]),
        native_size=float(start.config["object_size"]),
        minutes=minutes,
        crop=256,
        warm_up=20,
        validation_fraction=0.0,
        precision="float32",
        seed=seed,
    )
    return exhaust(train(items, config, device="cpu"))


if __name__ == "__main__":
    main()
