"""Heads on kept views against the loop that torchvision's reference would run.

    python benchmarks/fine_tuning.py --minutes 10

Both start from the same network: the bundled nuclei, its predictors replaced by fresh
ones, as torchvision's tutorial does it. Backbone and RPN are frozen, all is float32,
images are rescaled to the size that the network knows. The reference is
torchvision/references/detection: whole images in batches of two, random flips, SGD
with momentum, a linear warm-up in the first epoch (its backbone is kept in evaluation
mode, which is to its favour). Data: images of stained tissue of the nuclei set
(BBBC038, CC0), the first to learn from, those of val to measure with. Time is that of
learning alone, in seconds of the processor: with --threads 1 those of a quiet machine's
clock. Both are measured with the same code, and the clock stands still.

The target is the best AP of the reference in its time, or --target.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_maskrcnn.core.checkpoints import Checkpoint, read_checkpoint
from napari_maskrcnn.core.dataset import AnnotatedImage, annotated_image
from napari_maskrcnn.core.examples import make_target
from napari_maskrcnn.core.fine_tuning.config import FineTuneConfig
from napari_maskrcnn.core.fine_tuning.job import FineTuneJob
from napari_maskrcnn.core.fine_tuning.judging import Judge
from napari_maskrcnn.core.fine_tuning.planning import plan
from napari_maskrcnn.core.fine_tuning.team import Team
from napari_maskrcnn.core.images import read_image
from napari_maskrcnn.core.model_list import find_model
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.scaling import network_scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    Example = tuple[Tensor, dict[str, Tensor]]

DATA = Path(__file__).parents[2] / "shared" / "data" / "nuclei"

Curve = list[tuple[float, int, float]]


def main() -> None:
    """Run the reference, then ours, and compare the time to the same AP."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=10, help="For the reference")
    parser.add_argument("--steps", type=int, default=200, help="For ours")
    parser.add_argument("--every", type=float, default=30, help="Seconds to measure")
    parser.add_argument("--rate", type=float, default=0.005, help="The reference's")
    parser.add_argument("--target", type=float)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if not options.folder.is_dir():
        print(f"{options.folder} is not there: nothing is measured")
        return
    torch.set_num_threads(options.threads)
    training = read(options.folder, "train", "histology_colour", options.images)
    held_out = read(options.folder, "val", "histology_colour")
    start = with_fresh_predictors(read_checkpoint(find_model(options.model)))
    judge = Judge(start, held_out, "cpu")
    # Encodes what is held out, for both.
    print(f"as it is: AP {exhaust(judge.scores())['ap50']:.3f}")
    ours = kept_views(start, training, judge, options.steps)
    seconds = 60 * options.minutes
    theirs = reference(start, training, judge, seconds, options.every, options.rate)
    target = options.target or max(ap for _, _, ap in theirs)
    times = [time_to(curve, target) for curve in (ours, theirs)]
    print(f"AP {target:.3f}: kept views {times[0]:.0f} s, reference {times[1]:.0f} s")
    print(f"{times[1] / times[0]:.1f} times less time")


def read(
    folder: Path, split: str, modality: str, count: int | None = None
) -> list[AnnotatedImage]:
    """Read images of one kind."""
    with (folder / "index.csv").open(newline="") as file:
        ids = [
            row["id"]
            for row in csv.DictReader(file)
            if (row["split"], row["modality"]) == (split, modality)
        ]
    return [
        annotated_image(
            name,
            read_image(folder / split / "images" / f"{name}.png"),
            read_image(folder / split / "labels" / f"{name}.png"),
            class_names=("nucleus",),
        )
        for name in ids[:count]
    ]


def with_fresh_predictors(checkpoint: Checkpoint) -> Checkpoint:
    """Forget the rows of the classes, as replacing the predictors does."""
    generator = torch.Generator().manual_seed(0)
    state = dict(checkpoint.state)
    for key, value in checkpoint.state.items():
        if "predictor" in key and not key.startswith(
            "roi_heads.mask_predictor.conv5_mask"
        ):
            # torch's own for linear and convolution layers.
            bound = 1 / math.sqrt(max(1, value[0].numel()))
            fresh = torch.rand(value.shape, generator=generator) * 2 * bound - bound
            state[key] = fresh if value.ndim > 1 else torch.zeros(value.shape)
    return Checkpoint(checkpoint.config, state)


