"""The command ``napari-maskrcnn calibrate``."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from napari_maskrcnn.core.progress import duration, exhaust, seconds_left

from .cli_model_files import model_to_start_from
from .cli_output import progress_line

if TYPE_CHECKING:
    from .core.progress import Progress


def calibrate(
    images: Annotated[Path, typer.Argument(help="Folder of images.")],
    labels: Annotated[Path, typer.Argument(help="Folder of label images.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    model: Annotated[str, typer.Option(help="Name or file.")] = "nuclei",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Make a model's scores say how likely its masks are right."""
    from .core.calibrating import calibrate as run
    from .core.checkpoints import read_checkpoint, write_checkpoint
    from .core.dataset import read_pairs
    from .core.model_store import stored_dtype

    checkpoint = read_checkpoint(model_to_start_from(model, out))
    annotated = read_pairs(images, labels)
    typer.echo(f"{len(annotated)} annotated images")
    began = time.monotonic()
    result = exhaust(
        run(checkpoint, annotated, device),
        lambda progress: progress_line(_in_words(progress, time.monotonic() - began)),
    )
    progress_line("")
    write_checkpoint(out, result.checkpoint, dtype=stored_dtype(checkpoint))
    for when, figures in (("before", result.before), ("after", result.after)):
        typer.echo(
            f"{when}: AP {figures['ap50']:.3f} at IoU 0.5, {figures['ap75']:.3f} at "
            f"0.75, score threshold {figures['score_threshold']:g}"
        )
    typer.echo(f"Wrote {out}; it learnt from {result.finds} objects that were found")


def _in_words(progress: Progress, seconds: float) -> str:
    if not progress.total:
        return progress.message
    words = f"{progress.done + 1}/{progress.total} {progress.message}"
    left = seconds_left(seconds, progress.done, progress.total)
    return words if left is None else f"{words}, {duration(left)} left"
