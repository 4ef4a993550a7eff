"""Training: reproducible, resumable, and refusing what cannot be learnt from."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tiny_network import ARCHITECTURE

from napari_maskrcnn.core.augmentation import Augmentation
from napari_maskrcnn.core.checkpoints import write_checkpoint
from napari_maskrcnn.core.dataset import (
    AnnotatedImage,
    annotated_image,
    sampling_weights,
)
from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.mask_alignment import aligned
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.core.training import TrainConfig, learning_rate, split, train
from napari_maskrcnn.core.training_batches import draw_batch
from napari_maskrcnn.core.training_start import checkpoint_config, start
from napari_maskrcnn.core.validation import SCORE_THRESHOLDS

if TYPE_CHECKING:
    from pathlib import Path

    from napari_maskrcnn.core.checkpoints import Checkpoint

CONFIG = TrainConfig(
    arguments={**ARCHITECTURE["arguments"], "rois_per_image": 16},
    class_names=("nucleus",),
    native_size=24.0,
    steps=6,
    batch_size=1,
    crop=64,
    warm_up=2,
    save_every=2,
    validate_every=4,
    validation_fraction=0.3,
    precision="float32",
)


@pytest.fixture(scope="module")
def annotated() -> list[AnnotatedImage]:
    return [
        annotated_image(f"field {seed}", *nuclei_field((80, 96), 12, seed=seed))
        for seed in range(4)
    ]


def run(
    annotated: list[AnnotatedImage], config: TrainConfig = CONFIG, **arguments: Any
) -> Checkpoint:
    return exhaust(train(annotated, config, device="cpu", **arguments))


@pytest.fixture(scope="module")
def uninterrupted(
    annotated: list[AnnotatedImage], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Checkpoint, Path]:
    folder = tmp_path_factory.mktemp("run")
    return run(annotated, run_folder=folder), folder


def same_weights(a: Checkpoint, b: Checkpoint) -> bool:
    return a.state.keys() == b.state.keys() and all(
        torch.equal(value, b.state[key]) for key, value in a.state.items()
    )


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_seed_decides_the_weights(
    annotated: list[AnnotatedImage], uninterrupted: tuple[Checkpoint, Path]
) -> None:
    """With crops prepared by processes too, and whether or not a state is kept."""
    expected, _ = uninterrupted
    assert same_weights(run(annotated, replace(CONFIG, workers=2)), expected)
    assert not same_weights(run(annotated, replace(CONFIG, seed=1)), expected)


@pytest.mark.parametrize("stop", [3, 4])
def test_a_run_that_was_stopped_goes_on(
    annotated: list[AnnotatedImage],
    uninterrupted: tuple[Checkpoint, Path],
    tmp_path: Path,
    stop: int,
) -> None:
    expected, folder = uninterrupted
    work = train(annotated, CONFIG, device="cpu", run_folder=tmp_path)
    while next(work).step < stop:
        pass
    work.close()
    resumed = train(annotated, CONFIG, device="cpu", run_folder=tmp_path)
    # A state is kept every second step.
    assert next(resumed).step == stop // 2 * 2 + 1 or stop == 4
    resumed.close()
    checkpoint = run(annotated, run_folder=tmp_path)
    assert same_weights(checkpoint, expected)
    drop = ("seconds",)
    rows, wanted = (
        [{k: v for k, v in row.items() if k not in drop} for row in history(where)]
        for where in (tmp_path, folder)
    )
    assert rows == wanted
    a, b = (c.config["provenance"]["metrics"] for c in (checkpoint, expected))
    assert a == pytest.approx(b, abs=1e-4)


def test_a_finished_run_gives_its_checkpoint_again(
    annotated: list[AnnotatedImage], uninterrupted: tuple[Checkpoint, Path]
) -> None:
    expected, folder = uninterrupted
    work = train(annotated, CONFIG, device="cpu", run_folder=folder)
    with pytest.raises(StopIteration) as stop:
        next(work)
    assert same_weights(stop.value.value, expected)


def test_another_configuration_is_refused(
    annotated: list[AnnotatedImage], uninterrupted: tuple[Checkpoint, Path]
) -> None:
    _, folder = uninterrupted
    changed = replace(CONFIG, seed=3, learning_rate=1e-5)
    with pytest.raises(ValueError, match="another configuration: learning_rate, seed"):
        run(annotated, changed, run_folder=folder)
    with pytest.raises(ValueError, match="images differ"):
        run(annotated[:3], run_folder=folder)
    # More steps of the same run are welcome.
    more = train(annotated, replace(CONFIG, steps=7), device="cpu", run_folder=folder)
    more.close()


def test_the_history_tells_the_run(
    annotated: list[AnnotatedImage], tmp_path: Path
) -> None:
    config = replace(CONFIG, steps=10, validate_every=5)
    events = list(train(annotated, config, device="cpu", run_folder=tmp_path))
    rows = history(tmp_path)
    assert [(row["step"], bool(row["loss"]), bool(row["ap50"])) for row in rows] == [
        ("5", False, True),
        ("10", True, False),
        ("10", False, True),
    ]
    assert [bool(row["score_threshold"]) for row in rows] == [True, False, True]
    steps = [event for event in events if event.losses]
    assert [event.step for event in steps] == list(range(1, 11))
    assert float(rows[1]["loss"]) == pytest.approx(steps[-1].losses["loss"], abs=1e-4)
    total = sum(v for k, v in steps[-1].losses.items() if k != "loss")
    assert total == pytest.approx(steps[-1].losses["loss"], rel=1e-4)
    assert steps[-1].fraction == 1
    assert steps[-1].seconds_left == 0
    assert [e.step for e in events if e.validation] == [5, 10]
    assert json.loads((tmp_path / "config.json").read_text())["images"] == [
        f"field {seed}" for seed in range(4)
    ]


def test_without_held_out_images_the_history_has_losses_only(
    annotated: list[AnnotatedImage], tmp_path: Path
) -> None:
    config = replace(CONFIG, steps=10, validation_fraction=0.0, validate_every=5)
    run(annotated, config, run_folder=tmp_path)
    assert [row["step"] for row in history(tmp_path)] == ["10"]


def test_the_checkpoint_says_where_it_comes_from(
    annotated: list[AnnotatedImage], uninterrupted: tuple[Checkpoint, Path]
) -> None:
    checkpoint, _ = uninterrupted
    found = checkpoint.config["provenance"]
    assert found["images"] == 4
    assert found["objects"] == sum(int(i.label_image.max()) for i in annotated)
    assert found["steps"] == 6
    assert len(found["held_out"]) == 1
    assert found["metrics"].keys() == {"ap50", "ap75"}
    assert checkpoint.score_threshold in SCORE_THRESHOLDS
    assert torch.__version__.startswith(found["torch"])
    assert TrainConfig.from_dict(found["training"]) == CONFIG
    json.dumps(checkpoint.config)
    detector = Detector(checkpoint, "cpu")
    assert detector.class_names == ("nucleus",)
    assert detector.native_size == 24


@pytest.mark.slow
def test_a_run_begins_with_the_weights_of_a_checkpoint(
    annotated: list[AnnotatedImage],
    uninterrupted: tuple[Checkpoint, Path],
    tmp_path: Path,
) -> None:
    path = tmp_path / "first.safetensors"
    write_checkpoint(path, uninterrupted[0])
    further = replace(CONFIG, start_from=str(path), steps=1, learning_rate=1e-12)
    found = run(annotated, further)
    for key, value in uninterrupted[0].state.items():
        if "running_" not in key and "num_batches" not in key:
            torch.testing.assert_close(found.state[key], value)
    provenance = found.config["provenance"]
    assert provenance["started_from"] == uninterrupted[0].digest()
    assert provenance["training"]["start_from"] == str(path)
    assert "started_from" not in uninterrupted[0].config["provenance"]
    # Weights of another network are refused before the first step.
    other = {**CONFIG.arguments, "box_features": 24}
    with pytest.raises(ValueError, match="architecture, class_names differ"):
        run(annotated, replace(further, class_names=("cell",), arguments=other))
    # Those of the same network at another size, and with other proposals, are not.
    other = {**CONFIG.arguments, "rois_per_image": 12}
    found = run(annotated, replace(further, native_size=30.0, arguments=other))
    assert found.config["object_size"] == 30
    with pytest.raises(ValueError, match="no model named 'nothing'"):
        run(annotated, replace(further, start_from="nothing"))


def test_a_model_card_goes_into_the_checkpoint() -> None:
    card = {"For": "Nuclei.", "Fails": "On tissue."}
    config = TrainConfig.from_dict({**CONFIG.to_dict(), "card": card})
    assert checkpoint_config(config)["card"] == card
    assert "card" not in checkpoint_config(CONFIG)
    with pytest.raises(ValueError, match="card must be sentences by their headings"):
        replace(CONFIG, card={"AP": 0.8})


def test_masks_are_learnt_where_they_are(
    annotated: list[AnnotatedImage], uninterrupted: tuple[Checkpoint, Path]
) -> None:
    assert uninterrupted[0].aligned_masks
    first = next(train(annotated, CONFIG, device="cpu")).losses
    training, _ = split(annotated, CONFIG.validation_fraction, CONFIG.seed)
    weights = sampling_weights(training, CONFIG.balance)
    images, targets = draw_batch(training, weights, CONFIG, 0)

    def losses(targets: list[dict[str, torch.Tensor]]) -> dict[str, float]:
        network = start(CONFIG, None, torch.device("cpu")).network
        torch.manual_seed(hash((CONFIG.seed, 0)) % 2**63)
        return {k: float(v.detach()) for k, v in network(images, targets).items()}

    moved, plain = losses([aligned(target) for target in targets]), losses(targets)
    assert moved == pytest.approx({key: first[key] for key in moved})
    assert moved.pop("loss_mask") != pytest.approx(plain.pop("loss_mask"), rel=1e-6)
    assert moved == pytest.approx(plain)


def test_the_loss_falls(annotated: list[AnnotatedImage]) -> None:
    config = replace(
        CONFIG, steps=40, batch_size=2, learning_rate=2e-3, validation_fraction=0.0
    )
    losses = [
        event.losses["loss"]
        for event in train(annotated, config, device="cpu")
        if event.losses
    ]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])


def test_what_cannot_be_learnt_from_is_refused(
    annotated: list[AnnotatedImage],
) -> None:
    with pytest.raises(ValueError, match="no annotated images"):
        next(train([], CONFIG, device="cpu"))
    bare = [
        replace(item, label_image=np.zeros_like(item.label_image)) for item in annotated
    ]
    with pytest.raises(ValueError, match="none of the label images holds an object"):
        next(train(bare, CONFIG, device="cpu"))


def test_a_loss_that_is_not_finite_ends_the_run(
    annotated: list[AnnotatedImage],
) -> None:
    broken = [
        replace(item, image=np.full_like(item.image, np.nan)) for item in annotated
    ]
    with pytest.raises((ValueError, AssertionError), match=r"finite|NaN"):
        run(broken)


def test_every_appearance_is_held_out(annotated: list[AnnotatedImage]) -> None:
    dark = [replace(annotated[0], name=f"dark {i}") for i in range(20)]
    light = [
        replace(annotated[0], name=f"light {i}", image=1 - annotated[0].image)
        for i in range(10)
    ]
    items = [item for pair in zip(dark, light, strict=False) for item in pair]
    items += dark[10:]
    training, held_out = split(items, 0.05, seed=0)
    assert sorted(item.appearance for item in held_out) == ["dark", "light"]
    assert {i.name for i in training} | {i.name for i in held_out} == {
        i.name for i in items
    }
    assert len(training) + len(held_out) == len(items)
    names = [[i.name for i in split(items, 0.05, seed)[1]] for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    assert split(items, 0.0, seed=0)[1] == []
    # A group is never held out as a whole.
    assert split(items[:1], 0.9, seed=0) == (items[:1], [])


def test_the_learning_rate_warms_up_and_falls() -> None:
    assert learning_rate(1.0, 10, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(1.0, 10, 9, 0.0) == pytest.approx(1.0)
    rates = [learning_rate(1.0, 10, 100, done) for done in np.linspace(0, 1, 9)]
    assert (np.diff(rates) < 0).all()
    assert rates[-1] == pytest.approx(0.01)
    assert math.isclose(rates[4], 0.505)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": -1}, "batch_size"),
        ({"minutes": 0}, "minutes must be positive"),
        ({"calm": 1.5}, "calm must be in"),
        ({"calm": 0.2, "minutes": 5.0}, "set steps, not minutes"),
        ({"crop": 100}, "crop must be a multiple of 32"),
        ({"precision": "half"}, "precision must be"),
        ({"class_names": []}, "class_names"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"wings": 2}, "wrong training configuration: .*wings"),
        ({"augmentation": {"wings": 2}}, "wings"),
    ],
)
def test_a_bad_configuration_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_dict(values)


def test_the_last_part_of_a_run_is_calm() -> None:
    config = TrainConfig(
        steps=100, calm=0.25, augmentation=Augmentation(invert=0.4, scale_jitter=4.0)
    )
    assert config.augmentation_at(74) == config.augmentation
    calm = config.augmentation_at(75)
    assert calm.invert == pytest.approx(0.2)
    assert calm.scale_jitter == pytest.approx(2.0)
    assert TrainConfig(steps=100).augmentation_at(99) == Augmentation()


def test_a_calm_batch_is_another(annotated: list[AnnotatedImage]) -> None:
    strong = TrainConfig(steps=10, crop=64, batch_size=2)
    calm = replace(strong, calm=1.0)
    weights = np.full(len(annotated), 1 / len(annotated))
    ours, theirs = (
        torch.stack(draw_batch(annotated, weights, config, 3)[0])
        for config in (strong, calm)
    )
    assert not torch.equal(ours, theirs)
