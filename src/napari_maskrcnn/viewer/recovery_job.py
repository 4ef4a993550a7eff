"""Corrections into a side file and back; the part that runs beside the window."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.corrections import (
    Corrections,
    ImageIdentity,
    SavedPlane,
    Summary,
    identify,
)
from napari_maskrcnn.core.progress import Progress
from napari_maskrcnn.core.recovery import (
    DamagedFileError,
    corrections_files,
    corrections_path,
    read_summary,
    set_aside,
    write_corrections,
)
from napari_maskrcnn.viewer.features import METADATA, count_objects, normalised
from napari_maskrcnn.viewer.ledger import Ledger
from napari_maskrcnn.viewer.painting import edited_mask

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator
    from pathlib import Path

    import pandas as pd

    from napari_maskrcnn.viewer.layers import Plane
    from napari_maskrcnn.viewer.painting import PlaneRecord

    Work = Generator[Progress, None, Any]
# Everything here takes well under a second, and nobody looks at its progress.
PAUSE = Progress(0, 0, "Saving the corrections")


@dataclass(frozen=True, slots=True)
class Offer:
    """Corrections that a person may have back.

    Parameters
    ----------
    path : Path
        Their file.
    summary : Summary
        What it says of itself.
    """

    path: Path
    summary: Summary


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a save needs of the viewer, taken in the main thread; no pixels are copied.

    Parameters
    ----------
    folder : Path
        Of the side files.
    owner : dict
        Process and session; its "token" is a part of the file's name.
    source : object
        The image's array.
    source_path : str
        Where the image was opened from.
    labels : ndarray
        The Labels layer's array: read plane by plane in the thread.  A stroke that
        comes in between is followed by another save.
    layer_name : str
        Of the Labels layer.
    lock : threading.Lock
        Of the Labels layer: one thread at a time writes its file.
    planes : dict
        The planes that were touched, with what is kept of each.
    table : DataFrame
        A copy of the layer's table.
    metadata : dict
        A copy of our part of the layer's metadata.
    """

    folder: Path
    owner: dict[str, Any]
    source: Any
    source_path: str
    labels: Any
    layer_name: str
    lock: threading.Lock
    planes: dict[Plane, PlaneRecord | None]
    table: pd.DataFrame
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """How a save ended.

    Parameters
    ----------
    image : ImageIdentity
        The image.
    path : Path
        The file of this image and session.
    state : int
        A checksum of what was or would have been written.
    edited : bool
        Whether a person did anything; without that there is no file.
    """

    image: ImageIdentity
    path: Path
    state: int
    edited: bool


def save(
    snapshot: Snapshot, image: ImageIdentity | None, known: int | None, *, write: bool
) -> Generator[Progress, None, Saved]:
    """Write the corrections, unless they are those that were written last.

    Parameters
    ----------
    snapshot : Snapshot
        What there is.
    image : ImageIdentity or None
        The image, if it was identified before.
    known : int or None
        The checksum of the last save.
    write : bool
        False only computes the checksum: the person has saved the layer elsewhere.
    """
    image = image or identify(snapshot.source, snapshot.source_path)
    yield PAUSE
    with snapshot.lock:
        planes = []
        for plane, record in snapshot.planes.items():
            saved = _saved_plane(snapshot, plane, record)
            if saved is not None:
                planes.append(saved)
            yield PAUSE
        corrections = _corrections(snapshot, image, planes)
        state = _state(corrections)
        path = corrections_path(snapshot.folder, image, snapshot.owner["token"])
        if not planes:
            path.unlink(missing_ok=True)
        elif write and state != known:
            _write(path, corrections)
    return Saved(image, path, state, bool(planes))


def _write(path: Path, corrections: Corrections) -> None:
    try:
        write_corrections(path, corrections)
    except OSError as error:
        if not error.strerror:
            raise
        # The folder tells a person where to make room; the file's name is a digest.
        raise OSError(error.errno, error.strerror, str(path.parent)) from error


def _saved_plane(
    snapshot: Snapshot, plane: Plane, record: PlaneRecord | None
) -> SavedPlane | None:
    """Return a plane as it is to be saved, None where a person did nothing."""
    pixels = np.array(snapshot.labels[plane.index])
    edits = (record.ledger if record is not None else Ledger()).edits(pixels)
    if not edits and not _has_marks(snapshot, plane, pixels):
        return None
    decided = None
    if record is not None and (edits or record.decided is not None):
        decided = edited_mask(record, edits)
    return SavedPlane(
        axes=plane.axes,
        position=plane.position,
        label_image=pixels,
        edited=tuple(sorted(edits.changed)),
        removed=len(edits.removed),
        decided=decided,
    )


