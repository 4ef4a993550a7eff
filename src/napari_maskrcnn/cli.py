"""The command ``napari-maskrcnn``."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.words import counted, one_line

from .cli_calibrate import calibrate
from .cli_fine_tune import fine_tune
from .cli_model_files import check_model_out
from .cli_models import models_app
from .cli_output import progress_line

# Modules that import torch are imported inside the commands: `--help` stays quick.

app = typer.Typer(
    help="Segment with Mask R-CNN, fine-tune, train, evaluate, and manage models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(models_app, name="models")
app.command("calibrate")(calibrate)
app.command("fine-tune")(fine_tune)

CocoMode = Literal["auto", "rle", "polygon"]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Images = Annotated[list[Path], typer.Argument(help="Image files or folders.")]


def main() -> None:
    """Run the command line; one line on stderr for what a person can mend."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        # Ends in SystemExit. Wrong options are typer's to report: some versions have
        # a copy of click of their own, so the class of the error has no one name.
        app()
    except KeyboardInterrupt:
        sys.exit(_fail("stopped", 130))
    except (ValueError, OSError, ImportError, MemoryError) as error:
        sys.exit(_fail(one_line(error) or type(error).__name__))


def _fail(message: str, code: int = 1) -> int:
    typer.echo(f"napari-maskrcnn: {message}", err=True)
    return code


@app.command()
def demo(
    out: Annotated[
        Path | None, typer.Option(help="Folder to write into.", file_okay=False)
    ] = None,
    device: Device = "auto",
) -> None:
    """Segment the bundled sample; open napari, or write pictures without a display."""
    from .demo import run_demo

    for line in run_demo(out, device):
        typer.echo(line)


