"""What is kept of each plane of the images that were segmented, and for how long."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from napari_maskrcnn.viewer.layers import Plane, current_plane
from napari_maskrcnn.viewer.settings import encoding_budget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_maskrcnn.core.instances import Instances
    from napari_maskrcnn.core.recipe import Recipe
    from napari_maskrcnn.viewer.encodings import EncodingKey


class Target(Protocol):
    """Where a record is drawn."""

    @property
    def layer(self) -> Any:
        """The layer that holds the objects."""

    @property
    def plane(self) -> Plane:
        """The plane of it."""


class Live(Protocol):
    """A change of one plane: begun once, shown many times, then finished."""

    @property
    def record(self) -> Any:
        """What is changed."""

    def show(self, recipe: Recipe) -> None:
        """Draw with these thresholds."""

    def finish(self) -> None:
        """Make what was shown stand."""


class Record(Protocol):
    """What is kept of one plane: detections, encoding, and where they are drawn."""

    instances: Instances
    encoding: Any
    encoded_as: EncodingKey | None
    recipe: Recipe | None

    @property
    def target(self) -> Target:
        """Where they are drawn."""

    def count(self) -> int:
        """Return how many objects the plane has."""

    def live(self, *, keep_edited: bool) -> Live:
        """Begin a change with a look at what a person made."""


R = TypeVar("R", bound=Record)


class EncodingBudget:
    """Drops the oldest encodings beyond what the settings allow; the newest stays."""

    def __init__(self) -> None:
        self._records: list[weakref.ref[Any]] = []

    def keep(self, newest: Any) -> None:
        """Count a record as the newest one."""
        records = [r for r in (ref() for ref in self._records) if r is not None]
        records = [r for r in records if r is not newest and r.encoding is not None]
        room = encoding_budget() - _encoded_bytes(newest)
        for record in reversed(records):
            room -= _encoded_bytes(record)
            if room < 0:
                record.encoding = None
        self._records = [weakref.ref(record) for record in (*records, newest)]


def _encoded_bytes(record: Any) -> int:
    return int(record.encoding.nbytes) if record.encoding is not None else 0


class Kept(Generic[R]):
    """The records of the images of a viewer; layers are referred to weakly.

    Parameters
    ----------
    viewer : weakref.ref of ViewerModel
        The viewer.
    budget : EncodingBudget
        What it shares with other kinds of records.
    """

    def __init__(
        self, viewer: weakref.ref[ViewerModel], budget: EncodingBudget | None = None
    ) -> None:
        self._viewer = viewer
        self._budget = budget or EncodingBudget()
        self._records: weakref.WeakKeyDictionary[Image, dict[Plane, R]] = (
            weakref.WeakKeyDictionary()
        )

    def __iter__(self) -> Iterator[R]:
        """Iterate over what is kept, the newest of an image last."""
        return iter([r for planes in self._records.values() for r in planes.values()])

    def images(self) -> list[Image]:
        """Return the images of which something is kept."""
        return list(self._records)

    def target_of(self, image: Image) -> Any:
        """Return the layer that holds the objects of an image, None if it is gone."""
        raise NotImplementedError

    def record_of(self, image: Image) -> R | None:
        """Return what is kept of the plane of an image that is shown."""
        viewer = self._viewer()
        if viewer is None or image not in self._records or image.ndim < 2:
            return None
        return self.records_of(image).get(current_plane(image, viewer))

    def records_of(self, image: Image) -> dict[Plane, R]:
        """Return what is kept of the planes of an image, by plane."""
        layer = self.target_of(image)
        kept = self._records.get(image, {})
        return {p: record for p, record in kept.items() if record.target.layer is layer}

    def encoded(self, image: Image, plane: Plane) -> R | None:
        """Return what is kept of a plane with an encoding, its layer there or gone."""
        record = self._records.get(image, {}).get(plane)
        return record if record is not None and record.encoding is not None else None

    def count(self, image: Image) -> int | None:
        """Return how many objects the shown plane has, None before it has a result."""
        record = self.record_of(image)
        return None if record is None else record.count()

    def keep(self, image: Image, record: R) -> None:
        """Keep a plane's record, in the place of an older one."""
        planes = self._records.setdefault(image, {})
        planes.pop(record.target.plane, None)  # so that the newest comes last
        planes[record.target.plane] = record
        self._budget.keep(record)

    def keep_encoding(self, record: R, encoding: Any, key: EncodingKey | None) -> None:
        """Keep an encoding of a plane that another part of the plugin made."""
        record.encoding, record.encoded_as = encoding, key
        self._budget.keep(record)

    def forget(self, layer: Any) -> None:
        """Let go of an image, or of the images whose objects a layer holds."""
        self._records.pop(layer, None)
        for image, planes in list(self._records.items()):
            if any(record.target.layer is layer for record in planes.values()):
                self._records.pop(image)

    def clear(self) -> None:
        """Let go of everything."""
        self._records.clear()
