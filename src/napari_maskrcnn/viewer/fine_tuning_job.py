"""What runs in the worker's thread when a model is fine-tuned.

torch is imported inside the generators, never before: see `viewer.torch_start`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core.checkpoints import read_config
from napari_maskrcnn.core.model_list import find_model
from napari_maskrcnn.core.model_store import (
    check_new_name,
    figures,
    model_path,
    run_folder,
    stored_dtype,
)
from napari_maskrcnn.core.progress import Progress, relay
from napari_maskrcnn.viewer.fine_tuning_records import Checked, Files, Past, Trained
from napari_maskrcnn.viewer.torch_start import import_torch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from napari_maskrcnn.core.checkpoints import Checkpoint
    from napari_maskrcnn.core.dataset import AnnotatedImage
    from napari_maskrcnn.core.fine_tuning import FineTuneProgress, FineTuneResult
    from napari_maskrcnn.core.fine_tuning.config import FineTuneConfig
    from napari_maskrcnn.viewer.annotated_layers import LabelledPlane
    from napari_maskrcnn.viewer.fine_tuning_records import Request

# How often a training that gives way looks whether it may go on, in seconds.
LOOK_AGAIN = 0.05
BEST_NAME = "best.safetensors"
# Before the names of the figures on replay images, in a checkpoint.
REPLAY = "replay_"


@dataclass(slots=True)
class Gate:
    """Tells a training in its thread that something else wants the processor."""

    busy: bool = False


def check(request: Request) -> Generator[Progress, None, Checked]:
    """Say what would be learnt from and held out, and what should be trained."""
    yield from import_torch()
    from napari_maskrcnn.core.checkpoints import read_checkpoint
    from napari_maskrcnn.core.fine_tuning import advise

    annotated, replay = yield from _read_all(request)
    checkpoint = read_checkpoint(find_model(request.model))
    checked = _checked(checkpoint, annotated, replay, request.config)
    recommendation = yield from advise(checkpoint, annotated, request.device)
    return replace(checked, recommendation=recommendation)


def train(request: Request, gate: Gate) -> Generator[Any, None, Trained]:
    """Fine-tune, and write the new model if it is better.

    Parameters
    ----------
    request : Request
        What to do. A run of the same name that was stopped goes on.
    gate : Gate
        While it is busy the training waits between two steps.

    Yields
    ------
    Progress, FineTuneProgress, Checked or Past
        What is going on; once what will be done; once what was done before.
    """
    yield Progress(0, 0, "Starting")
    check_new_name(request.name)
    yield from import_torch()
    # The curves need it soon; imported in the window it would stop for a second.
    import_module("pyqtgraph")
    yield Progress(0, 0, "Reading the images")
    from napari_maskrcnn.core.checkpoints import read_checkpoint, write_checkpoint
    from napari_maskrcnn.core.fine_tuning import fine_tune
    from napari_maskrcnn.core.fine_tuning.state import read_history
    from napari_maskrcnn.viewer.before_after import examples

    annotated, replay = yield from _read_all(request)
    path = find_model(request.model)
    checkpoint = read_checkpoint(path)
    yield _checked(checkpoint, annotated, replay, request.config)
    folder = run_folder(request.name)
    if rows := read_history(folder):
        yield Past(rows)
    work = fine_tune(
        checkpoint,
        annotated,
        request.config,
        replay=replay,
        device=request.device,
        run_folder=folder,
        parent=path.stem,
    )
    result = yield from _giving_way(work, gate)
    pictures = yield from relay(
        examples(result.plan.judging, result.found_before, result.found_after),
        lambda: Progress(0, 0, "Drawing the pictures"),
    )
    yield Progress(0, 0, "Writing the model")
    written = None
    if result.better:
        written = model_path(check_new_name(request.name))
        write_checkpoint(written, result.checkpoint, dtype=stored_dtype(checkpoint))
    return _trained(request.name, written, result, pictures)


def keep_best(name: str) -> Generator[Progress, None, Path]:
    """Make the best model of a run one of the person's models."""
    yield Progress(0, 0, "Writing the model")
    yield from import_torch()
    from napari_maskrcnn.core.checkpoints import write_checkpoint
    from napari_maskrcnn.core.fine_tuning.state import read_best

    best = read_best(run_folder(name))
    if best is None:
        raise ValueError(f"the run {name!r} has no model to keep any more")
    path = model_path(check_new_name(name))
    write_checkpoint(path, best, dtype=stored_dtype(best))
    return path


