"""Corrections in a side file, so that a crash costs seconds of work and not hours.

A file holds the planes of one image's labels that a person changed, as runs of equal
pixels in an ``.npz``, with the table of objects and the marks as JSON. A plane of
2048 x 2048 pixels with a thousand objects takes about a tenth of a megabyte.

The file's name begins with the digest of the image, see `core.corrections`.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .atomic import replacing
from .corrections import Corrections, ImageIdentity, SavedPlane, Summary
from .words import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = "napari-maskrcnn/corrections-1"
SUFFIX = ".npz"
DAMAGED = ".damaged"
# What readers of zip, npy and JSON raise for files that are cut off or overwritten.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, LookupError, ValueError, TypeError,
    AttributeError, NotImplementedError, OverflowError, RuntimeError, MemoryError,
)  # fmt: skip


class DamagedFileError(ValueError):
    """A file of corrections that cannot be read."""


def state_folder() -> Path:
    """Return the person's folder of side files; NAPARI_MASKRCNN_STATE moves it."""
    override = os.environ.get("NAPARI_MASKRCNN_STATE")
    if override:
        return Path(override)
    import platformdirs

    folder = platformdirs.user_state_path("napari-maskrcnn", appauthor=False)
    return folder / "corrections"


def corrections_path(folder: Path, image: ImageIdentity, token: str) -> Path:
    """Return the file for an image that belongs to a session's token."""
    return folder / f"{image.digest}-{token}{SUFFIX}"


def corrections_files(folder: Path, image: ImageIdentity) -> list[Path]:
    """Return the files for an image, the newest first."""
    files = []
    for path in folder.glob(f"{image.digest}-*{SUFFIX}"):
        # Another window may be replacing or deleting its own just now.
        try:
            files.append((path.stat().st_mtime_ns, path))
        except FileNotFoundError:
            continue
    return [path for _, path in sorted(files, reverse=True)]


def write_corrections(path: Path, corrections: Corrections) -> None:
    """Write a file whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {}
    planes = []
    for index, plane in enumerate(corrections.planes):
        for name, array in (("labels", plane.label_image), ("decided", plane.decided)):
            if array is not None:
                lengths, values = runs_of(array)
                arrays[f"{name}_lengths_{index}"] = lengths
                arrays[f"{name}_values_{index}"] = values
        planes.append(
            {
                "axes": plane.axes,
                "position": plane.position,
                "shape": plane.label_image.shape,
                "edited": plane.edited,
                "removed": plane.removed,
                "decided": plane.decided is not None,
            }
        )
    header = {
        "format": FORMAT,
        "summary": _summary_to_json(corrections.summary),
        "planes": planes,
        "table": corrections.table,
        "metadata": corrections.metadata,
        "class_names": corrections.class_names,
    }
    text = json.dumps(header, default=_plain).encode()
    arrays["header"] = np.frombuffer(text, np.uint8)
    with replacing(path, keep_suffix=True) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]


def read_summary(path: Path) -> Summary:
    """Read what a file says of itself.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    DamagedFileError
        When it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _summary_from_json(_header(arrays)["summary"])
    except FileNotFoundError:
        raise
    except (*_BROKEN, OSError) as error:
        raise DamagedFileError(_damaged(path, error)) from error


def read_corrections(path: Path) -> Corrections:
    """Read a file of corrections; raises as `read_summary`."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            header = _header(arrays)
            return Corrections(
                summary=_summary_from_json(header["summary"]),
                planes=tuple(
                    _plane(arrays, index, entry)
                    for index, entry in enumerate(header["planes"])
                ),
                table=dict(header["table"]),
                metadata=dict(header["metadata"]),
                class_names=tuple(header["class_names"]),
            )
    except FileNotFoundError:
        raise
    except (*_BROKEN, OSError) as error:
        raise DamagedFileError(_damaged(path, error)) from error


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that it is not offered again, and return its name."""
    for number in range(1000):
        aside = path.with_name(f"{path.name}{DAMAGED}{number or ''}")
        if not aside.exists():
            return path.rename(aside)
    raise OSError(f"there are too many damaged files beside {path}")


def runs_of(array: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[Any]]:
    """Return the runs of equal pixels of an array: lengths and values."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if not flat.size:
        return np.zeros(0, np.uint32), flat
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    return lengths.astype(np.uint32), flat[starts]


def _plane(arrays: Any, index: int, entry: dict[str, Any]) -> SavedPlane:
    shape = tuple(entry["shape"])
    decided = None
    if entry["decided"]:
        decided = _from_runs(arrays, f"decided_%s_{index}", shape).astype(np.bool_)
    axes = entry["axes"]
    return SavedPlane(
        axes=(int(axes[0]), int(axes[1])),
        position=tuple(int(value) for value in entry["position"]),
        label_image=_from_runs(arrays, f"labels_%s_{index}", shape),
        edited=tuple(int(value) for value in entry["edited"]),
        removed=int(entry["removed"]),
        decided=decided,
    )


def _from_runs(arrays: Any, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    lengths, values = arrays[name % "lengths"], arrays[name % "values"]
    size = int(np.prod(shape))
    # Before np.repeat, which would ask for whatever memory a wrong number says.
    if int(lengths.sum(dtype=np.uint64)) != size:
        raise ValueError(f"the runs do not add up to {size} pixels")
    image: NDArray[Any] = np.repeat(values, lengths).reshape(shape)
    return image


def _header(arrays: Any) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(arrays["header"].tobytes())
    if header["format"] != FORMAT:
        raise ValueError(f"the format is {header['format']!r}, not {FORMAT!r}")
    return header


def _summary_to_json(summary: Summary) -> dict[str, Any]:
    image = summary.image
    return {
        "path": image.path,
        "shape": image.shape,
        "dtype": image.dtype,
        "digest": image.digest,
        "layer_name": summary.layer_name,
        "saved_at": summary.saved_at.astimezone(UTC).isoformat(),
        "edited": summary.edited,
        "removed": summary.removed,
        "reviewed": summary.reviewed,
        "owner": summary.owner,
    }


def _summary_from_json(entry: dict[str, Any]) -> Summary:
    return Summary(
        image=ImageIdentity(
            str(entry["path"]),
            tuple(int(length) for length in entry["shape"]),
            str(entry["dtype"]),
            str(entry["digest"]),
        ),
        layer_name=str(entry["layer_name"]),
        saved_at=datetime.fromisoformat(entry["saved_at"]),
        edited=int(entry["edited"]),
        removed=int(entry["removed"]),
        reviewed=int(entry["reviewed"]),
        owner=dict(entry["owner"]),
    )


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a value that a table or metadata may hold."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)


def _damaged(path: Path, error: BaseException) -> str:
    reason = one_line(error)[:120] or type(error).__name__
    return f"the saved corrections {path.name} are damaged: {reason}"
