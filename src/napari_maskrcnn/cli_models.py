"""The commands ``napari-maskrcnn models``."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003, typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_output import progress_line

if TYPE_CHECKING:
    from .core.model_store import ModelDetails

models_app = typer.Typer(
    help="List, show, download and add models.", no_args_is_help=True
)
MEGABYTE = 1_000_000


@models_app.command("list")
def list_command() -> None:
    """List the models that can be chosen by name."""
    from .core.model_store import list_details

    for details in list_details():
        typer.echo(_line(details))


def _line(details: ModelDetails) -> str:
    from .core.class_names import class_count

    entry = details.entry
    parts = [entry.source, entry.kind, class_count(entry.class_names)]
    parts += [f"{key} {value:g}" for key, value in details.published.items()]
    parts.append(f"{details.size / MEGABYTE:.0f} MB")
    if not entry.downloaded:
        parts.append("not downloaded")
    return f"{entry.name}  ({'; '.join(parts)})  {entry.description}"


@models_app.command("show")
def show_command(name: Annotated[str, typer.Argument(help="Name or file.")]) -> None:
    """Print a model's configuration and provenance."""
    from .core.catalogue import find_in_catalogue
    from .core.checkpoints import read_config
    from .core.model_list import find_model, list_models

    absent = {entry.name for entry in list_models() if not entry.downloaded}
    if name in absent:
        model = find_in_catalogue(name)
        typer.echo(f"Not downloaded: {model.address} ({model.megabytes})")
        typer.echo(json.dumps(model.config(), indent=1))
        return
    path = find_model(name)
    typer.echo(f"{path} ({path.stat().st_size / MEGABYTE:.1f} MB)")
    typer.echo(json.dumps(read_config(path), indent=1))


@models_app.command("download")
def download_command(
    name: Annotated[str, typer.Argument(help="A model of `models list`.")],
) -> None:
    """Download a model of torchvision's, check it and keep it; Ctrl-C stops."""
    from .core.downloads import download_model

    work = download_model(name)
    try:
        while True:
            try:
                progress_line(next(work).message)
            except StopIteration as stop:
                path = stop.value
                break
    finally:
        # After Ctrl-C too: what was fetched goes before the command ends.
        work.close()
        progress_line("")
    typer.echo(f"{name} is in {path}")


@models_app.command("add")
def add_command(
    file: Annotated[
        Path,
        typer.Argument(
            help="A .safetensors checkpoint, or a state dict of a torchvision network, "
            ".pt or .pth."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Under this name.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Class names of a state dict: with commas, or a file, one name a "
            "line or COCO."
        ),
    ] = None,
) -> None:
    """Copy a checkpoint or foreign weights into the folder of your models."""
    from .core.checkpoints import read_config
    from .core.class_names import class_count
    from .core.model_list import add_model

    path = add_model(file, name, classes=classes)
    typer.echo(f"Added {path}")
    if file.suffix != path.suffix:
        config = read_config(path)
        classes_found = class_count(config["class_names"])
        typer.echo(f"It is a {config['architecture']['name']}: {classes_found}")
