"""The objects of the plane that is shown, with what a reviewer wants to know of them.

A `Lister` keeps what is costly: after a brush stroke only the objects around it are
measured again, and an act that changes the table alone measures nothing.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_maskrcnn.core.class_names import choosable
from napari_maskrcnn.core.review import Flag, check_masks, judge, measure, remeasure
from napari_maskrcnn.viewer.features import has_table, normalised
from napari_maskrcnn.viewer.layers import Plane, current_plane
from napari_maskrcnn.viewer.marks import regions_of, whole_in

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_maskrcnn.core.review import MaskChecks, Measures
    from napari_maskrcnn.viewer.painting import PlaneRecord
    from napari_maskrcnn.viewer.session import Session

FLAG_NAMES = {
    Flag.BORDER: "border",
    Flag.TINY: "tiny",
    Flag.PARTS: "several parts",
    Flag.OUTLINE: "unsure outline",
    Flag.OVERLAP: "overlap",
}
FLAG_TIPS = {
    Flag.BORDER: "touches the border of the image",
    Flag.TINY: "less than a quarter of the typical area",
    Flag.PARTS: "consists of several parts",
    Flag.OUTLINE: "the network drew a blurred outline",
    Flag.OVERLAP: "other objects claim a part of it",
}


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """The N objects of a plane, by rising id.

    Parameters
    ----------
    plane : Plane
        The plane.
    ids, areas : ndarray
        Shape (N,), int64.
    classes : ndarray
        Shape (N,), object: the class names, empty where none is known.
    scores, certainty : ndarray
        Shape (N,), float64; scores are NaN for what a person made.
    reviewed : ndarray
        Shape (N,), bool.
    flags : ndarray
        Shape (N,), uint8: `core.review.Flag`.
    boxes : ndarray
        Shape (N, 4), int64, xyxy in the plane.
    """

    plane: Plane
    ids: NDArray[np.int64]
    areas: NDArray[np.int64]
    classes: NDArray[Any]
    scores: NDArray[np.float64]
    certainty: NDArray[np.float64]
    reviewed: NDArray[np.bool_]
    flags: NDArray[np.uint8]
    boxes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def row_of(self, index: int) -> int | None:
        """Return the position of an id, None where the plane does not have it."""
        row = int(np.searchsorted(self.ids, index))
        return row if row < len(self.ids) and self.ids[row] == index else None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which objects of a listing are shown.

    Parameters
    ----------
    class_name : str or None
        Only this class; an empty name means those of no class.
    lowest, highest : float
        The range of scores, both included. Objects without a score are shown only
        while the range is whole.
    unreviewed, flagged : bool
        Only those not yet reviewed; only those with a flag.
    """

    class_name: str | None = None
    lowest: float = 0.0
    highest: float = 1.0
    unreviewed: bool = False
    flagged: bool = False

    def rows(self, listing: Listing) -> NDArray[np.int64]:
        """Return the positions of the objects that pass."""
        passing = np.ones(len(listing), bool)
        if self.class_name is not None:
            passing &= listing.classes == self.class_name
        if self.lowest > 0 or self.highest < 1:
            # The form shows two decimals: 0.704 counts as 0.70.
            scores = listing.scores.round(2)
            passing &= (scores >= self.lowest) & (scores <= self.highest)
        if self.unreviewed:
            passing &= ~listing.reviewed
        if self.flagged:
            passing &= listing.flags > 0
        return np.flatnonzero(passing)


def labels_layers(viewer: ViewerModel) -> list[Labels]:
    """Return the viewer's Labels layers that can be reviewed, the topmost first."""
    return [
        layer
        for layer in reversed(viewer.layers)
        if type(layer) is Labels and not layer.multiscale and layer.ndim >= 2
    ]


