"""The models that are known by name: what is known of them, and their files.

A fine-tuned model ``NAME.safetensors`` may have the folder of its run beside it,
``NAME.run``, with its history; both go by the same name. Imports no torch.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .atomic import replacing
from .catalogue import find_in_catalogue
from .checkpoints import SUFFIX, read_config
from .model_list import ModelEntry, find_model, list_models, models_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from .checkpoints import Checkpoint

RUN_SUFFIX = ".run"
# Characters that a file name cannot have on some system.
_FORBIDDEN = '<>:"|?*/\\'


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """A model and where it comes from, as far as its file says so.

    Parameters
    ----------
    entry : ModelEntry
        Name, file, classes, description.
    parent : str
        Name of the model that it was fine-tuned from; empty for none.
    date : str
        When it was made, ISO 8601, or empty.
    images, objects : int
        What it learnt from; 0 where the file does not say.
    before, after : dict of str to float
        Figures such as "ap50" on what was held out, of its parent and of itself.
    size : int
        Bytes of the file, or of the download where the model is not here yet.
    card : dict of str to str
        What its makers say of it, by heading.
    published : dict of str to float
        Figures of its publisher, in percent, such as "box AP".
    """

    entry: ModelEntry
    parent: str
    date: str
    images: int
    objects: int
    before: dict[str, float]
    after: dict[str, float]
    size: int
    card: dict[str, str] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name."""
        return self.entry.name


def list_details() -> list[ModelDetails]:
    """Return what is known of every model, in the order of `list_models`."""
    found = []
    for entry in list_models():
        try:
            found.append(_details(entry))
        except (OSError, ValueError):
            # Deleted between the listing and the look into it.
            continue
    return found


def _details(entry: ModelEntry) -> ModelDetails:
    if entry.downloaded:
        config = read_config(entry.path)
    else:
        config = find_in_catalogue(entry.name).config()
    source = config.get("provenance")
    source = source if isinstance(source, dict) else {}
    parent = source.get("parent")
    before, after = figures(source)
    return ModelDetails(
        entry=entry,
        parent=str(parent.get("name", "")) if isinstance(parent, dict) else "",
        date=str(source.get("date", "")),
        images=_number(source.get("images")),
        objects=_number(source.get("objects")),
        before=before,
        after=after,
        size=entry.size,
        card=dict(config.get("card", {})),
        published=_numbers(source.get("published")),
    )


def figures(provenance: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the figures of the old and the new model that a provenance holds.

    A model that was not fine-tuned has figures of its own only.
    """
    metrics = provenance.get("metrics")
    if not isinstance(metrics, dict):
        return {}, {}
    if "after" in metrics:
        return _numbers(metrics.get("before")), _numbers(metrics["after"])
    return {}, _numbers(metrics)


def _numbers(values: Any) -> dict[str, float]:
    if not isinstance(values, dict):
        return {}
    return {k: float(v) for k, v in values.items() if isinstance(v, (int, float))}


def _number(value: Any) -> int:
    """How many: a number, a list of names, or numbers by class."""
    if isinstance(value, list):
        return len(value)
    if isinstance(value, dict):
        return sum(_number(part) for part in value.values())
    return int(value) if isinstance(value, (int, float)) else 0


# ---- names


def check_new_name(name: str) -> str:
    """Return a name that a new model can have, without spaces around it.

    Raises
    ------
    ValueError
        When it is no file name on every system, or taken.
    """
    name = name.strip()
    if not name:
        raise ValueError("the model needs a name")
    if name.startswith(".") or name.endswith(".") or set(name) & set(_FORBIDDEN):
        raise ValueError(
            f"{name!r} cannot be a file name: leave out dots at either end and "
            f"{' '.join(_FORBIDDEN)}"
        )
    # Some file systems do not tell upper from lower case.
    taken = {entry.name.lower() for entry in list_models()}
    if name.lower() in taken or model_path(name).exists():
        raise ValueError(f"there is a model {name!r} already: choose another name")
    return name


def free_name(parent: str) -> str:
    """Return a name for a model made from another: nuclei-1, nuclei-2 ..."""
    stem, dash, last = parent.rpartition("-")
    base = stem if dash and last.isdigit() else parent
    taken = {entry.name.lower() for entry in list_models()}
    number = 1
    while (
        f"{base}-{number}".lower() in taken
        or model_path(f"{base}-{number}").exists()
        or run_folder(f"{base}-{number}").exists()
    ):
        number += 1
    return f"{base}-{number}"


def model_path(name: str) -> Path:
    """Return the file of a person's own model of that name, there or not."""
    return models_folder() / f"{name}{SUFFIX}"


def run_folder(name: str) -> Path:
    """Return the folder of the run that made, or makes, a model; there or not."""
    return models_folder() / f"{name}{RUN_SUFFIX}"


# ---- acts


def rename_model(name: str, new_name: str) -> Path:
    """Give one of the person's own models another name; return its file.

    Raises
    ------
    ValueError
        When there is no such model, it is bundled, or the new name will not do.
    """
    path = own_model(name).path
    new_name = check_new_name(new_name)
    if run_folder(new_name).exists():
        raise ValueError(f"there is a run of the name {new_name!r}: choose another")
    target = path.with_name(f"{new_name}{SUFFIX}")
    os.replace(path, target)
    if run_folder(name).is_dir():
        os.replace(run_folder(name), run_folder(new_name))
    return target


def delete_model(name: str) -> None:
    """Delete one of the person's own models, and the folder of its run.

    Of a downloaded model the download is deleted; it can be downloaded again.

    Raises
    ------
    ValueError
        When there is no such model on this computer, or it is bundled.
    """
    entry = _model(name)
    if entry.source == "torchvision":
        find_model(name).unlink()
        return
    own_model(name).path.unlink()
    if run_folder(name).is_dir():
        shutil.rmtree(run_folder(name))


def export_model(name: str, target: str | Path) -> Iterator[int]:
    """Copy a model's file to another place in pieces, whole or not at all.

    Yields
    ------
    int
        The bytes written so far.

    Raises
    ------
    ValueError
        When there is no such model, or the target does not end in ``.safetensors`` or
        is the model itself.
    """
    target = Path(target)
    source = find_model(_model(name).name)
    if target.suffix != SUFFIX:
        raise ValueError(f"the file must end in {SUFFIX}, got {target.name!r}")
    if target.exists() and target.samefile(source):
        raise ValueError(f"{target.name} is the model itself: choose another place")
    with (
        replacing(target) as temporary,
        source.open("rb") as old,
        temporary.open("wb") as new,
    ):
        while piece := old.read(1 << 23):
            new.write(piece)
            yield new.tell()


def own_model(name: str) -> ModelEntry:
    """Return one of the person's own models; ValueError if it is not one."""
    entry = _model(name)
    if entry.bundled:
        raise ValueError(f"{name!r} comes with the package and stays as it is")
    if entry.source == "torchvision":
        raise ValueError(f"{name!r} is torchvision's and keeps its name")
    return entry


def _model(name: str) -> ModelEntry:
    for entry in list_models():
        if entry.name == name:
            return entry
    raise ValueError(f"there is no model {name!r} any more")


def stored_dtype(checkpoint: Checkpoint) -> torch.dtype:
    """Return the precision in which a checkpoint keeps its weights.

    A model made from it is written in the same, so that what did not learn stays equal
    to the bit and encodings go on to hold: see `Checkpoint.trunk_id`.
    """
    return next(
        value.dtype
        for key, value in sorted(checkpoint.state.items())
        if value.is_floating_point() and "running_" not in key
    )
