"""Whether a network learns a few photographs by heart, from random weights.

    python benchmarks/learn_by_heart.py --architecture maskrcnn_resnet50_c4
    python benchmarks/learn_by_heart.py --architecture maskrcnn_resnet50_fpn

trains on the 8 images of ../shared/data/coco (COCO val2017, CC BY; crowds do not count)
and prints COCO's AP50 of masks on those same images as it goes. A network that is put
together wrongly does not get there. The images are seen whole and unchanged, as the
detector sees them: what is tried is the network, not a recipe.

Stop it when you like: the same command goes on from the last state. Without the folder
the script says so and ends.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pycocotools.coco import COCO

from napari_maskrcnn.core.architectures import build
from napari_maskrcnn.core.atomic import replacing
from napari_maskrcnn.core.checkpoints import Checkpoint, write_checkpoint
from napari_maskrcnn.core.coco import extract, rle
from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.devices import choose_device
from napari_maskrcnn.core.images import read_image
from napari_maskrcnn.core.metrics import coco_map
from napari_maskrcnn.core.training_config import learning_rate

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.models.detection import MaskRCNN

    from napari_maskrcnn.core.instances import Instances

DATA = Path(__file__).parents[2] / "shared" / "data" / "coco"
ANNOTATIONS = "instances_val2017_8.json"
# Gradients are cut to this norm: a batch of one is a rough guide.
GRADIENT_NORM = 5.0
WARM_UP = 100
Example = tuple["Tensor", dict[str, "Tensor"]]


@dataclass
class Run:
    """A network that learns, and how far it is."""

    network: MaskRCNN
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Write all that going on needs, and rename it when it is whole."""
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        with replacing(path) as temporary:
            torch.save(state, temporary)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def load(self, path: Path) -> None:
        """Go on from what was saved."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]


def examples(folder: Path, truth: COCO) -> list[Example]:
    """Return images (3, H, W) in [0, 1] with torchvision's targets, whole and as is."""
    categories = truth.dataset["categories"]
    class_of = {row["id"]: number for number, row in enumerate(categories, start=1)}
    found: list[Example] = []
    for row in truth.dataset["images"]:
        image = read_image(folder / row["file_name"])
        pixels = image if image.ndim == 3 else np.dstack([image] * 3)
        objects = truth.imgToAnns[row["id"]]
        objects = [one for one in objects if not one["iscrowd"]]
        boxes = torch.tensor([one["bbox"] for one in objects], dtype=torch.float32)
        boxes[:, 2:] += boxes[:, :2]
        masks = np.stack([truth.annToMask(one) for one in objects])
        labels = [class_of[one["category_id"]] for one in objects]
        target = {
            "boxes": boxes,
            "labels": torch.tensor(labels),
            "masks": torch.from_numpy(masks),
        }
        tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        found.append((tensor.float() / 255, target))
    return found


def arguments_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the builder takes: few objects an image need few proposals."""
    arguments: dict[str, Any] = {"rois_per_image": options.rois}
    if not options.architecture.endswith("_v2"):
        # One image a step is too few for the statistics of a batch.
        arguments["norm"] = "group"
        arguments["anchor_sizes"] = options.anchors
    if options.architecture.endswith("_c4"):
        arguments["proposals"] = options.proposals
    return arguments


def learn(run: Run, example: Example, rate: float) -> dict[str, float]:
    """Take one step on one image; return torchvision's losses."""
    run.network.train()
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    image, target = example
    target = {key: value.to(run.device) for key, value in target.items()}
    losses = run.network([image.to(run.device)], [target])
    run.optimiser.zero_grad()
    sum(losses.values()).backward()
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), GRADIENT_NORM)
    run.optimiser.step()
    return {key: value.item() for key, value in losses.items()}


def ap50(
    checkpoint: Checkpoint, device: torch.device, folder: Path, truth: COCO
) -> dict[str, float]:
    """Measure COCO's AP of masks on the images of the annotations."""
    category_ids = {row["name"]: row["id"] for row in truth.dataset["categories"]}
    detector = Detector(checkpoint, str(device), precision=torch.float32)
    results: list[dict[str, Any]] = []
    for row in truth.dataset["images"]:
        found = detector.detect(read_image(folder / row["file_name"]))
        results += _annotations(found, row["id"], category_ids)
    return coco_map(truth.dataset, results) if results else {"mAP": 0.0, "mAP50": 0.0}


