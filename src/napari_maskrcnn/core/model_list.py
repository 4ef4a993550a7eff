"""The models that can be chosen by name: bundled, the person's own, torchvision's.

Listing them reads only the headers of files; torch is not imported.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .catalogue import CatalogueModel, cache_folder, catalogue
from .checkpoint_config import (
    NMS_THRESHOLD,
    SCORE_THRESHOLD,
    nms_threshold,
    score_threshold,
)
from .checkpoints import (
    SUFFIX,
    read_checkpoint,
    read_config,
    write_checkpoint,
)
from .kinds import output_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .kinds import OutputKind

Source = Literal["bundled", "yours", "torchvision"]
# What other programs call their weights.
FOREIGN_SUFFIXES = (".pt", ".pth")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be chosen by name.

    Parameters
    ----------
    name : str
        The name.
    path : Path
        Its checkpoint; where it will be, for one that is not downloaded.
    description : str
        One line.
    class_names : tuple of str
        Of class 1, 2, ...; see `class_names.choosable` for those to show.
    source : str
        "bundled", "yours" or "torchvision".
    score_threshold : float
        From which on its objects are shown by default.
    nms_threshold : float
        Up to which overlap its objects are two by default.
    kind : str
        What it finds: "masks", "boxes" or "keypoints".
    downloaded : bool
        Whether the file is there.
    size : int
        Bytes of the file, or of the download.
    image_size_model : bool
        Whether it scales every image to one size: no object size is to be chosen.
    """

    name: str
    path: Path
    description: str
    class_names: tuple[str, ...]
    source: Source
    score_threshold: float = SCORE_THRESHOLD
    nms_threshold: float = NMS_THRESHOLD
    kind: OutputKind = "masks"
    downloaded: bool = True
    size: int = 0
    image_size_model: bool = False

    @property
    def bundled(self) -> bool:
        """Whether it comes with the package."""
        return self.source == "bundled"


def models_folder() -> Path:
    """Return the folder of the user's own models; NAPARI_MASKRCNN_MODELS moves it."""
    override = os.environ.get("NAPARI_MASKRCNN_MODELS")
    if override:
        return Path(override)
    try:
        import platformdirs
    except ImportError:
        # It comes with napari; a bare cluster node need not have it.
        return Path.home() / ".napari-maskrcnn" / "models"
    return platformdirs.user_data_path("napari-maskrcnn", appauthor=False) / "models"


def list_models() -> list[ModelEntry]:
    """List the bundled models, the user's own, and those that torchvision publishes.

    Broken files are left out. A name belongs to the first that has it.
    """
    entries: dict[str, ModelEntry] = {}
    bundled = Path(__file__).parent.parent / "models"
    places: tuple[tuple[Path, Source], ...] = (
        (bundled, "bundled"),
        (models_folder(), "yours"),
    )
    for folder, source in places:
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            entry = _read_entry(path, source)
            if entry is not None:
                entries.setdefault(entry.name, entry)
    for model in catalogue():
        entries.setdefault(model.name, _published_entry(model))
    return list(entries.values())


def _read_entry(path: Path, source: Source) -> ModelEntry | None:
    try:
        return _entry(path, read_config(path), source, path.stat().st_size)
    except (OSError, ValueError):
        return None


def _published_entry(model: CatalogueModel) -> ModelEntry:
    path = cache_folder() / f"{model.name}{SUFFIX}"
    there = _read_entry(path, "torchvision") if path.is_file() else None
    if there is not None:
        return there
    return _entry(path, model.config(), "torchvision", model.size, downloaded=False)


def _entry(
    path: Path,
    config: Mapping[str, Any],
    source: Source,
    size: int,
    *,
    downloaded: bool = True,
) -> ModelEntry:
    return ModelEntry(
        name=path.stem,
        path=path,
        description=str(config.get("description", "")),
        class_names=tuple(config["class_names"]),
        source=source,
        score_threshold=score_threshold(config),
        nms_threshold=nms_threshold(config),
        kind=output_kind(config["architecture"]["name"]),
        downloaded=downloaded,
        size=size,
        image_size_model="image_size" in config,
    )


def find_model(name_or_path: str | Path) -> Path:
    """Return the checkpoint file for a model's name, or for the path of a file.

    Nothing is downloaded.

    Raises
    ------
    ValueError
        When there is neither, or the model is not downloaded yet; the message names
        the known models, or the command that downloads it.
    """
    entries = {entry.name: entry for entry in list_models()}
    entry = entries.get(str(name_or_path))
    if entry is not None and not entry.downloaded:
        raise ValueError(
            f"the model {entry.name!r} is not on this computer yet: download it with "
            f"`napari-maskrcnn models download {entry.name}` or in Manage models"
        )
    if entry is not None:
        return entry.path
    path = Path(name_or_path)
    if path.suffix == SUFFIX and path.is_file():
        return path
    raise ValueError(
        f"no model named {str(name_or_path)!r} and no such {SUFFIX} file; "
        f"known models: {', '.join(sorted(entries)) or 'none'}"
    )


# ---- models are added


def add_model(
    file: str | Path, name: str | None = None, *, classes: str | None = None
) -> Path:
    """Copy a checkpoint, or weights of another program, among the user's models.

    A file that torchvision publishes becomes the downloaded model of its name.

    Parameters
    ----------
    file : str or Path
        A checkpoint of this project, or a state dict ``.pt`` or ``.pth``; see
        `core.foreign`.
    name : str, optional
        Its name from now on; by default the file's stem.
    classes : str, optional
        The class names of a state dict: with commas between them, or a file that
        holds them; see `class_names.names_from_text`.

    Raises
    ------
    ValueError
        When the file is neither, the name is taken, or the class names do not fit.
    """
    file = Path(file)
    if file.suffix.lower() in {".pkl", ".pickle"}:
        raise ValueError(
            f"{file.name} is a pickle, which may run any code when it is opened; "
            "only state dicts (.pt, .pth) and checkpoints (.safetensors) are read"
        )
    if file.suffix.lower() in FOREIGN_SUFFIXES:
        return _add_foreign(file, name, classes)
    if classes is not None:
        raise ValueError(f"{file.name} names its classes itself; leave them out")
    checkpoint = read_checkpoint(file)
    path = _new_path(name or file.stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(path, checkpoint)
    return path


def _add_foreign(file: Path, name: str | None, classes: str | None) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {file}")
    published = _published(file)
    if published is not None and name is None and classes is None:
        from .downloads import store_weights

        return store_weights(published, file)
    path = _new_path(name or file.stem)
    from .foreign import foreign_checkpoint

    checkpoint = foreign_checkpoint(file, published, classes)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(path, checkpoint)
    return path


def _new_path(name: str) -> Path:
    possible = Path(name).name == name and not name.startswith(".")
    if not possible or name in {entry.name for entry in list_models()}:
        raise ValueError(
            f"the name {name!r} is taken or not a file name; choose another"
        )
    return models_folder() / f"{name}{SUFFIX}"


def _published(file: Path) -> CatalogueModel | None:
    """Return the catalogue's model whose published file this is, by its hash."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    for model in catalogue():
        if found.startswith(model.sha256_prefix):
            return model
    return None
