"""Teach a model stained tissue from few images, or from a part of their objects.

    python benchmarks/fine_tune_nuclei.py --model FILE --images 1 2 4 8 --scratch
    python benchmarks/fine_tune_nuclei.py --model FILE --images 8 --partial

FILE is a checkpoint that was trained without stained tissue. Images to learn from are
those of train, AP at IoU 0.5 is measured on all of val, apart for stained tissue and
for fluorescence (nuclei set, BBBC038, CC0), and on the stained tissue of train that
nothing was learnt from: val has only eight such images. With --partial the same images
are learnt from four times: all objects reviewed; every third object; the same with all
that was not reviewed left out; and the same with all of it taken for background. With
--scratch a network starts from random weights and learns from the same images for as
much time of the processor, which does not depend on what else the machine does.
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


def main() -> None:
    """Print a line of figures for each way to learn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--train", default="heads")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--replay", type=int, default=0, help="Fluorescence images")
    parser.add_argument("--set", default="{}", help="JSON of further settings")
    parser.add_argument("--partial", action="store_true")
    parser.add_argument("--scratch", action="store_true")
    parser.add_argument("--val", type=int, help="Fluorescence images to measure with")
    parser.add_argument("--rest", type=int, default=24, help="Tissue not learnt from")
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
        items = order[:count]
        ways = {"all objects": (items, config)}
        if options.partial:
            third = [every_third(item, UNREVIEWED) for item in items]
            ways["a third reviewed"] = third, config
            ways["the rest left out"] = third, replace(config, sure_ground=False)
            background = [every_third(item, 0) for item in items]
            ways["the rest as background"] = background, config
        for name, (chosen, settings) in ways.items():
            began = time.process_time()
            result = exhaust(
                fine_tune(start, chosen, settings, device="cpu", replay=replay)
            )
            spent = time.process_time() - began
            text = figures(result.checkpoint, sets, kept)
            print(f"{count} images, {name}, {spent:.0f} s: {text}", flush=True)
        if options.scratch:
            made = from_nothing(start, items, spent, options.seed)
            text = figures(made, sets, None)
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
