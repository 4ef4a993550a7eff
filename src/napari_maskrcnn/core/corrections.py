"""What a person did to the labels of an image, and how the image is known again.

It is known by a digest of some of its pixels, so also under another name or in another
folder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

# Samples along each axis of a plane that the digest looks at.
SAMPLES = 256
# An axis of up to this many entries at the end is taken for colours.
MAX_COLOURS = 4


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
