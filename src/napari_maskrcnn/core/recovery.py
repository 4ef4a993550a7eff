"""Corrections in a side file, so that a crash costs seconds of work and not hours.

A file holds the planes of one image's labels that a person changed, as runs of equal
pixels in an ``.npz``, with the table of objects and the marks as JSON. A plane of
2048 x 2048 pixels with a thousand objects takes about a tenth of a megabyte.

The file's name begins with a digest of the image, so that the same image is known
again, also under another name or in another folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .atomic import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = "napari-maskrcnn/corrections-1"
SUFFIX = ".npz"
DAMAGED = ".damaged"
# Samples along each axis of a plane that the digest looks at.
SAMPLES = 256
# An axis of up to this many entries at the end is taken for colours.
MAX_COLOURS = 4
# What readers of zip, npy and JSON raise for files that are cut off or overwritten.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, LookupError, ValueError, TypeError,
    AttributeError, NotImplementedError, OverflowError, RuntimeError, MemoryError,
)  # fmt: skip


class DamagedFileError(ValueError):
    """A file of corrections that cannot be read."""


@dataclass(frozen=True, slots=True)
class ImageIdentity:
    """What an image is known by.

    Parameters
    ----------
    path : str
        Where it was opened from; empty for one that came from no file.
    shape : tuple of int
        Of its array, colours included.
    dtype : str
        Of its array.
    digest : str
        Of its shape, dtype and some of its pixels.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class SavedPlane:
    """One corrected plane.

    Parameters
    ----------
    axes, position : tuple of int
        Which plane, as `viewer.layers.Plane` says it.
    label_image : ndarray
        Shape (H, W), unsigned or signed integers.
    edited : tuple of int
        Ids of the objects that were drawn, reshaped, merged or split by hand.
    removed : int
        How many objects were deleted by hand.
    decided : ndarray of bool or None
        Shape (H, W): where a person decided, so that predictions give way.
    """

    axes: tuple[int, int]
    position: tuple[int, ...]
    label_image: NDArray[Any]
    edited: tuple[int, ...] = ()
    removed: int = 0
    decided: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a file says of itself, without its pixels.

    Parameters
    ----------
    image : ImageIdentity
        The image that was corrected.
    layer_name : str
        Of the Labels layer.
    saved_at : datetime
        With its time zone.
    edited, removed, reviewed : int
        Objects changed, deleted and approved by hand.
    owner : dict
        Which process and session wrote it.
    """

    image: ImageIdentity
    layer_name: str
    saved_at: datetime
    edited: int
    removed: int
    reviewed: int
    owner: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The image's file name, or the layer's name."""
        return Path(self.image.path).name or self.layer_name

    def sentence(self) -> str:
        """Say what there is, and when it was saved in the local time."""
        parts = [
            f"{count:,} {word}"
            for count, word in (
                (self.edited, "edited"),
                (self.removed, "deleted"),
                (self.reviewed, "approved"),
            )
            if count
        ]
        when = self.saved_at.astimezone()
        return (
            f"Unsaved corrections of {self.name} from {when:%d %b %Y, %H:%M}: "
            f"{', '.join(parts) or 'no'} objects"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Corrections:
    """All that a person did to the labels of one image.

    Parameters
    ----------
    summary : Summary
        What a person is told before restoring.
    planes : tuple of SavedPlane
        The planes that were changed.
    table : dict of str to list
        The rows of these planes in the table of objects, by column; None for no value.
    metadata : dict
        Marks and class names of the layer, as JSON has them.
    class_names : tuple of str
        Of the model.
    """

    summary: Summary
    planes: tuple[SavedPlane, ...]
    table: dict[str, list[Any]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()


def state_folder() -> Path:
    """Return the person's folder of side files; NAPARI_MASKRCNN_STATE moves it."""
    override = os.environ.get("NAPARI_MASKRCNN_STATE")
    if override:
        return Path(override)
    import platformdirs

    folder = platformdirs.user_state_path("napari-maskrcnn", appauthor=False)
    return folder / "corrections"


def identify(array: Any, path: str = "") -> ImageIdentity:
    """Return what an image is known by, reading a small part of it.

    Parameters
    ----------
    array : array-like
        With ``shape`` and ``dtype``; lazy arrays are read in up to three planes.
    path : str
        Where it was opened from.
    """
    shape = tuple(int(length) for length in array.shape)
    dtype = str(np.dtype(array.dtype))
    digest = hashlib.blake2b(digest_size=12, usedforsecurity=False)
    digest.update(f"{shape} {dtype}".encode())
    colours = len(shape) > 2 and shape[-1] <= MAX_COLOURS
    leading = shape[: max(0, len(shape) - (3 if colours else 2))]
    steps = tuple(
        slice(None, None, max(1, length // SAMPLES))
        for length in shape[len(leading) : len(leading) + 2]
    )
    for position in _some(leading):
        digest.update(np.ascontiguousarray(array[(*position, *steps)]).tobytes())
    return ImageIdentity(path, shape, dtype, digest.hexdigest())


def _some(leading: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the first, the middle and the last plane of a stack."""
    if not all(leading):
        return []
    places = [
        tuple(round(part * (length - 1)) for length in leading)
        for part in (0.0, 0.5, 1.0)
    ]
    return list(dict.fromkeys(places))


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
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return f"the saved corrections {path.name} are damaged: {reason}"