def _annotations(
    found: Instances, image_id: int, category_ids: dict[str, int]
) -> list[dict[str, Any]]:
    masks = [found.mask(position) for position in range(len(found))]
    table = extract.from_masks(masks, found.offsets, found.image_shape)
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[name],
            "segmentation": {"size": list(found.image_shape), "counts": counts},
            "score": score,
        }
        for counts, name, score in zip(
            rle.encode(table), found.names, found.scores.tolist(), strict=True
        )
    ]


def main() -> None:
    """Train, and say how it goes."""
    options = _options()
    if not (options.folder / ANNOTATIONS).is_file():
        print(f"{options.folder / ANNOTATIONS} is not there: nothing is learnt")
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    truth = COCO(options.folder / ANNOTATIONS)
    data = examples(options.folder, truth)
    objects = sum(len(target["labels"]) for _, target in data)
    print(f"{len(data)} images, {objects} objects", flush=True)
    config = _config(options, truth)
    run = _begin(options, config)

    def measured() -> str:
        started = time.monotonic()
        checkpoint = Checkpoint(config, run.network.state_dict())
        found = ap50(checkpoint, run.device, options.folder, truth)
        return (
            f"step {run.step}, {run.seconds / 60:.0f} min: AP50 {found['mAP50']:.3f}, "
            f"AP {found['mAP']:.3f} (in {time.monotonic() - started:.0f} s)"
        )

    state = options.out / "state.pt"
    while run.step < options.steps:
        started = time.monotonic()
        rate = learning_rate(options.rate, WARM_UP, run.step, run.step / options.steps)
        losses = learn(run, _next(run, data, options.seed), rate)
        run.step += 1
        run.seconds += time.monotonic() - started
        if run.step % 25 == 0:
            terms = ", ".join(f"{k} {v:.3f}" for k, v in losses.items())
            print(f"step {run.step}, {run.seconds:.0f} s: {terms}", flush=True)
        if run.step % options.save_every == 0:
            run.save(state)
        if run.step % options.measure_every == 0:
            print(measured(), flush=True)
    run.save(state)
    print("At the end:", measured())
    model = options.out / "model.safetensors"
    write_checkpoint(model, Checkpoint(config, run.network.state_dict()))
    print(f"Written to {model}")


def _config(options: argparse.Namespace, truth: COCO) -> dict[str, Any]:
    """Return the configuration of the checkpoint that is to come."""
    return {
        "architecture": {
            "name": options.architecture,
            "arguments": arguments_of(options),
        },
        "class_names": [row["name"] for row in truth.dataset["categories"]],
        "image_size": [options.size, options.size * 4 // 3],
        "description": "Eight photographs by heart",
    }


def _begin(options: argparse.Namespace, config: dict[str, Any]) -> Run:
    """Return a network of random weights, or that of the run that was stopped."""
    architecture = config["architecture"]
    network = build(
        architecture["name"],
        len(config["class_names"]) + 1,
        architecture["arguments"],
    )
    network.to(choose_device(options.device))
    # torchvision's own resizing, in training too: the images are seen whole.
    transform = network.transform
    transform._skip_resize = False
    shorter, longer = config["image_size"]
    transform.min_size, transform.max_size = (shorter,), longer
    network.roi_heads.fg_bg_sampler.positive_fraction = options.positive
    run = Run(network, torch.optim.AdamW(network.parameters(), weight_decay=0.0))
    options.out.mkdir(parents=True, exist_ok=True)
    if (state := options.out / "state.pt").is_file():
        run.load(state)
        print(f"Going on from step {run.step}", flush=True)
    return run


def _next(run: Run, data: list[Example], seed: int) -> Example:
    """Return every image once in a round, in an order that the step alone decides."""
    turn, place = divmod(run.step, len(data))
    order = np.random.default_rng([seed, turn]).permutation(len(data))
    return data[order[place]]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    parser.add_argument("--architecture", default="maskrcnn_resnet50_c4")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--size", type=int, default=320, help="Shorter side of images")
    parser.add_argument("--rois", type=int, default=20, help="Proposals to learn from")
    parser.add_argument(
        "--positive", type=float, default=0.5, help="Share of them that are objects"
    )
    parser.add_argument(
        "--anchors", type=json.loads, default=[16, 32, 64, 128, 256], help="Sides"
    )
    parser.add_argument(
        "--proposals", type=int, default=200, help="Looked at, by C4: each takes time"
    )
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--measure-every", type=int, default=400, help="Steps")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Folder of the run")
    options = parser.parse_args()
    options.out = options.out or Path("runs") / f"by_heart_{options.architecture}"
    return options


if __name__ == "__main__":
    main()