def _has_marks(snapshot: Snapshot, plane: Plane, pixels: Any) -> bool:
    regions = snapshot.metadata.get("regions") or ()
    if any(tuple(region.get("plane", ())) == plane.position for region in regions):
        return True
    table = normalised(snapshot.table)
    marked = table["index"].to_numpy()[table["reviewed"].to_numpy()]
    return bool(np.isin(marked, count_objects(pixels)[0]).any())


def _corrections(
    snapshot: Snapshot, image: ImageIdentity, planes: list[SavedPlane]
) -> Corrections:
    present = [count_objects(plane.label_image)[0] for plane in planes]
    table = normalised(snapshot.table)
    table = table[table["index"].isin(np.concatenate([np.empty(0, int), *present]))]
    summary = Summary(
        image=image,
        layer_name=snapshot.layer_name,
        saved_at=datetime.now(UTC),
        edited=sum(len(plane.edited) for plane in planes),
        removed=sum(plane.removed for plane in planes),
        reviewed=int(table["reviewed"].sum()),
        owner=snapshot.owner,
    )
    return Corrections(
        summary,
        tuple(planes),
        # A missing value of any kind becomes None, as JSON has it.
        {
            str(name): [None if value != value else value for value in column.tolist()]
            for name, column in table.items()
        },
        {METADATA: snapshot.metadata},
        tuple(snapshot.metadata.get("class_names", ())),
    )


def _state(corrections: Corrections) -> int:
    """Return a checksum of everything but the time."""
    state = zlib.crc32(repr((corrections.table, corrections.metadata)).encode())
    for plane in corrections.planes:
        told = (plane.position, plane.edited, plane.removed)
        state = zlib.crc32(repr(told).encode(), state)
        state = zlib.crc32(plane.label_image.tobytes(), state)
    return state


def look(
    folder: Path, source: Any, source_path: str, is_living: Callable[..., bool]
) -> Generator[Progress, None, tuple[ImageIdentity, Offer | None, list[str]]]:
    """Look for corrections of an image that nobody works on now.

    Parameters
    ----------
    folder : Path
        Of the side files.
    source, source_path
        The image's array, and where it was opened from.
    is_living : callable
        Tells from a file's path and its owner whether somebody is at work on it.

    Returns
    -------
    image : ImageIdentity
        What the image is known by.
    offer : Offer or None
        The newest corrections.
    sentences : list of str
        What is to be said of damaged files.
    """
    image = identify(source, source_path)
    yield PAUSE
    sentences = []
    for path in corrections_files(folder, image):
        try:
            summary = read_summary(path)
        except FileNotFoundError:
            continue
        except DamagedFileError as error:
            aside = set_aside(path)
            text = str(error)
            sentences.append(
                f"{text[0].upper()}{text[1:]}. The file is kept as {aside}"
            )
            continue
        yield PAUSE
        if not is_living(path, summary.owner):
            return image, Offer(path, summary), sentences
    return image, None, sentences


def with_free_ids_only(corrections: Corrections, taken: Any) -> Corrections:
    """Return corrections whose ids are none of `taken`, which other planes use."""
    own = [count_objects(plane.label_image)[0] for plane in corrections.planes]
    ids = np.unique(np.concatenate([np.empty(0, np.int64), *own]))
    clash = np.intersect1d(ids, taken)
    if not clash.size:
        return corrections
    used = np.union1d(ids, taken)
    free = np.setdiff1d(np.arange(1, used.size + clash.size + 1), used)[: clash.size]
    new = dict(zip(clash.tolist(), free.tolist(), strict=True))
    planes = []
    for plane in corrections.planes:
        pixels = plane.label_image.astype(np.int64)
        for old, fresh in new.items():
            pixels[plane.label_image == old] = fresh
        edited = tuple(new.get(index, index) for index in plane.edited)
        planes.append(replace(plane, label_image=pixels, edited=edited))
    table = dict(corrections.table)
    if "index" in table:
        table["index"] = [new.get(index, index) for index in table["index"]]
    return replace(corrections, planes=tuple(planes), table=table)