class Lister:
    """Lists the objects of the plane that is shown, and remembers what it measured.

    Parameters
    ----------
    session : Session
        Knows the viewer, and what the network found.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layer: weakref.ref[Labels] | None = None
        self._plane: Plane | None = None
        self._pixels: NDArray[Any] | None = None
        self._measures: Measures | None = None
        self._checks: tuple[Any, MaskChecks | None] = (None, None)
        self._edited: NDArray[np.int64] = np.empty(0, np.int64)

    def record_of(self, layer: Labels) -> PlaneRecord | None:
        """Return what the network found on the plane that is shown."""
        image = self._session.results.image_of(layer)
        return self._session.results.record_of(image) if image is not None else None

    def model_classes(self, layer: Labels) -> tuple[str, ...]:
        """Return the classes of the model that found the objects."""
        record = self.record_of(layer)
        return choosable(record.instances.class_names) if record is not None else ()

    def list(self, layer: Labels) -> Listing | None:
        """List the objects, None when there is no viewer any more.

        Raises
        ------
        ValueError
            When the layer has fewer than two axes.
        """
        viewer = self._session.viewer
        if viewer is None:
            return None
        plane = current_plane(layer, viewer)
        record = self.record_of(layer)
        measures = self._measured(layer, plane, record)
        table = normalised(layer.features) if has_table(layer) else None
        ids = measures.ids
        classes = np.full(len(ids), "", object)
        scores, reviewed = np.full(len(ids), np.nan), np.zeros(len(ids), bool)
        if table is not None:
            rows = table.drop_duplicates("index").set_index("index").reindex(ids)
            classes = rows["class"].fillna("").to_numpy(object)
            scores = rows["score"].to_numpy(np.float64)
            reviewed = (rows["reviewed"] == True).to_numpy(bool)  # noqa: E712
        boxes = regions_of(layer, plane)
        if boxes and self._pixels is not None:
            reviewed = reviewed | np.isin(ids, whole_in(self._pixels, boxes))
        by_hand = np.isin(ids, self._edited)
        flags, certainty = judge(
            measures,
            np.where(by_hand, np.nan, scores),
            self._checked(record, ids[~by_hand]),
        )
        return Listing(
            plane,
            ids,
            measures.areas,
            classes,
            scores,
            certainty,
            reviewed,
            flags,
            measures.boxes,
        )

    def _measured(
        self, layer: Labels, plane: Plane, record: PlaneRecord | None
    ) -> Measures:
        """Measure the plane: as a whole, around what changed, or not at all."""
        pixels = np.asarray(layer.data[plane.index])
        if pixels.dtype.kind == "i" and pixels.size and pixels.min() < 0:
            pixels = np.maximum(pixels, 0)
        old, measures = self._pixels, self._measures
        same = (
            self._layer is not None
            and self._layer() is layer
            and self._plane == plane
            and old is not None
            and old.shape == pixels.shape
            and old.dtype == pixels.dtype
        )
        if not same or old is None or measures is None:
            measures = measure(pixels)
        else:
            fresh = remeasure(measures, old, pixels)
            if fresh is measures:
                return measures
            measures = fresh
        self._layer, self._plane = weakref.ref(layer), plane
        self._pixels, self._measures = pixels.copy(), measures
        edits = record.ledger.edits(pixels).changed if record is not None else ()
        self._edited = np.fromiter(edits, np.int64, len(edits))
        return measures

    def _checked(
        self, record: PlaneRecord | None, ids: NDArray[np.int64]
    ) -> MaskChecks | None:
        """Look at the masks of the network's objects that are as it drew them."""
        if record is None:
            return None
        instances = record.instances
        threshold = record.recipe.mask_threshold if record.recipe else None
        shown = np.isin(instances.ids, ids)
        key = (instances, threshold, shown.tobytes())
        if self._checks[0] is None or not _same_key(self._checks[0], key):
            drawn = instances[shown].filter(mask_threshold=threshold)
            self._checks = (key, check_masks(drawn))
        return self._checks[1]


def _same_key(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one[0] is other[0] and one[1:] == other[1:]
