"""Download a model of the catalogue: checked, converted to a checkpoint, kept."""

from __future__ import annotations

import errno
import hashlib
import shutil
from typing import TYPE_CHECKING

from .catalogue import MEGABYTE, CatalogueModel, cache_folder, find_in_catalogue
from .checkpoints import SUFFIX, Checkpoint, write_checkpoint
from .fetching import Answer, Cut, Fetch
from .progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

# How often in all a connection that was cut is taken up again.
ATTEMPTS = 5


def cached_path(name: str) -> Path:
    """Return the file of a downloaded model, there or not."""
    return cache_folder() / f"{name}{SUFFIX}"


def download_model(name: str) -> Generator[Progress, None, Path]:
    """Download a model, check it and keep it as a checkpoint; once is enough.

    Closing the generator stops the download and leaves nothing of it.

    Parameters
    ----------
    name : str
        A model of the catalogue; see `core.catalogue`.

    Yields
    ------
    Progress
        Bytes of the download, several times a second even while a server stalls.

    Returns
    -------
    Path
        The checkpoint.

    Raises
    ------
    ValueError
        When the name is not known, the file cannot be fetched, or it is another one
        than was published. The message says what to do.
    """
    model = find_in_catalogue(name)
    path = cached_path(name)
    if path.is_file():
        return path
    weights = path.with_name(f".{model.file_name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_room(model, path.parent)
        yield from _fetch(model, weights)
        yield Progress(0, 0, f"Reading {model.file_name}")
        checkpoint = _read(model, weights)
        yield Progress(0, 0, f"Storing {name}")
        write_checkpoint(path, checkpoint)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _no_room(model, path.parent) from error
    finally:
        weights.unlink(missing_ok=True)
    return path


def store_weights(model: CatalogueModel, file: Path) -> Path:
    """Keep a published file that came by other ways than `download_model`."""
    path = cached_path(model.name)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(path, _read(model, file))
    return path


def _read(model: CatalogueModel, weights: Path) -> Checkpoint:
    from .foreign import published_checkpoint, read_weights

    try:
        return published_checkpoint(model, read_weights(weights))
    except ValueError as error:
        # By the name that a person knows; the temporary one says nothing.
        raise ValueError(str(error).replace(weights.name, model.file_name)) from error


def _check_room(model: CatalogueModel, folder: Path) -> None:
    # For a moment the published file and the checkpoint are both there.
    if shutil.disk_usage(folder).free < 2 * model.size:
        raise _no_room(model, folder)


def _no_room(model: CatalogueModel, folder: Path) -> ValueError:
    return ValueError(
        f"there is no room in {folder}: {model.name} needs "
        f"{2 * model.size / MEGABYTE:.0f} MB free while it is downloaded; make room or "
        "name another folder in NAPARI_MASKRCNN_CACHE"
    )


# ---- the download itself


def _fetch(model: CatalogueModel, target: Path) -> Generator[Progress, None, None]:
    """Write the published file, going on where a cut connection left off."""
    digest = hashlib.sha256()
    done, total = 0, model.size
    with target.open("wb") as file:
        for attempt in range(1, ATTEMPTS + 1):
            fetch = Fetch(model.address, done)
            try:
                for piece in fetch:
                    if isinstance(piece, Answer):
                        total = piece.total or total
                        if piece.start != done:
                            # The server begins anew, whatever it was asked for.
                            done, digest = 0, hashlib.sha256()
                            file.seek(0)
                            file.truncate()
                    elif piece:
                        file.write(piece)
                        digest.update(piece)
                        done += len(piece)
                    yield Progress(done, max(done, total), _message(model, done, total))
                break
            except Cut as error:
                if attempt == ATTEMPTS:
                    raise ValueError(_in_words(model, error, done, total)) from error
            finally:
                fetch.close()
    found = digest.hexdigest()
    if not found.startswith(model.sha256_prefix):
        raise ValueError(
            f"what came from {model.address} is not the file that was published: its "
            f"SHA-256 begins with {found[: len(model.sha256_prefix)]} in place of "
            f"{model.sha256_prefix}; it was deleted, try again"
        )


def _message(model: CatalogueModel, done: int, total: int) -> str:
    return (
        f"Downloading {model.name}: {done / MEGABYTE:.0f} of "
        f"{max(done, total) / MEGABYTE:.0f} MB"
    )


def _in_words(model: CatalogueModel, error: Cut, done: int, total: int) -> str:
    if done:
        return (
            f"the download of {model.name} broke off after {done / MEGABYTE:.1f} of "
            f"{total / MEGABYTE:.1f} MB ({error}); try again"
        )
    return (
        f"{model.address} cannot be reached ({error}); fetch that file on a computer "
        "that can, copy it here and run: napari-maskrcnn models add "
        f"{model.file_name}"
    )
