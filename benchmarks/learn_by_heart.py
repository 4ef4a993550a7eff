"""Whether a network learns a few photographs by heart, from random weights.

    python benchmarks/learn_by_heart.py --architecture maskrcnn_resnet50_c4 --minutes 60
    python benchmarks/learn_by_heart.py --architecture maskrcnn_resnet50_fpn

trains on the 8 images of ../shared/data/coco (COCO val2017, CC BY; crowds do not count)
and prints COCO's AP50 of masks on those same images as it goes. A network that is put
together wrongly does not get there. Stop it when you like: the same command goes on
from the last state, and minutes count from the beginning of the run. Without the folder
the script says so and ends.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from napari_maskrcnn.core.annotations import read_annotated
from napari_maskrcnn.core.augmentation import Augmentation
from napari_maskrcnn.core.checkpoints import Checkpoint, write_checkpoint
from napari_maskrcnn.core.coco import extract, read_coco, rle
from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.images import read_image
from napari_maskrcnn.core.metrics import coco_map
from napari_maskrcnn.core.training import TrainConfig, train
from napari_maskrcnn.core.training_start import checkpoint_config
from napari_maskrcnn.core.training_state import STATE_NAME

if TYPE_CHECKING:
    from napari_maskrcnn.core.instances import Instances

DATA = Path(__file__).parents[2] / "shared" / "data" / "coco"
ANNOTATIONS = "instances_val2017_8.json"


def config_of(options: argparse.Namespace, class_names: tuple[str, ...]) -> TrainConfig:
    """Return the recipe: whole images, mirrored and hardly scaled, no other changes."""
    arguments: dict[str, Any] = {}
    if not options.architecture.endswith("_v2"):
        # A few images a step are too few for statistics of a batch.
        arguments["norm"] = "group"
    arguments["rois_per_image"] = options.rois
    if options.architecture.endswith("_c4"):
        arguments["proposals"] = options.proposals
    config = TrainConfig(
        architecture=options.architecture,
        arguments=arguments,
        class_names=class_names,
        description="Eight photographs by heart",
        image_size=(options.size, options.size * 4 // 3),
        steps=options.steps,
        minutes=options.minutes,
        batch_size=options.batch,
        # The whole image, whichever way it lies.
        crop=-(-options.size * 4 // 3 // 32) * 32,
        learning_rate=options.rate,
        weight_decay=0.0,
        warm_up=100,
        ema_decay=0.98,
        validation_fraction=0.0,
        validate_every=0,
        save_every=options.save_every,
        precision=options.precision,
        workers=options.workers,
        augmentation=Augmentation(
            scale_jitter=1.1, invert=0, blur=0, noise=0, illumination=0, tint=0,
            to_grey=0, gamma=0, colour=0, upright=True,
        ),
    )  # fmt: skip
    return TrainConfig.from_dict({**config.to_dict(), **json.loads(options.set)})


def ap50(checkpoint: Checkpoint, folder: Path, device: str) -> dict[str, float]:
    """Measure COCO's AP of masks on the images of the annotations."""
    truth = json.loads((folder / ANNOTATIONS).read_text())
    category_ids = {row["name"]: row["id"] for row in truth["categories"]}
    detector = Detector(checkpoint, device, precision=torch.float32)
    results: list[dict[str, Any]] = []
    for row in truth["images"]:
        image = read_image(folder / row["file_name"])
        results += _annotations(detector.detect(image), row["id"], category_ids)
    if not results:
        return {"mAP": 0.0, "mAP50": 0.0}
    return coco_map(truth, results)


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


def averaged(config: TrainConfig, run_folder: Path) -> Checkpoint:
    """Return the averaged weights of a run that is going on, as it saved them."""
    saved = torch.load(run_folder / STATE_NAME, map_location="cpu", weights_only=True)
    prefix = "module."
    state = {
        key.removeprefix(prefix): value
        for key, value in saved["average"].items()
        if key.startswith(prefix)
    }
    return Checkpoint(checkpoint_config(config), state)


def main() -> None:
    """Train, and say how it goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    parser.add_argument("--architecture", default="maskrcnn_resnet50_c4")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--size", type=int, default=256, help="Shorter side of images")
    parser.add_argument("--rois", type=int, default=64, help="Proposals to learn from")
    parser.add_argument(
        "--proposals", type=int, default=300, help="Looked at, by C4: each takes time"
    )
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--save-every", type=int, default=50)
    parser.add_argument("--measure-every", type=int, default=200, help="Steps")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--set", default="{}", help="JSON of further settings")
    parser.add_argument("--out", type=Path, help="Folder of the run")
    options = parser.parse_args()
    if not (options.folder / ANNOTATIONS).is_file():
        print(f"{options.folder / ANNOTATIONS} is not there: nothing is learnt")
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    items = read_annotated(options.folder, options.folder / ANNOTATIONS)
    present = {name for item in items for name in _present(item)}
    dataset = read_coco(options.folder / ANNOTATIONS, folder=options.folder)
    names = tuple(row.name for row in dataset.categories)
    config = config_of(options, names)
    print(f"{len(items)} images, objects of {len(present)} of {len(names)} classes")
    run_folder = options.out or Path("runs") / f"by_heart_{options.architecture}"
    run_folder.mkdir(parents=True, exist_ok=True)
    checkpoint = _run(config, items, options, run_folder)
    final = ap50(checkpoint, options.folder, options.device)
    print(f"At the end: AP50 {final['mAP50']:.3f}, AP {final['mAP']:.3f}")
    write_checkpoint(run_folder / "model.safetensors", checkpoint)
    print(f"Written to {run_folder / 'model.safetensors'}")


def _present(item: Any) -> list[str]:
    labels = set(item.label_image[item.label_image > 0].tolist())
    return [item.class_names[item.class_ids[label] - 1] for label in labels]


def _run(
    config: TrainConfig, items: Any, options: argparse.Namespace, run_folder: Path
) -> Checkpoint:
    work = train(items, config, device=options.device, run_folder=run_folder)
    while True:
        try:
            event = next(work)
        except StopIteration as stop:
            checkpoint: Checkpoint = stop.value
            return checkpoint
        if event.step % 20 == 0:
            terms = ", ".join(f"{k} {v:.3f}" for k, v in event.losses.items())
            print(f"step {event.step}, {event.seconds:.0f} s: {terms}", flush=True)
        # The state of this step is on disk: it was saved before the step was told.
        if event.step % options.measure_every == 0 and not (
            event.step % options.save_every
        ):
            started = time.monotonic()
            found = ap50(averaged(config, run_folder), options.folder, options.device)
            print(
                f"step {event.step}: AP50 {found['mAP50']:.3f}, AP {found['mAP']:.3f} "
                f"(measured in {time.monotonic() - started:.0f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
