"""The command ``napari-maskrcnn fine-tune``."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_maskrcnn.core.progress import exhaust

from .cli_model_files import model_to_start_from
from .cli_output import progress_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .core.checkpoints import Checkpoint
    from .core.dataset import AnnotatedImage
    from .core.fine_tuning import FineTuneConfig, FineTuneProgress, FineTuneResult

Part = Literal["heads", "rpn", "fpn", "all"]
_FIGURES = {
    "ap50": "AP at IoU 0.5",
    "ap75": "AP at IoU 0.75",
    "ap50_any_class": "AP at IoU 0.5, any class",
    "score_threshold": "Score threshold",
}


def fine_tune(
    images: Annotated[Path, typer.Argument(help="Folder of images.")],
    labels: Annotated[
        Path, typer.Argument(help="Folder of label images, or a COCO file.")
    ],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    model: Annotated[str, typer.Option(help="To start from: name or file.")] = "nuclei",
    train: Annotated[
        Part | None, typer.Option(help="What learns; by default the heads.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time budget instead.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all randomness.")] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="Class of label images' objects.")
    ] = None,
    drop: Annotated[
        str | None, typer.Option(help="Classes to give up, with commas.")
    ] = None,
    replay: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Images and labels of what the model knows already."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A JSON configuration.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Fine-tune a model on your images; run it again to go on after a stop.

    The new model is written whether or not it is better: the table says which it is.
    State, history and the best model so far are kept in the folder OUT.run.
    Started by torchrun, several processes share the work.
    """
    start = model_to_start_from(model, out)
    values = _values(config, drop, train=train, steps=steps, minutes=minutes, seed=seed)
    from .core.annotations import read_annotated
    from .core.checkpoints import read_checkpoint, write_checkpoint
    from .core.fine_tuning import FineTuneConfig
    from .core.fine_tuning import fine_tune as run
    from .core.fine_tuning.team import assembled
    from .core.model_store import stored_dtype

    settings = FineTuneConfig.from_dict(values)
    checkpoint = read_checkpoint(start)
    annotated = read_annotated(images, labels, class_name=class_name)
    again = read_annotated(*replay) if replay else []
    run_folder = out.with_suffix(".run")
    with assembled(device) as (team, own_device):
        if team.leads:
            typer.echo(_plan_in_words(checkpoint, annotated, again, settings))
        work = run(
            checkpoint, annotated, settings, replay=again, device=own_device,
            run_folder=run_folder, parent=start.stem, team=team,
        )  # fmt: skip
        result = exhaust(work, _tell if team.leads else None)
    if not team.leads:
        return
    progress_line("")
    write_checkpoint(out, result.checkpoint, dtype=stored_dtype(checkpoint))
    typer.echo(report(result))
    typer.echo(f"Wrote {out}; the history is in {run_folder}")


def _plan_in_words(
    checkpoint: Checkpoint,
    annotated: Sequence[AnnotatedImage],
    replay: Sequence[AnnotatedImage],
    config: FineTuneConfig,
) -> str:
    from .core.fine_tuning import plan
    from .core.fine_tuning.planning import replay_in_words, replay_plan

    known = checkpoint.config["class_names"]
    chosen = plan(known, annotated, config, replay)
    again = replay_plan(chosen.class_names, replay, known, config)
    return "\n".join(filter(None, [str(chosen), replay_in_words(*again)]))


def _values(config: Path | None, drop: str | None, **options: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if config is not None:
        try:
            values = json.loads(config.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{config} is not valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise ValueError(f"{config} must hold a JSON object")
    if options["steps"] is not None:
        # A number of steps and a time budget exclude each other.
        values["minutes"] = None
    if drop:
        options["drop_classes"] = tuple(name.strip() for name in drop.split(","))
    given = {key: value for key, value in options.items() if value is not None}
    return {**values, **given}


def _tell(progress: FineTuneProgress) -> None:
    left = f"{progress.seconds_left / 60:.0f} min left"
    if progress.validation:
        progress_line("")
        shown = {k: v for k, v in progress.validation.items() if k != "proposed"}
        figures = ", ".join(f"{key} {value:.3f}" for key, value in shown.items())
        typer.echo(f"step {progress.step}: {figures}")
    elif progress.losses:
        loss = progress.losses["loss"]
        progress_line(f"step {progress.step}: loss {loss:.3f}, {left}")
    elif not progress.step:
        progress_line(progress.message)


def report(result: FineTuneResult) -> str:
    """Return a table of the figures before and after, and what they say."""
    lines = [f"{'':30}{'before':>8}{'after':>8}"]
    parts = [
        ("", result.before, result.after),
        (" (replay)", result.replay_before, result.replay_after),
    ]
    for suffix, before, after in parts:
        for key in after:
            name = _FIGURES.get(key, key) + suffix
            lines.append(f"{name:30}{before[key]:8.3f}{after[key]:8.3f}")
    verdict = "better than" if result.better else "NOT better than"
    lines += [
        f"{result.steps} steps in {result.seconds / 60:.1f} min ({result.ended}); "
        f"the best was step {result.best_step}",
        f"The new model is {verdict} the old one on what was held out",
        result.recommendation.sentence,
    ]
    return "\n".join(lines)
