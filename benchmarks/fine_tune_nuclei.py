r"""Teach a model stained tissue from few images, or from a part of their objects.

    python benchmarks/fine_tune_nuclei.py --model FILE --images 1 2 4 8 \
        --ways all scratch
    python benchmarks/fine_tune_nuclei.py --model FILE \
        --ways all third left-out background

FILE is a checkpoint that was trained without stained tissue. Images to learn from are
those of train, AP at IoU 0.5 is measured on all of val, apart for stained tissue and
for fluorescence (nuclei set, BBBC038, CC0), and on the stained tissue of train that
nothing was learnt from: val has only eight such images. The ways to learn from the same
images: all objects reviewed; every third object; the same with all that was not
reviewed left out; the same with all of it taken for background; and from scratch, where
a network starts from random weights and learns from all objects for as much time of the
processor as the way before it (or --seconds), whatever else the machine does.
"""

from __future__ import annotations

import argparse
import json
import time
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
    from napari_maskrcnn.core.encoding import Encoding

# From which the time of a step is taken.
MEASURED_STEPS = 5

WAYS = ("all", "third", "left-out", "background", "scratch")


def main() -> None:
    """Print a line of figures for each way to learn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[8])
    parser.add_argument("--train", default="heads")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--replay", type=int, default=0, help="Fluorescence images")
    parser.add_argument("--set", default="{}", help="JSON of further settings")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["all"])
    parser.add_argument("--seconds", type=float, help="Time of scratch, if it is first")
    parser.add_argument("--val", type=int, help="Fluorescence images to measure with")
    parser.add_argument("--rest", type=int, default=24, help="Tissue not learnt from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.ways[0] == "scratch" and options.seconds is None:
        parser.error("scratch takes the time of the way before it, or --seconds")
    if not options.folder.is_dir():
        print(f"{options.folder} is not there: nothing is measured")
        return
    torch.set_num_threads(options.threads)
    tissue = read(options.folder, "val", "histology_colour")
    fluorescence = read(options.folder, "val", "fluorescence", options.val)
    start = read_checkpoint(find_model(options.model))
    config = FineTuneConfig.from_dict(
        {
            "train": options.train,
            "steps": options.steps,
            "seed": options.seed,
            **json.loads(options.set),
        }
    )
    replay = read(options.folder, "train", "fluorescence", options.replay)
    everything = read(options.folder, "train", "histology_colour")
    places = np.random.default_rng(options.seed).permutation(len(everything))
    order = [everything[place] for place in places]
    rest = order[max(options.images) :][: options.rest]
    sets = {"tissue": tissue, "other tissue": rest, "fluorescence": fluorescence}
    # The trunk learns nothing with `heads`: what it makes of an image stays.
    kept = {name: {} for name in sets} if options.train == "heads" else None
    print("as it is:", figures(start, sets, kept), flush=True)
    for count in options.images:
        spent = options.seconds
        for way in options.ways:
            began = time.process_time()
            verdict = ""
            if way == "scratch":
                made = from_nothing(start, order[:count], spent, options.seed)
            else:
                items, settings = told(way, order[:count], config)
                result = exhaust(
                    fine_tune(start, items, settings, device="cpu", replay=replay)
                )
                made = result.checkpoint
                # What a person is told, who has no other images to measure with.
                before, after = result.before["ap50"], result.after["ap50"]
                verdict = f" (held out: {before:.3f} to {after:.3f})"
            spent = time.process_time() - began
            text = figures(made, sets, None if way == "scratch" else kept)
            print(f"{count} images, {way}, {spent:.0f} s: {text}{verdict}", flush=True)


def told(
    way: str, items: list[AnnotatedImage], config: FineTuneConfig
) -> tuple[list[AnnotatedImage], FineTuneConfig]:
    """What of `items` is told, and the settings to learn from it with."""
    if way == "all":
        return items, config
    rest = 0 if way == "background" else UNREVIEWED
    third = [every_third(item, rest) for item in items]
    return third, replace(config, sure_ground=way != "left-out")


def every_third(item: AnnotatedImage, rest: int) -> AnnotatedImage:
    """Keep every third object; all that was not reviewed becomes `rest`."""
    kept = (item.label_image > 0) & (item.label_image % 3 == 1)
    return replace(item, label_image=np.where(kept, item.label_image, np.int32(rest)))


def figures(
    checkpoint: Checkpoint,
    sets: dict[str, list[AnnotatedImage]],
    kept: dict[str, dict[int, Encoding]] | None,
) -> str:
    """AP at IoU 0.5 on both kinds of image."""
    parts = []
    for name, items in sets.items():
        if items:
            encodings = kept[name] if kept is not None else None
            judge = Judge(checkpoint, items, "cpu", encodings=encodings, budget=8 << 30)
            parts.append(f"{name} AP50 {exhaust(judge.scores())['ap50']:.3f}")
    return ", ".join(parts)


def from_nothing(
    start: Checkpoint, items: list[AnnotatedImage], seconds: float, seed: int
) -> Checkpoint:
    """Train the same architecture from random weights for the same processor time."""
    architecture = start.config["architecture"]
    config = TrainConfig(
        architecture=architecture["name"],
        arguments=architecture["arguments"],
        class_names=tuple(start.config["class_names"]),
        native_size=float(start.config["object_size"]),
        steps=MEASURED_STEPS + 1,
        crop=256,
        warm_up=20,
        validation_fraction=0.0,
        precision="float32",
        seed=seed,
    )
    # The rate falls with the steps, so how many there will be has to be known.
    began = time.process_time()
    exhaust(train(items, config, device="cpu"))
    each = (time.process_time() - began) / config.steps
    steps = max(config.steps, round(seconds / each))
    return exhaust(train(items, replace(config, steps=steps), device="cpu"))


if __name__ == "__main__":
    main()
