"""Showing results: into their layers once, and again and again while a slider moves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.viewer.features import write_features
from napari_maskrcnn.viewer.history import history_of
from napari_maskrcnn.viewer.layers import LabelsPlane, add_labels_for, forget_history

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Iterator

    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer
    from numpy.typing import NDArray

    from napari_maskrcnn.core.recipe import Recipe
    from napari_maskrcnn.viewer.drawn_results import DrawnResults
    from napari_maskrcnn.viewer.jobs import Outcome
    from napari_maskrcnn.viewer.kept import Kept, Live, Record
    from napari_maskrcnn.viewer.layers import Plane
    from napari_maskrcnn.viewer.painting import PlaneRecord
    from napari_maskrcnn.viewer.results import Results


class Showing:
    """Brings results into layers, and knows when it is the one who writes there.

    Parameters
    ----------
    viewer : weak reference
        To the viewer.
    results, drawn
        Where results are kept, with masks and without.
    on_pixels : callable
        Called when the pixels of a Labels layer that was made here are set.
    """

    def __init__(
        self,
        viewer: weakref.ref[ViewerModel],
        results: Results,
        drawn: DrawnResults,
        on_pixels: Callable[[], None],
    ) -> None:
        self._viewer = viewer
        self._results = results
        self._drawn = drawn
        self._on_pixels = on_pixels
        self.writing = False
        self.live: Live | None = None

    @contextmanager
    def _writes(self) -> Iterator[None]:
        self.writing = True
        try:
            yield
        finally:
            self.writing = False

    # ---- a new result

    def take(
        self,
        image: Image,
        plane: Plane,
        outcome: Outcome,
        recipe: Recipe,
        *,
        keep_edited: bool,
        one_of: int,
        ids: NDArray[np.int64] | None,
    ) -> Kept[Any]:
        """Show a result and keep it; return where. See `Session.take`."""
        if not outcome.instances.has_masks:
            drawn = self._drawn.new_record(
                image, plane, outcome, keep_edited=keep_edited
            )
            drawn.live(keep_edited=keep_edited).show(recipe)
            self._drawn.keep(image, drawn)
            return self._drawn
        labels = self._results.labels_of(image)
        count = len(outcome.instances) * one_of
        target = LabelsPlane(labels or self._add_labels(image, count), plane)
        record = self._results.new_record(
            image, target, outcome, keep_edited=keep_edited, ids=ids
        )
        with self._writes():
            _paint(record, recipe, keep_edited=keep_edited, step=one_of == 1)
        if labels is None:
            # Undo would lead to an empty layer that nobody has seen.
            forget_history(target.layer)
        self._results.keep(image, record)
        return self._results

    def _add_labels(self, image: Image, count: int) -> Labels:
        viewer = self._viewer()
        if viewer is None:
            raise RuntimeError("the viewer is gone")
        dtype = np.uint16 if count <= np.iinfo(np.uint16).max else np.int32
        labels = add_labels_for(viewer, image, dtype)
        self._results.give(image, labels)
        labels.events.set_data.connect(self._on_pixels)
        return labels

    # ---- a slider

    def is_changing(self, record: Any) -> bool:
        """Whether a change of this record has begun and is not finished."""
        return self.live is not None and self.live.record is record

    def change(self, record: Record, recipe: Recipe, *, keep_edited: bool) -> None:
        """Show a record with other thresholds, as a part of one change."""
        with self._writes():
            if not self.is_changing(record):
                self.live = record.live(keep_edited=keep_edited)
            if self.live is not None:
                self.live.show(recipe)

    def finish(self) -> bool:
        """Make the change one undo step; return whether there was one."""
        live, self.live = self.live, None
        viewer = self._viewer()
        if live is None or viewer is None:
            return False
        if live.record.target.layer not in viewer.layers:
            return False
        with self._writes():
            live.finish()
        return True

    def forget(self, layer: Layer | None = None) -> None:
        """Give up the change of a layer, or any: its pixels are of no use any more."""
        if self.live is not None and layer in (None, self.live.record.target.layer):
            self.live = None


def _paint(
    record: PlaneRecord, recipe: Recipe, *, keep_edited: bool, step: bool
) -> None:
    """Paint a new result, as an undo step or as one plane of many."""
    layer, plane = record.target.layer, record.target.plane
    history = history_of(layer)
    history.flush()
    repaint = record.live(keep_edited=keep_edited)
    if not step and (repaint.edits or history.may_write_into(plane)):
        forget_history(layer)
    repaint.show(recipe)
    if step:
        repaint.commit()
    else:
        repaint.leave()
    write_features(record, fresh=True)