@app.command()
def segment(
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    model: Annotated[str | None, typer.Option(help="Name or file.")] = None,
    score: Annotated[float | None, typer.Option(help="Score threshold.")] = None,
    mask: Annotated[float | None, typer.Option(help="Mask threshold.")] = None,
    overlap: Annotated[float | None, typer.Option(help="NMS threshold.")] = None,
    min_area: Annotated[int | None, typer.Option(help="Smallest area, pixels.")] = None,
    object_size: Annotated[
        float | None, typer.Option(help="Typical object size in pixels; else found.")
    ] = None,
    channel: Annotated[
        int | None, typer.Option(help="Of a multichannel image.")
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Names, with commas.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, mps.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A saved recipe.json.")] = None,
    stack: Annotated[
        bool | None,
        typer.Option(
            "--stack/--no-stack",
            help="Whether the first axis is time or depth; else the file decides.",
        ),
    ] = None,
) -> None:
    """Segment images and write labels, tables, overlays and COCO annotations."""
    from dataclasses import replace

    from .core.batch import FileResult, find_images, segment_files
    from .core.recipe import Recipe

    given: dict[str, Any] = {
        "model": model,
        "score_threshold": score,
        "mask_threshold": mask,
        "nms_threshold": overlap,
        "min_area": min_area,
        "object_size": object_size,
        "channel": channel,
        "classes": tuple(classes.split(",")) if classes else None,
        "device": device,
    }
    chosen = replace(
        Recipe.read(recipe) if recipe else Recipe(),
        **{key: value for key, value in given.items() if value is not None},
    )
    paths = find_images(images)
    from .core.detector import load_model

    detector = load_model(chosen.model, chosen.device)
    failed: list[bool] = []
    for event in segment_files(detector, paths, out, chosen, stack=stack):
        if isinstance(event, FileResult):
            progress_line("")
            failed.append(bool(event.error))
            _report(event)
        else:
            progress_line(f"{event.done + 1}/{event.total} {event.message}")
    if not all(failed):
        typer.echo(f"Results are in {out}")
    if any(failed):
        raise typer.Exit(1)


def _report(result: Any) -> None:
    found = result.frames or (result.instances,)
    if found[0] is None:
        name, error = result.path.name, result.error
        _fail(error if error.startswith(name) else f"{name}: {error}")
        return
    size = result.object_size
    note = "" if size is None else f" (object size {size:.0f} px)"
    where = f" in {len(found)} frames" if result.frames else ""
    typer.echo(f"{result.path.name}: {sum(map(len, found))} objects{where}{note}")
    for warning in dict.fromkeys(text for x in found for text in x.warnings):
        typer.echo(f"{result.path.name}: {warning}", err=True)


@app.command()
def train(
    images: Annotated[Path, typer.Argument(help="Folder of images.")],
    labels: Annotated[Path, typer.Argument(help="Folder of label images.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    config: Annotated[Path | None, typer.Option(help="A JSON configuration.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time budget instead.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all randomness.")] = None,
    apart_from: Annotated[
        Path | None, typer.Option(help="Images that must not be among them.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Train a whole network; run it again to go on after a stop.

    State and history are kept in the folder OUT.run until the run is complete.
    """
    from .core.checkpoints import write_checkpoint

    check_model_out(out)
    values = _read_json(config) if config else {}
    if steps is not None:
        # A number of steps and a time budget exclude each other.
        values = {**values, "steps": steps, "minutes": None}
    for key, value in (("minutes", minutes), ("seed", seed)):
        if value is not None:
            values[key] = value
    from napari_maskrcnn.core import preload  # noqa: F401

    import torch

    from .core.dataset import read_pairs
    from .core.training import train as train_steps
    from .core.training_config import TrainConfig

    settings = TrainConfig.from_dict(values)
    if apart_from is not None:
        _check_apart(images, apart_from)
    annotated = read_pairs(images, labels)
    typer.echo(f"{len(annotated)} annotated images")
    run_folder = out.with_suffix(".run")
    work = train_steps(annotated, settings, device=device, run_folder=run_folder)
    write_checkpoint(out, exhaust(work, _report_training), dtype=torch.float16)
    progress_line("")
    typer.echo(f"Wrote {out}; the history is in {run_folder}")


def _check_apart(images: Path, judges: Path) -> None:
    """Refuse to learn from what is to judge."""
    from .core.near_duplicates import near_duplicates

    pairs = near_duplicates(images, judges)
    if pairs:
        names = ", ".join(f"{a} ({b})" for a, b in pairs[:5])
        more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
        raise ValueError(
            f"{judges} holds images that would be learnt from: {names}{more}. Take "
            "them out of one of the folders"
        )


def _report_training(progress: Any) -> None:
    left = progress.seconds_left / 60
    if progress.validation:
        figures = ", ".join(f"{k} {v:.3f}" for k, v in progress.validation.items())
        typer.echo(f"\rstep {progress.step}: {figures}, {left:.0f} min left")
    elif progress.losses:
        loss = progress.losses["loss"]
        progress_line(f"step {progress.step}: loss {loss:.3f}, {left:.0f} min left")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold a JSON object")
    return values


@app.command()
def evaluate(
    truth: Annotated[Path, typer.Argument(help="Folder of label images, or COCO.")],
    predicted: Annotated[Path, typer.Argument(help="Likewise; may be segment's OUT.")],
    as_json: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here.")
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(help="CSV with columns id and modality: figures for each group."),
    ] = None,
) -> None:
    """Compare predictions with the truth: AP, F1, PQ, and COCO mAP where it applies."""
    from .core.comparison import compare

    report = compare(truth, predicted, groups=groups)
    typer.echo(report.to_text())
    if as_json:
        report.write(as_json)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Label images, or a COCO file.")],
    target: Annotated[Path, typer.Argument(help="A COCO file, or a folder.")],
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images, for their names.")
    ] = None,
    mode: Annotated[CocoMode, typer.Option(help="How masks are written.")] = "auto",
) -> None:
    """Convert label images to COCO, or COCO to label images."""
    from .core.coco.convert import coco_to_labels, labels_to_coco

    if source.is_file() and source.suffix.lower() == ".json":
        files, faults = coco_to_labels(source, target)
        typer.echo(f"Wrote {len(files)} label images to {target}")
    else:
        summary = labels_to_coco(source, target, images=images, mode=mode)
        faults = summary.faults
        typer.echo(str(summary))
    for fault in faults:
        typer.echo(str(fault), err=True)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A COCO file.")],
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images; else the file's.")
    ] = None,
) -> None:
    """List every fault of a COCO file, with what reading does about it."""
    from .core.coco import check as check_file

    faults = check_file(file, folder=images)
    for fault in faults:
        typer.echo(str(fault))
    count = counted(len(faults), "fault")
    typer.echo(count if faults else "No fault found")
    if faults:
        raise typer.Exit(1)