def best_so_far(name: str, steps: int, seconds: float) -> Trained | None:
    """Return the end of a run that was cancelled; None before its first validation."""
    folder = run_folder(name)
    try:
        source = read_config(folder / BEST_NAME).get("provenance", {})
    except (OSError, ValueError):
        return None
    before, after = figures(source)
    kept = {k: v for k, v in before.items() if not k.startswith((REPLAY, "prop"))}
    own = {k: v for k, v in after.items() if not k.startswith(REPLAY)}
    return Trained(
        name=name,
        path=None,
        folder=folder,
        better=_merit(own) > _merit(kept),
        before=kept,
        after=own,
        replay_before=_on_replay(before),
        replay_after=_on_replay(after),
        best_step=int(source.get("steps", 0)),
        steps=steps,
        seconds=seconds,
        ended="it was cancelled",
    )


def _on_replay(scores: dict[str, float]) -> dict[str, float]:
    return {
        k.removeprefix(REPLAY): v for k, v in scores.items() if k.startswith(REPLAY)
    }


def _merit(scores: dict[str, float]) -> tuple[float, float]:
    return scores.get("ap50", 0.0), scores.get("ap75", 0.0)


def _read_all(
    request: Request,
) -> Generator[Progress, None, tuple[list[AnnotatedImage], list[AnnotatedImage]]]:
    """Read the images to learn from and those to replay."""
    annotated = yield from _read(request.sources)
    replay = yield from _read(request.replay)
    if request.replay and not replay:
        raise ValueError("nothing of what is to be replayed counts: choose None")
    return annotated, replay


def _read(
    sources: Iterable[LabelledPlane | Files],
) -> Generator[Progress, None, list[AnnotatedImage]]:
    """Read all images, with a pause after each that is in a layer."""
    from napari_maskrcnn.core.annotations import read_annotated

    sources = list(sources)
    found: list[AnnotatedImage] = []
    for number, source in enumerate(sources):
        yield Progress(number, len(sources), "Reading the images")
        if isinstance(source, Files):
            class_name = source.class_name or None
            if source.labels.is_file():
                class_name = None
            found += read_annotated(source.images, source.labels, class_name=class_name)
        elif (item := source.read()) is not None:
            found.append(item)
    return found


def _giving_way(
    work: Generator[FineTuneProgress, None, FineTuneResult], gate: Gate
) -> Generator[FineTuneProgress, None, FineTuneResult]:
    """Run a training that waits while anything else runs."""
    try:
        while True:
            try:
                record = next(work)
            except StopIteration as stop:
                result: FineTuneResult = stop.value
                return result
            yield record
            while gate.busy:
                time.sleep(LOOK_AGAIN)
                yield replace(
                    record,
                    message="Waiting for another job to end",
                    losses={},
                    validation={},
                )
    finally:
        work.close()


def _checked(
    checkpoint: Checkpoint,
    annotated: Sequence[AnnotatedImage],
    replay: Sequence[AnnotatedImage],
    config: FineTuneConfig,
) -> Checked:
    from napari_maskrcnn.core.fine_tuning import plan
    from napari_maskrcnn.core.fine_tuning.planning import replay_in_words, replay_plan

    known = checkpoint.config["class_names"]
    chosen = plan(known, annotated, config, replay)
    again = replay_in_words(*replay_plan(chosen.class_names, replay, known, config))
    lines = [str(replace(chosen, warnings=())), again]
    return Checked("\n".join(filter(None, lines)), chosen.warnings)


def _trained(
    name: str, path: Path | None, result: FineTuneResult, pictures: Sequence[Any]
) -> Trained:
    return Trained(
        name=name,
        path=path,
        folder=run_folder(name),
        better=result.better,
        before=result.before,
        after=result.after,
        replay_before=result.replay_before,
        replay_after=result.replay_after,
        best_step=result.best_step,
        steps=result.steps,
        seconds=result.seconds,
        ended=result.ended,
        advice=result.recommendation.sentence,
        examples=tuple(pictures),
    )
