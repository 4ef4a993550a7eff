"""Fine-tuning: what learns, what stays, and that a run can be trusted."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tiny_network import ARCHITECTURE, tiny_checkpoint

from napari_maskrcnn import fine_tune
from napari_maskrcnn.core.augmentation import Augmentation
from napari_maskrcnn.core.checkpoints import (
    Checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from napari_maskrcnn.core.dataset import annotated_image
from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.examples import make_target
from napari_maskrcnn.core.fine_tuning import FineTuneResult, advise
from napari_maskrcnn.core.fine_tuning.advice import recommend
from napari_maskrcnn.core.fine_tuning.class_rows import with_classes
from napari_maskrcnn.core.fine_tuning.config import FineTuneConfig, rates_for
from napari_maskrcnn.core.fine_tuning.frozen_part import CutNetwork
from napari_maskrcnn.core.fine_tuning.judging import Judge, scores
from napari_maskrcnn.core.fine_tuning.state import read_best, read_history
from napari_maskrcnn.core.mask_alignment import aligned
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_maskrcnn.core.dataset import AnnotatedImage

CALIBRATION = {"center": [0] * 6, "spread": [1] * 6, "weights": [0.1] * 28}
CONFIG = FineTuneConfig(
    steps=6,
    batch_size=2,
    crop=64,
    warm_up=2,
    save_every=2,
    validate_every=3,
    held_out=0.34,
    cache_views=2,
    precision="float32",
)


def small_rois(checkpoint: Checkpoint) -> Checkpoint:
    """The same network with fewer RoIs a step."""
    arguments = {**ARCHITECTURE["arguments"], "rois_per_image": 16}
    architecture = {**checkpoint.config["architecture"], "arguments": arguments}
    return Checkpoint(
        {**checkpoint.config, "architecture": architecture}, checkpoint.state
    )


@pytest.fixture(scope="module")
def start() -> Checkpoint:
    return small_rois(tiny_checkpoint(spread=False))


def fields(count: int, class_name: str = "disc") -> list[AnnotatedImage]:
    return [
        annotated_image(
            f"field {seed}",
            *nuclei_field((80, 96), 12, seed=seed),
            class_names=(class_name,),
        )
        for seed in range(count)
    ]


@pytest.fixture(scope="module")
def annotated() -> list[AnnotatedImage]:
    return fields(3)


def run(
    start: Checkpoint,
    annotated: list[AnnotatedImage],
    config: FineTuneConfig = CONFIG,
    **arguments: Any,
) -> FineTuneResult:
    return exhaust(fine_tune(start, annotated, config, device="cpu", **arguments))


@pytest.fixture(scope="module")
def uninterrupted(
    start: Checkpoint,
    annotated: list[AnnotatedImage],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[FineTuneResult, Path]:
    folder = tmp_path_factory.mktemp("run")
    return run(start, annotated, run_folder=folder, parent="tiny"), folder


def same_weights(a: Checkpoint, b: Checkpoint) -> bool:
    return a.state.keys() == b.state.keys() and all(
        torch.equal(value, b.state[key]) for key, value in a.state.items()
    )


def changed(a: Checkpoint, b: Checkpoint) -> set[str]:
    """The parts of the network in which two checkpoints differ."""
    keys = {
        key for key, value in a.state.items() if not torch.equal(value, b.state[key])
    }
    return {".".join(key.split(".")[: 2 if "backbone" in key else 1]) for key in keys}


# ------------------------------------------------------------------ what learns


@pytest.mark.parametrize(
    ("part", "parts"),
    [
        ("heads", {"roi_heads"}),
        ("rpn", {"roi_heads", "rpn"}),
        ("fpn", {"roi_heads", "rpn", "backbone.fpn"}),
        ("all", {"roi_heads", "rpn", "backbone.fpn", "backbone.body"}),
    ],
)
@pytest.mark.parametrize("cache_views", [0, 2])
def test_only_what_is_chosen_learns(
    start: Checkpoint,
    annotated: list[AnnotatedImage],
    part: str,
    parts: set[str],
    cache_views: int,
) -> None:
    config = replace(CONFIG, train=part, cache_views=cache_views, steps=1, held_out=0.1)
    own = {"calibration": CALIBRATION, "card": {"For": "Discs."}}
    start = replace(start, config={**start.config, **own})
    result = run(start, annotated, config)
    assert changed(start, result.checkpoint) == parts
    # Statistics of normalisation layers are not measured on a handful of images.
    statistics = [key for key in start.state if "running_" in key or "num_b" in key]
    assert statistics
    assert all(
        torch.equal(start.state[key], result.checkpoint.state[key])
        for key in statistics
    )
    assert (result.checkpoint.trunk_id == start.trunk_id) == (part == "heads")
    # What was said of the old model may be wrong of the new one.
    assert "card" not in result.checkpoint.config
    # How sure to be of a find of these classes is much the same still.
    assert result.checkpoint.config["calibration"] == CALIBRATION


def test_kept_views_give_the_losses_of_fresh_ones(
    start: Checkpoint,
) -> None:
    """But for the rounding to half precision."""
    image, label_image = nuclei_field((64, 64), 8)
    pixels = torch.from_numpy(image.astype(np.float32) / image.max()).expand(3, -1, -1)
    target = make_target(label_image.astype(np.int32), np.ones(99, np.int64))
    found = {}
    for part in ("heads", "rpn", "fpn"):
        cut = CutNetwork(start.build(), part, torch.float32)
        output = cut.encode([pixels])
        halved = output.map(lambda level: level.half()).to(torch.device("cpu"))
        for name, kept in (("kept", halved), ("fresh", output)):
            torch.manual_seed(0)
            terms = cut.losses(kept, (64, 64), [target])
            found[name] = {key: float(value.detach()) for key, value in terms.items()}
        assert found["kept"] == pytest.approx(found["fresh"], rel=0.02), part
        assert len(found["kept"]) == (3 if part == "heads" else 5)


@pytest.mark.parametrize("is_aligned", [False, True])
def test_masks_are_learnt_as_the_model_learnt_them(
    start: Checkpoint, *, is_aligned: bool
) -> None:
    """A head that draws them half a pixel off goes on to; its results are moved."""
    start = replace(start, config={**start.config, "aligned_masks": is_aligned})
    image, label_image = nuclei_field((64, 64), 8)
    pixels = torch.from_numpy(image.astype(np.float32) / image.max()).expand(3, -1, -1)
    target = make_target(label_image.astype(np.int32), np.ones(99, np.int64))
    cut = CutNetwork(start.build(), "heads", torch.float32)
    output = cut.encode([pixels])
    torch.manual_seed(0)
    terms = cut.losses(output, (64, 64), [target])
    torch.manual_seed(0)
    given = [aligned(target) if is_aligned else target]
    _, expected = cut.network.roi_heads(
        output.levels, list(output.proposals), [(64, 64)], given
    )
    assert expected.keys() == terms.keys()
    for key, value in expected.items():
        torch.testing.assert_close(terms[key], value)


def test_budgets_change_nothing(
    start: Checkpoint,
    annotated: list[AnnotatedImage],
    uninterrupted: tuple[FineTuneResult, Path],
    tmp_path: Path,
) -> None:
    """Whether views are kept in memory, on disk or not at all."""
    expected, _ = uninterrupted
    for disk in (0, 1 << 30):
        config = replace(CONFIG, memory_budget=0, disk_budget=disk)
        folder = tmp_path / str(disk)
        work = fine_tune(start, annotated, config, device="cpu", run_folder=folder)
        seen = 0
        while True:
            try:
                next(work)
            except StopIteration as stop:
                result = stop.value
                break
            seen = max(seen, len(list((folder / "views").glob("*.pt"))))
        assert (seen > 0) == (disk > 0)
        assert not (folder / "views").exists()
        assert same_weights(result.checkpoint, expected.checkpoint)


def test_a_disk_without_room_for_views_changes_nothing(
    start: Checkpoint,
    annotated: list[AnnotatedImage],
    uninterrupted: tuple[FineTuneResult, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected, _ = uninterrupted
    config = replace(CONFIG, memory_budget=0)
    # A file in the place of the folder: nothing can be written there.
    (tmp_path / "views").write_text("")
    work = fine_tune(start, annotated, config, device="cpu", run_folder=tmp_path)
    assert same_weights(exhaust(work).checkpoint, expected.checkpoint)
    assert caplog.text.count("Views are not kept on the disk") == 1
    # At most half of what is free is taken, so nothing is tried at all.
    caplog.clear()
    usage = SimpleNamespace(total=1000, used=0, free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    folder = tmp_path / "again"
    folder.mkdir()
    (folder / "views").write_text("")
    work = fine_tune(start, annotated, config, device="cpu", run_folder=folder)
    assert same_weights(exhaust(work).checkpoint, expected.checkpoint)
    assert not caplog.text


# ------------------------------------------------------------------ reproducible


def test_a_seed_decides_the_weights(
    start: Checkpoint,
    annotated: list[AnnotatedImage],
    uninterrupted: tuple[FineTuneResult, Path],
) -> None:
    expected, _ = uninterrupted
    assert same_weights(run(start, annotated).checkpoint, expected.checkpoint)
    other = run(start, annotated, replace(CONFIG, seed=1))
    assert not same_weights(other.checkpoint, expected.checkpoint)


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_cancelled_run_goes_on(
    start: Checkpoint,
    annotated: list[AnnotatedImage],
    uninterrupted: tuple[FineTuneResult, Path],
    tmp_path: Path,
    stop: int,
) -> None:
    expected, folder = uninterrupted
    work = fine_tune(start, annotated, CONFIG, device="cpu", run_folder=tmp_path)
    while next(work).step < stop:
        pass
    work.close()
    # The best so far is there from the first validation on.
    assert (read_best(tmp_path) is not None) == (stop > 3)
    again = fine_tune(start, annotated, CONFIG, device="cpu", run_folder=tmp_path)
    steps = [progress.step for progress in again if progress.losses]
    assert steps == list(range(stop + 1, 7))
    result = run(start, annotated, run_folder=tmp_path)
    assert same_weights(result.checkpoint, expected.checkpoint)
    assert result.before == expected.before
    assert result.after == expected.after
    rows, wanted = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_history(f)]
        for f in (tmp_path, folder)
    )
    assert rows == wanted


CHILD = """
import sys
from pathlib import Path

