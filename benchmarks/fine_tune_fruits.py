"""Teach the shipped model three classes it does not know: dates, figs, hazelnuts.

Ten photographs to learn from, four held out (by the seed), from the bundled nuclei:

    python benchmarks/fine_tune_fruits.py --train heads --minutes 20
    python benchmarks/fine_tune_fruits.py --train fpn --minutes 20

The photographs are the fruits_nuts set (MIT; 14 images, 800 x 600, COCO polygons); the
first argument is the folder with the images and instances.json. Without it the script
says so and ends.
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

from napari_maskrcnn.core.annotations import read_annotated
from napari_maskrcnn.core.checkpoints import read_checkpoint, write_checkpoint
from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.fine_tuning import FineTuneConfig, fine_tune, plan
from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.metrics import coco_map, evaluate
from napari_maskrcnn.core.model_list import find_model
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.recipe import Recipe

if TYPE_CHECKING:
    from napari_maskrcnn.core.checkpoints import Checkpoint
    from napari_maskrcnn.core.fine_tuning.planning import FineTunePlan

DATA = Path(__file__).parents[2] / "shared" / "data" / "fruits_nuts"
HELD_OUT = 4


def main() -> None:
    """Run one fine-tuning and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    parser.add_argument("--train", default="heads")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", default="{}", help="JSON of further settings")
    parser.add_argument("--out", type=Path, help="Folder for model and history")
    options = parser.parse_args()
    if not options.folder.is_dir():
        print(f"{options.folder} is not there: nothing is measured")
        return
    torch.set_num_threads(options.threads)
    items = read_annotated(options.folder, options.folder / "instances.json")
    config = FineTuneConfig.from_dict(
        {
            "train": options.train,
            "minutes": options.minutes,
            "steps": options.steps,
            "seed": options.seed,
            "held_out": HELD_OUT / len(items),
            "drop_classes": ("nucleus",),
            **json.loads(options.set),
        }
    )
    start = read_checkpoint(find_model("nuclei"))
    print(plan(start.config["class_names"], items, config))
    folder = options.out / "run" if options.out else None
    work = fine_tune(
        start, items, config, device="cpu", run_folder=folder, parent="nuclei"
    )
    began = time.monotonic()
    while True:
        try:
            progress = next(work)
        except StopIteration as stop:
            result = stop.value
            break
        figures = progress.validation or (
            progress.losses if progress.step % 10 == 0 else {}
        )
        if figures:
            text = " ".join(f"{key} {value:.3f}" for key, value in figures.items())
            seconds = time.monotonic() - began
            print(f"{seconds:7.1f} s  step {progress.step}: {text}", flush=True)
    new = result.checkpoint
    print("before", result.before, coco(result.plan, result.found_before))
    print("after ", result.after, coco(result.plan, result.found_after))
    print("with default settings, whatever the class:")
    print("before", as_used(start, result.plan), "after", as_used(new, result.plan))
    print(result.recommendation.sentence)
    print(f"{result.steps} steps, best {result.best_step}, {result.seconds:.0f} s")
    if options.out:
        path = options.out / f"fruits-{options.train}.safetensors"
        write_checkpoint(path, new, dtype=torch.float16)


def as_used(checkpoint: Checkpoint, chosen: FineTunePlan) -> str:
    """What a person gets of the images held out, who leaves the object size to it."""
    detector, recipe = Detector(checkpoint, "cpu"), Recipe()
    pairs = []
    for item in chosen.judging:
        _, found = exhaust(detector.segment(item.image, recipe))
        asked = replace(recipe, score_threshold=detector.score_threshold)
        pairs.append((item.label_image.clip(0), asked.apply(found).to_label_image()))
    truth, shown = zip(*pairs, strict=True)
    score = evaluate(truth, shown, thresholds=(0.5,)).pooled.scores[0]
    objects = score.true_positives + score.false_negatives
    return (
        f"{score.true_positives} of {objects} found, {score.false_positives} too many"
    )


def coco(chosen: FineTunePlan, found: tuple[Instances, ...]) -> dict[str, float]:
    """COCO mAP of the objects above the default score, classes compared by name."""
    truth = []
    for item in chosen.judging:
        label_image = item.label_image.clip(0)
        present = np.unique(label_image)
        truth.append(
            Instances.from_label_image(
                label_image,
                class_ids=item.class_ids[present[present > 0]],
                class_names=item.class_names,
            )
        )
    return {key: round(value, 3) for key, value in coco_map(truth, found).items()}


if __name__ == "__main__":
    main()
