"""Kept detections and hand-made objects, put together into one plane of labels.

What a person made goes before what the network found:

* an object changed, drawn or approved by hand keeps its pixels and its id;
* a detection is left out when its object was changed or deleted by hand, or when more
  than half of it lies where a person decided: on such an object, or on the original
  extent of one.

Ids never collide: detections get ids that are used nowhere else in the layer, which
matters for stacks, where one table of features serves every plane.

A slider that is dragged paints many pictures.  `Repaint` begins with one look at what
was edited; each picture is then filter, paint, write and no more; and `commit` at the
end makes the whole drag one undo step (see `viewer.layers`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.viewer.approved import kept_of
from napari_maskrcnn.viewer.features import write_features
from napari_maskrcnn.viewer.layers import (
    UINT16_MAX,
    LabelsPlane,
    forget_history,
    widen,
)
from napari_maskrcnn.viewer.ledger import Edits, Ledger

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_maskrcnn.core.instances import Instances
    from napari_maskrcnn.core.recipe import Recipe
    from napari_maskrcnn.viewer.encodings import EncodingKey

# The share of a detection that must lie on hand-made ground for it to give way.
GIVES_WAY = 0.5


@dataclass(slots=True, eq=False, weakref_slot=True)
class PlaneRecord:
    """What is kept of one segmented plane.

    Parameters
    ----------
    target : LabelsPlane
        Where it is painted.
    instances : Instances
        All kept detections, unfiltered; their ids are those in the Labels layer.
    ledger : Ledger
        What was painted.
    decided : ndarray of bool or None
        Shape (H, W): where a person changed or deleted objects of earlier runs.
    encoding : object
        The detector's encoding of the plane, while the memory budget allows.
    encoded_as : EncodingKey or None
        What the encoding depends on.
    recipe : Recipe or None
        What the plane was last painted with.
    said : DataFrame or None
        Class, score and mark of the detections that had a row in the table, by id:
        for those that a threshold hides for a while.
    """

    target: LabelsPlane
    instances: Instances
    ledger: Ledger = field(default_factory=Ledger)
    decided: NDArray[np.bool_] | None = None
    encoding: Any = None
    encoded_as: EncodingKey | None = None
    recipe: Recipe | None = None
    said: Any = None

    def count(self) -> int:
        """Return how many objects the plane has."""
        pixels = self.target.pixels
        pixels = pixels[pixels > 0]
        if pixels.dtype.itemsize <= 2:
            return int(np.count_nonzero(np.bincount(pixels)))
        return int(np.unique(pixels).size)

    def live(self, *, keep_edited: bool) -> Repaint:
        """Begin a change, with a look at what a person changed or approved."""
        return Repaint(self, kept_of(self) if keep_edited else Edits())


def with_free_ids(instances: Instances, taken: NDArray[np.int64]) -> Instances:
    """Return the instances with the smallest ids from 1 that are not `taken`."""
    count = len(instances)
    candidates = np.arange(1, count + taken.size + 1, dtype=np.int64)
    return replace(instances, ids=np.setdiff1d(candidates, taken)[:count])


def edited_mask(record: PlaneRecord, edits: Edits) -> NDArray[np.bool_]:
    """Return where a person decided: edited objects, and what stood in their place."""
    pixels = record.target.pixels
    mask = np.isin(pixels, list(edits.kept))
    if edits.ground is not None:
        mask |= edits.ground
    concerned = np.isin(record.instances.ids, list(edits.kept | edits.removed))
    if concerned.any():
        mask |= record.instances[concerned].to_label_image() > 0
    if record.decided is not None:
        mask |= record.decided
    return mask


def giving_way(instances: Instances, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which instances lie with more than half of their pixels on `mask`."""
    covered = np.zeros(len(instances), bool)
    if not mask.any():
        return covered
    for i in range(len(instances)):
        crop = instances.mask(i)
        y, x = instances.offsets[i]
        under = mask[y : y + crop.shape[0], x : x + crop.shape[1]]
        area = np.count_nonzero(crop)
        covered[i] = area > 0 and np.count_nonzero(crop & under) > GIVES_WAY * area
    return covered


class Repaint:
    """A change of one plane: begun once, shown many times, committed as one step.

    Parameters
    ----------
    record : PlaneRecord
        The plane and its detections.
    edits : Edits
        What to keep of the person's work; nothing for "replace edited objects".
    """

    def __init__(self, record: PlaneRecord, edits: Edits) -> None:
        self.record = record
        self.edits = edits
        self._before = record.target.pixels.copy()
        self._shown: NDArray[Any] | None = None
        self._evade(edits)
        mask = (
            edited_mask(record, edits) if edits or record.decided is not None else None
        )
        flat = self._before.reshape(-1)
        self._where = np.flatnonzero(np.isin(flat, list(edits.kept)))
        self._values = flat[self._where]
        instances = record.instances
        if mask is not None:
            hidden = np.isin(instances.ids, list(edits.kept | edits.removed))
            hidden |= giving_way(instances, mask)
            instances = instances[~hidden]
        self._instances = instances
        if len(record.instances) and int(record.instances.ids.max()) > UINT16_MAX:
            widen(record.target.layer)

    def _evade(self, edits: Edits) -> None:
        """Give a detection another id where a person took its id for a new object.

        That happens to detections that were hidden by a threshold: napari offers the
        next id above those that can be seen.
        """
        record = self.record
        own = {i for i in edits.kept if record.ledger.painted(i)}
        clash = np.isin(record.instances.ids, list(edits.kept - own))
        if clash.any():
            taken = np.union1d(record.instances.ids, list(edits.kept))
            ids = record.instances.ids.copy()
            ids[clash] = with_free_ids(record.instances[clash], taken).ids
            record.instances = replace(record.instances, ids=ids)

    def show(self, recipe: Recipe) -> None:
        """Paint with these thresholds; cheap, and no undo step."""
        shown = self.compose(recipe)
        self.record.target.show(shown)
        self._shown = shown
        self.record.recipe = recipe

    def compose(self, recipe: Recipe) -> NDArray[Any]:
        """Return the plane's label image under these thresholds."""
        image = recipe.apply(self._instances).to_label_image(
            self.record.target.layer.data.dtype
        )
        image.reshape(-1)[self._where] = self._values
        return image

    def finish(self) -> None:
        """Make what was shown one undo step, and let the table follow."""
        self.commit()
        write_features(self.record)

    def commit(self) -> bool:
        """Make what was shown one undo step; return whether anything changed."""
        if self._shown is None:
            return False
        target = self.record.target
        if not np.array_equal(target.pixels, self._shown):
            # Somebody painted or undid in the middle of it: their pixels stand, but
            # the undo list no longer fits them.
            forget_history(target.layer)
            changed = True
        else:
            changed = target.commit(self._before, self._shown)
            self._before = self._shown
        self.leave()
        return changed

    def leave(self) -> None:
        """Let what was shown stand without an undo step.

        The layer's undo list must have no step that would write into this plane.
        """
        if self._shown is not None:
            self.record.ledger.note(self._shown, self.edits)
            self._shown = None


def remember_decisions(record: PlaneRecord, edits: Edits) -> None:
    """Keep where a person decided, for detections of later runs with other ids."""
    if edits:
        record.decided = edited_mask(record, edits)


def ids_in(layer: Labels, limit: int = 256 * 2**20) -> NDArray[np.int64]:
    """Return the ids in the whole layer, or none when looking would take too long."""
    if layer.data.nbytes > limit:
        return np.empty(0, np.int64)
    return np.unique(layer.data).astype(np.int64)