import torch

torch.set_num_threads(1)
sys.path[:0] = {paths!r}
from test_fine_tuning import CONFIG, fields, small_rois
from tiny_network import tiny_checkpoint

from napari_maskrcnn import fine_tune

start = small_rois(tiny_checkpoint(spread=False))
work = fine_tune(start, fields(3), CONFIG, device="cpu", run_folder=Path({folder!r}))
for progress in work:
    print(progress.step, flush=True)
"""


def test_a_killed_run_gives_the_same_weights(
    start: Checkpoint, annotated: list[AnnotatedImage], tmp_path: Path
) -> None:
    """SIGKILL between two saved states: no handler runs, nothing is tidied."""
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("needs a system with SIGKILL")
    here = Path(__file__).parent
    code = CHILD.format(
        paths=[str(here), str(here.parents[1])], folder=str(tmp_path / "run")
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == "5":
            break
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "state.pt").exists()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        work = fine_tune(
            start, annotated, CONFIG, device="cpu", run_folder=tmp_path / "run"
        )
        steps = []
        while True:
            try:
                progress = next(work)
            except StopIteration as stop:
                resumed = stop.value
                break
            if progress.losses:
                steps.append(progress.step)
        expected = run(start, annotated)
    finally:
        torch.set_num_threads(threads)
    # It went on from the state of step 4, not from the start.
    assert steps == [5, 6]
    assert same_weights(resumed.checkpoint, expected.checkpoint)
    assert not list((tmp_path / "run").glob(".*.part*"))


def test_another_run_in_the_folder_is_refused(
    start: Checkpoint,
    annotated: list[AnnotatedImage],
    uninterrupted: tuple[FineTuneResult, Path],
) -> None:
    _, folder = uninterrupted
    with pytest.raises(ValueError, match="another configuration: seed"):
        run(start, annotated, replace(CONFIG, seed=5), run_folder=folder)
    corrected = replace(
        annotated[0], label_image=np.roll(annotated[0].label_image, 1, axis=0)
    )
    with pytest.raises(ValueError, match="another configuration: images differ"):
        run(start, [corrected, *annotated[1:]], run_folder=folder)
    with pytest.raises(ValueError, match="another configuration: model differ"):
        run(small_rois(tiny_checkpoint()), annotated, run_folder=folder)


# ------------------------------------------------------------------ the result


def test_the_result_compares_and_says_where_it_comes_from(
    start: Checkpoint,
    annotated: list[AnnotatedImage],
    uninterrupted: tuple[FineTuneResult, Path],
    tmp_path: Path,
) -> None:
    result, folder = uninterrupted
    assert result.before.keys() == result.after.keys()
    assert result.steps == 6
    assert result.best_step in (3, 6)
    assert result.ended == "all steps were done"
    judged = result.plan.judging
    assert len(result.found_before) == len(result.found_after) == len(judged) == 1
    assert result.found_after[0].image_shape == judged[0].label_image.shape
    assert start.config["class_names"] == result.checkpoint.config["class_names"]
    found = result.checkpoint.config["provenance"]
    assert found["parent"]["name"] == "tiny"
    assert found["parent"]["trunk_id"] == start.trunk_id
    assert found["objects"] == result.plan.objects
    sizes = [item.object_size for item in result.plan.training]
    assert result.checkpoint.usual_size == np.median(sizes)
    assert found["held_out"] == list(result.plan.held_out)
    assert found["metrics"]["after"] == result.after
    assert result.checkpoint.score_threshold == result.after["score_threshold"]
    restored = FineTuneConfig.from_dict(json.loads(json.dumps(found["fine_tuning"])))
    known, new = start.config["class_names"], result.plan.new_classes
    assert restored == CONFIG.filled(rates_for(len(known), len(new)))
    assert "fine-tuned on" in result.checkpoint.config["description"]
    path = tmp_path / "new.safetensors"
    write_checkpoint(path, result.checkpoint)
    assert same_weights(read_checkpoint(path), result.checkpoint)
    best = read_best(folder)
    assert best is not None
    assert same_weights(best, result.checkpoint)
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["ap50"]] == ["0", "3", "6"]
    assert [row["step"] for row in rows if row["loss"]] == ["5"]


def test_a_model_is_judged_where_it_is_best(annotated: list[AnnotatedImage]) -> None:
    checkpoint = tiny_checkpoint()
    # As heads are that just began: right, but not sure of it.
    checkpoint.state["roi_heads.box_predictor.cls_score.bias"][1:] -= 2
    judge = Judge(checkpoint, annotated[:2], "cpu")
    figures = exhaust(judge.scores())
    threshold = figures["score_threshold"]
    assert exhaust(judge.scores(threshold)) == figures
    found = exhaust(judge.instances(threshold))
    assert scores(judge.annotated, found).items() <= figures.items()
    assert all((one.scores >= threshold).all() for one in found)
    assert figures["ap50"] >= exhaust(judge.scores(0.9))["ap50"]


def test_progress_tells_of_every_step(
    start: Checkpoint, annotated: list[AnnotatedImage]
) -> None:
    events = list(fine_tune(start, annotated, CONFIG, device="cpu"))
    assert [e.step for e in events if e.losses] == list(range(1, 7))
    assert [e.step for e in events if e.validation] == [0, 3, 6]
    assert events[-1].fraction == 1
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    terms = next(event.losses for event in events if event.losses)
    assert terms["loss"] == pytest.approx(
        sum(value for key, value in terms.items() if key != "loss"), rel=1e-4
    )


def test_a_time_budget_ends_a_run(
    start: Checkpoint, annotated: list[AnnotatedImage]
) -> None:
    began = time.monotonic()
    result = run(start, annotated, replace(CONFIG, minutes=0.001, steps=10**6))
    assert result.ended == "the time was up"
    assert 1 <= result.steps < 1000
    assert time.monotonic() - began < 120


def test_a_run_without_gain_ends_early(
    start: Checkpoint, annotated: list[AnnotatedImage]
) -> None:
    # Nothing is learnt at a rate of nearly nothing.
    config = replace(
        CONFIG, steps=50, validate_every=1, patience=2, learning_rate=1e-12
    )
    result = run(start, annotated, config)
    assert result.ended == "no better AP in 2 validations"
    assert (result.steps, result.best_step) == (3, 1)
    assert not result.better


def test_replay_images_show_what_is_forgotten(
    start: Checkpoint, annotated: list[AnnotatedImage]
) -> None:
    names = {"disc", "ring"}
    result = run(
        start,
        fields(3, "cross"),
        replace(CONFIG, replay_share=0.5, steps=3),
        replay=annotated,
    )
    assert set(result.plan.class_names) == names | {"cross"}
    assert result.replay_before.keys() == result.replay_after.keys()
    assert "ap50" in result.replay_after
    rows = [row for row in result.history if "replay_ap50" in row]
    assert [row["step"] for row in rows] == [0, 3]
    with pytest.raises(ValueError, match="objects of the class 'ring', which the new"):
        run(
            start,
            annotated,
            replace(CONFIG, drop_classes=("ring",)),
            replay=fields(2, "ring"),
        )
    bare = [replace(annotated[0], label_image=annotated[0].label_image * 0)]
    with pytest.raises(ValueError, match="fewer than two objects that count"):
        run(start, annotated, replay=bare)


def test_what_is_recommended() -> None:
    assert recommend(0.9).train == "heads"
    assert recommend(0.5).train == "all"
    assert "50%" in recommend(0.5).sentence
    mixed = recommend(0.9, {"ap50": 0.21, "ap50_any_class": 0.65})
    assert mixed.train == "all"
    assert "AP 0.65" in mixed.sentence
    assert recommend(0.9, {"ap50": 0.6, "ap50_any_class": 0.65}).train == "heads"
    done = {"ap50": 0.21, "ap50_any_class": 0.65}
    assert recommend(0.9, done, trained="all").sentence.endswith("train longer")
    done = {"ap50": 0.21, "ap50_any_class": 0.3}
    assert "more images" in recommend(0.9, done, trained="all").sentence
    done = {"ap50": 0.81, "ap50_any_class": 0.88}
    good = recommend(0.3, done, trained="all")
    assert good.train == "heads"
    assert "more of the same kind" in good.sentence
    assert recommend(0.9, found=0.6).train == "heads"
    different = recommend(0.9, found=0.3)
    assert different.train == "all"
    assert "AP 0.30" in different.sentence
    assert "replay" in different.sentence
    assert recommend(0.9, found=0.3, new_classes=1, told_apart=0.9).train == "heads"


def test_advice_before_a_run(
    start: Checkpoint, annotated: list[AnnotatedImage]
) -> None:
    found = exhaust(advise(start, annotated, "cpu"))
    # A random network finds next to nothing.
    assert found.train == "all"
    assert f"AP {found.found:.2f}" in found.sentence
    bare = [replace(annotated[0], label_image=annotated[0].label_image * 0)]
    with pytest.raises(ValueError, match="holds a reviewed object"):
        exhaust(advise(start, bare, "cpu"))


@pytest.mark.slow
def test_it_learns(start: Checkpoint, annotated: list[AnnotatedImage]) -> None:
    config = replace(
        CONFIG, train="all", trunk_rate=1.0, steps=40, learning_rate=2e-3,
        augmentation=Augmentation(),
    )  # fmt: skip
    losses = [
        event.losses["loss"]
        for event in fine_tune(start, annotated, config, device="cpu")
        if event.losses
    ]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])


# Each is one piece of work: between two of them a run can be cancelled.
PIECES = [
    ("views", "random_view"), ("judging", "_image_scores"),
    ("state", "write_checkpoint"),
]  # fmt: skip


def count_pieces(
    monkeypatch: pytest.MonkeyPatch, network: torch.nn.Module
) -> Callable[[], int]:
    """Count the pieces of work from now on; the function returned starts again."""
    done: list[str] = []

    def counted(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            done.append(name)
            return function(*arguments, **options)

        return call

    for module, name in PIECES:
        owner = import_module(f"napari_maskrcnn.core.fine_tuning.{module}")
        monkeypatch.setattr(owner, name, counted(name, getattr(owner, name)))
    monkeypatch.setattr(torch, "save", counted("save", torch.save))
    backward = counted("backward", torch.Tensor.backward)
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    parts = (
        network.backbone.body, network.backbone.fpn, network.rpn,
        network.roi_heads.box_head,
    )  # fmt: skip
    for kind in {type(part) for part in parts}:
        monkeypatch.setattr(kind, "forward", counted(kind.__name__, kind.forward))

    def count() -> int:
        number = len(done)
        done.clear()
        return number

    return count


@pytest.mark.parametrize(("part", "most"), [("heads", 1), ("all", 2)])
def test_a_run_pauses_after_every_piece_of_work(
    start: Checkpoint,
    annotated: list[AnnotatedImage],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    part: str,
    most: int,
) -> None:
    """A cancel waits for one piece at most; proposals and heads learn in one go."""
    count = count_pieces(monkeypatch, start.build())
    # No memory for views: they are written to disk.
    config = replace(CONFIG, train=part, steps=3, save_every=1, memory_budget=0)
    work = fine_tune(start, annotated, config, device="cpu", run_folder=tmp_path)
    counts = []
    for _ in work:
        counts.append(count())
    counts.append(count())
    assert max(counts) <= most, counts
    assert sum(counts) > 50


def test_a_cancel_writes_nothing_twice(
    start: Checkpoint, annotated: list[AnnotatedImage], tmp_path: Path
) -> None:
    work = fine_tune(start, annotated, CONFIG, device="cpu", run_folder=tmp_path)
    while not (record := next(work)).losses or record.step < 2:
        pass
    state = tmp_path / "state.pt"
    written = state.stat().st_mtime_ns
    work.close()
    assert state.stat().st_mtime_ns == written


# ------------------------------------------------------------------ classes


def test_rows_of_classes_that_stay_are_kept(start: Checkpoint) -> None:
    names = ("ring", "cross", "disc", "star")
    start = replace(start, config={**start.config, "calibration": CALIBRATION})
    made = with_classes(start, names)
    assert "calibration" not in made.config
    assert made.config["class_names"] == list(names)
    assert start.config["class_names"] == ["disc", "ring"]
    made.build()
    rows = {
        "roi_heads.box_predictor.cls_score.weight": 1,
        "roi_heads.box_predictor.cls_score.bias": 1,
        "roi_heads.box_predictor.bbox_pred.weight": 4,
        "roi_heads.mask_predictor.mask_fcn_logits.bias": 1,
    }
    for key, count in rows.items():
        old = start.state[key].unflatten(0, (-1, count))
        new = made.state[key].unflatten(0, (-1, count))
        assert torch.equal(new[[0, 3, 1]], old)
        assert torch.allclose(new[2], old[1:].mean(0))
        assert torch.equal(new[2], new[4])
    assert with_classes(start, ("disc", "ring")) is start
    fewer = with_classes(start, ("ring",))
    key = "roi_heads.box_predictor.cls_score.weight"
    assert torch.equal(fewer.state[key], start.state[key][[0, 2]])
    with pytest.raises(ValueError, match="at least one class"):
        with_classes(start, ())


def test_a_new_class_is_learnt_beside_the_old_ones(
    start: Checkpoint, annotated: list[AnnotatedImage]
) -> None:
    result = run(start, fields(3, "cross"), replace(CONFIG, steps=1))
    assert result.checkpoint.config["class_names"] == ["disc", "ring", "cross"]
    assert Detector(result.checkpoint, "cpu").class_names == ("disc", "ring", "cross")
    assert "ap50_any_class" in result.after


# ------------------------------------------------------------------ encodings


def test_encodings_hold_for_new_heads(
    start: Checkpoint,
    annotated: list[AnnotatedImage],
    uninterrupted: tuple[FineTuneResult, Path],
    tmp_path: Path,
) -> None:
    """As files in half precision too."""
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    write_checkpoint(old, start, dtype=torch.float16)
    parent = read_checkpoint(old)
    result = run(parent, annotated, replace(CONFIG, steps=1))
    write_checkpoint(new, result.checkpoint, dtype=torch.float16)
    detectors = [Detector(read_checkpoint(path), "cpu") for path in (old, new)]
    assert detectors[0].trunk_id == detectors[1].trunk_id
    encoding = detectors[0].encode(annotated[0].image, object_size=20)
    expected = detectors[1].detect(annotated[0].image, object_size=20)
    assert np.array_equal(detectors[1].detect(encoding).boxes, expected.boxes)
    assert detectors[0].trunk_id != Detector(tiny_checkpoint(), "cpu").trunk_id


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": "toes"}, "train must be one of heads, rpn, fpn, all"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"minutes": -1}, "minutes must be positive"),
        ({"cache_views": -1}, "cache_views must not be negative"),
        ({"held_out": 0.0}, "held_out must be between 0 and 1"),
        ({"replay_share": 2}, r"replay_share must be in \[0, 1\]"),
        ({"crop": 100}, "crop must be a multiple of 32"),
        ({"precision": "half"}, "precision must be"),
        ({"wings": 2}, "wrong fine-tuning configuration: .*wings"),
        ({"augmentation": {"wings": 2}}, "wings"),
    ],
)
def test_a_bad_configuration_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FineTuneConfig.from_dict(values)


def test_a_loss_that_is_not_finite_ends_the_run(
    start: Checkpoint, annotated: list[AnnotatedImage]
) -> None:
    with pytest.raises(ValueError, match="no longer finite at step"):
        run(start, annotated, replace(CONFIG, learning_rate=1e30))


@pytest.mark.parametrize(
    ("name", "known", "replayed", "rates"),
    [
        ("disc", ("disc",), 0, (1e-4, 0.2)),
        ("disc", ("disc",), 2, (6e-4, 1.0)),
        ("fig", ("disc", "square"), 0, (5e-4, 0.2)),
        ("fig", ("disc",), 0, (2e-3, 1.0)),
    ],
)
def test_what_is_known_is_learnt_more_gently(
    start: Checkpoint,
    name: str,
    known: tuple[str, ...],
    replayed: int,
    rates: tuple[float, float],
) -> None:
    start = with_classes(start, known)
    items, replay = fields(3, name), fields(replayed, "disc")
    unset = replace(CONFIG, steps=1, learning_rate=None, trunk_rate=None)
    result = run(start, items, unset, replay=replay)
    tuned = result.checkpoint.config["provenance"]["fine_tuning"]
    assert (tuned["learning_rate"], tuned["trunk_rate"]) == rates
    own = replace(CONFIG, steps=1, learning_rate=2e-3, trunk_rate=0.5)
    tuned = run(start, items, own).checkpoint.config["provenance"]["fine_tuning"]
    assert (tuned["learning_rate"], tuned["trunk_rate"]) == (2e-3, 0.5)


def test_large_networks_always_learn_gently() -> None:
    assert rates_for(1, 0, replayed=True, whole_images=True) == (1e-4, 0.2)
    assert rates_for(1, 3, whole_images=True) == (5e-4, 0.2)