def kept_views(
    start: Checkpoint, training: Sequence[AnnotatedImage], judge: Judge, steps: int
) -> Curve:
    """Fine-tune as the package does it; nothing is held out of the training images."""
    config = FineTuneConfig(steps=steps, precision="float32").filled()
    chosen = replace(
        plan(["nucleus"], training, config), training=tuple(training), judging=()
    )
    job = FineTuneJob(start, chosen, ((), ()), config, "cpu", None, "", Team())
    curve: Curve = []
    spent = 0.0
    while job.state.step < steps:
        began = time.process_time()
        exhaust(job.step())
        spent += time.process_time() - began
        step = job.state.step
        if step % 10 == 0:
            weights = {**start.state, **job.state.average}
            curve.append((spent, step, measured(judge, weights)))
            tell("kept views", curve)
    return curve


def reference(
    start: Checkpoint,
    training: Sequence[AnnotatedImage],
    judge: Judge,
    seconds: float,
    every: float,
    rate: float,
) -> Curve:
    """Run the training loop of torchvision's references."""
    network = start.build()
    network.backbone.requires_grad_(False)
    network.rpn.requires_grad_(False)
    optimizer = torch.optim.SGD(
        [p for p in network.parameters() if p.requires_grad],
        lr=rate, momentum=0.9, weight_decay=5e-4,
    )  # fmt: skip
    data = [tensors(item, start.config["object_size"]) for item in training]
    warm_up = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1e-3, total_iters=max(1, len(data) // 2 - 1)
    )
    torch.manual_seed(0)
    curve: Curve = []
    spent, step, due = 0.0, 0, every
    for batch in batches(data):
        began = time.process_time()
        network.train()
        network.backbone.eval()
        flipped = [flip(*example) for example in batch]
        terms = network([i for i, _ in flipped], [t for _, t in flipped])
        loss = sum(terms.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        warm_up.step()
        spent, step = spent + time.process_time() - began, step + 1
        if spent >= due:
            curve.append((spent, step, measured(judge, network.state_dict())))
            tell("reference", curve)
            due += every
        if spent >= seconds:
            return curve
    return curve


def tensors(
    item: AnnotatedImage, native_size: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Rescale an image and its labels to what the network knows."""
    scale = network_scale(item.object_size, native_size)
    pixels = torch.from_numpy(item.image.astype("float32")).permute(2, 0, 1)
    image = functional.interpolate(
        pixels[None], scale_factor=scale, mode="bilinear", antialias=True
    )[0].expand(3, -1, -1)
    labels = functional.interpolate(
        torch.from_numpy(item.label_image)[None, None].float(),
        size=image.shape[1:],
    )[0, 0]
    return image, make_target(labels.numpy().astype("int32"), item.class_ids)


def batches(data: Sequence[Example]) -> Iterator[list[Example]]:
    """Yield shuffled pairs for ever."""
    while True:
        order = torch.randperm(len(data)).tolist()
        for start in range(0, len(order) - 1, 2):
            yield [data[i] for i in order[start : start + 2]]


def flip(image: Tensor, target: dict[str, Tensor]) -> Example:
    """Flip every other view, as the references do."""
    if torch.rand(()) < 0.5:
        return image, target
    width = image.shape[2]
    boxes = target["boxes"].clone()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    masks = target["masks"].flip(2)
    return image.flip(2), {**target, "boxes": boxes, "masks": masks}


def measured(judge: Judge, weights: Mapping[str, Tensor]) -> float:
    """Measure AP at IoU 0.5; the trunk is frozen, so encodings are kept."""
    judge.load(weights, trunk_changed=False)
    return exhaust(judge.scores())["ap50"]


def tell(name: str, curve: Curve) -> None:
    """Print the last point."""
    seconds, step, ap = curve[-1]
    print(f"{name}: {seconds:6.1f} s  step {step}  AP {ap:.3f}", flush=True)


def time_to(curve: Curve, target: float) -> float:
    """Return when an AP was reached first; infinite if it never was."""
    return next((seconds for seconds, _, ap in curve if ap >= target), math.inf)


if __name__ == "__main__":
    main()
