"""One session for each viewer window: the model in use, the running job, what is kept.

Widgets come and go: closing a dock destroys its widget.  The session stays, and a
widget opened later finds the running job and the kept detections in it.  It belongs to
the viewer object, refers to viewer and layers weakly, and lets everything go when a
layer is removed or the window is closed.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_maskrcnn.viewer.drawn_results import DrawnResults
from napari_maskrcnn.viewer.features import has_table, update_features, write_features
from napari_maskrcnn.viewer.history import history_of
from napari_maskrcnn.viewer.jobs import LoadedModel
from napari_maskrcnn.viewer.kept import EncodingBudget, Kept
from napari_maskrcnn.viewer.layers import Plane, current_plane, image_layers, unwrap
from napari_maskrcnn.viewer.results import Results
from napari_maskrcnn.viewer.segmenting import Segmenting
from napari_maskrcnn.viewer.showing import Showing
from napari_maskrcnn.viewer.workers import JobRunner

if TYPE_CHECKING:
    import numpy as np
    from napari.components import ViewerModel
    from napari.layers import Image, Layer
    from numpy.typing import NDArray

    from napari_maskrcnn.core.recipe import Recipe
    from napari_maskrcnn.viewer.frames import Frames
    from napari_maskrcnn.viewer.jobs import Outcome

# How long the pixels must rest before the table of objects follows them.
SETTLE_MS = 300

_sessions: dict[int, Session] = {}


def session_of(viewer: Any) -> Session:
    """Return the session of a viewer, or of the viewer behind a proxy."""
    viewer = unwrap(viewer)
    key = id(viewer)
    if key not in _sessions:
        from napari_maskrcnn.viewer.recovery import recovery_of

        _sessions[key] = Session(viewer)
        # Whichever widget is opened first: corrections are saved from now on.
        recovery_of(_sessions[key])
        # Ids are given again once an object is gone, so the entry goes with it.
        weakref.finalize(viewer, _sessions.pop, key, None)
    return _sessions[key]


def open_sessions() -> list[Session]:
    """Return the sessions of the viewers that are there."""
    return list(_sessions.values())


class Session(QObject):
    """What a viewer window's widgets share; use `session_of` to get it.

    Signals
    -------
    layers_changed ()
        Layers came, went, were renamed or moved.
    shown_changed ()
        Another plane is shown, or the objects on it changed.
    theme_changed ()
        The viewer's colours changed.
    job_changed ()
        A job started or ended.
    progressed (Progress)
        The job has come further.
    finished (object)
        The `Run`, after everything was painted.
    failed (str), warned (str)
        A sentence for the person.
    released ()
        The window is being closed.
    """

    layers_changed = Signal()
    shown_changed = Signal()
    theme_changed = Signal()
    job_changed = Signal()
    progressed = Signal(object)
    finished = Signal(object)
    failed = Signal(str)
    warned = Signal(str)
    released = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = weakref.ref(viewer)
        self.loaded = LoadedModel()
        self.jobs = JobRunner(self)
        self.segmenting = Segmenting(self)
        budget = EncodingBudget()
        self.results = Results(self._viewer, budget)
        self.drawn = DrawnResults(self._viewer, budget)
        # Which of the two has the newest result of an image.
        self._newest: weakref.WeakKeyDictionary[Image, Kept[Any]] = (
            weakref.WeakKeyDictionary()
        )
        self.showing = Showing(self._viewer, self.results, self.drawn, self._on_pixels)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._on_settled)
        self._connect_viewer(viewer)
        self.jobs.changed.connect(self.job_changed)
        self.jobs.warned.connect(self.warned)

    def _connect_viewer(self, viewer: ViewerModel) -> None:
        events = viewer.layers.events
        events.inserted.connect(self._on_layers)
        events.reordered.connect(self._on_layers)
        events.renamed.connect(self._on_layers)
        events.removed.connect(self._on_removed)
        viewer.dims.events.point.connect(self._on_dims)
        viewer.dims.events.order.connect(self._on_dims)
        viewer.events.theme.connect(self._on_theme)
        self._follow_labels()

    # ---- what there is

    @property
    def viewer(self) -> ViewerModel | None:
        """The viewer, or None once it is gone."""
        return self._viewer()

    def images(self) -> list[Image]:
        """Return the image layers, the topmost first."""
        viewer = self.viewer
        return image_layers(viewer) if viewer is not None else []

    def all_labels(self) -> list[Labels]:
        """Return the Labels layers, the topmost first."""
        viewer = self.viewer
        layers = reversed(viewer.layers) if viewer is not None else ()
        return [layer for layer in layers if isinstance(layer, Labels)]

    def plane_of(self, layer: Layer) -> Plane | None:
        """Return the plane of a layer that is shown, None where it has none."""
        viewer = self.viewer
        if viewer is None or layer.ndim < 2:
            return None
        return current_plane(layer, viewer)

    def update_table(self, layer: Labels, plane: Plane) -> None:
        """Bring the rows of a plane up to date with its pixels."""
        record = self.results.record_in(layer, plane)
        if record is not None:
            write_features(record)
        elif has_table(layer):
            update_features(layer, plane)

    def kept_of(self, image: Image) -> Kept[Any]:
        """Return where the newest result of an image is: in `results` or `drawn`."""
        return self._newest.get(image, self.results)

    def record_of(self, image: Image) -> Any:
        """Return what the last run kept of the plane that is shown, None if nothing."""
        return self.kept_of(image).record_of(image)

    def count(self, image: Image) -> int | None:
        """Return how many objects the shown plane has, None before it has a result."""
        return self.kept_of(image).count(image)

    def ids_taken(self, layer: Labels) -> NDArray[np.int64]:
        """Return the ids of all detections of a layer, those now hidden included."""
        return self.results.ids_taken(layer)

    # ---- the run

    def segment(
        self,
        image: Image,
        recipe: Recipe,
        *,
        keep_edited: bool,
        frames: Frames | None = None,
    ) -> None:
        """Start to segment the plane of `image` that is shown, or many planes.

        Parameters
        ----------
        image : Image
            A layer of the viewer.
        recipe : Recipe
            The settings.
        keep_edited : bool
            Whether objects that a person edited stay.
        frames : Frames, optional
            The planes, in place of the one that is shown; see `viewer.segmenting`.

        Raises
        ------
        ValueError
            When the layer has no plane, or none is left to be done.
        """
        self.segmenting.start(image, recipe, keep_edited=keep_edited, frames=frames)

    def cancel(self) -> str:
        """Give the running job up; return a sentence that says what stays of it."""
        return self.segmenting.cancel()

    def take(
        self,
        image: Image,
        plane: Plane,
        outcome: Outcome,
        recipe: Recipe,
        *,
        keep_edited: bool = True,
        one_of: int = 1,
        ids: NDArray[np.int64] | None = None,
    ) -> None:
        """Keep a result and show it: in a Labels layer, or as boxes and keypoints.

        Parameters
        ----------
        image : Image
            A layer of the viewer.
        plane : Plane
            The plane of it that was segmented.
        outcome : Outcome
            The detections, unfiltered.
        recipe : Recipe
            The thresholds to paint with.
        keep_edited : bool
            Whether objects that a person edited stay.
        one_of : int
            How many planes the run has: one of several is no undo step.
        ids : ndarray of int64, optional
            The ids in the layer; by default its pixels are asked.
        """
        self.commit()
        self._newest[image] = self.showing.take(
            image,
            plane,
            outcome,
            recipe,
            keep_edited=keep_edited,
            one_of=one_of,
            ids=ids,
        )
        if one_of == 1 or self.plane_of(image) == plane:
            self.shown_changed.emit()

    # ---- the sliders

    @property
    def sliding(self) -> bool:
        """Whether a slider is being moved, so that the pixels are no step yet."""
        return self.showing.live is not None

    def repaint(self, image: Image, recipe: Recipe, *, keep_edited: bool) -> bool:
        """Paint the shown plane again from the kept detections.

        To be followed by `commit` when the slider rests.  Returns whether there was
        anything to paint.
        """
        record = self.record_of(image)
        if record is None:
            return False
        if not self.showing.is_changing(record):
            self.commit()
        self.showing.change(record, recipe, keep_edited=keep_edited)
        return True

    def commit(self) -> None:
        """Make what the sliders did one undo step."""
        if self.showing.finish():
            self.shown_changed.emit()

    # ---- what happens around it

    def _on_layers(self) -> None:
        self._follow_labels()
        self.layers_changed.emit()

    def _follow_labels(self) -> None:
        for layer in self.all_labels():
            history_of(layer).follow(self)
            layer.events.paint.connect(self._on_painted)

    def _on_theme(self) -> None:
        self.theme_changed.emit()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        self.results.forget(layer)
        self.drawn.forget(layer)
        self.showing.forget(layer)
        self.layers_changed.emit()
        self.shown_changed.emit()
        self.segmenting.layer_removed(layer)

    def _on_dims(self) -> None:
        self.commit()
        self.shown_changed.emit()

    def _on_painted(self, event: Any) -> None:
        if self.showing.writing:
            return
        for record in self.results:
            if record.target.layer is event.source:
                record.ledger.touched = True
        self._settle.start()

    def _on_pixels(self) -> None:
        if not self.showing.writing:
            self._settle.start()

    def _on_settled(self) -> None:
        """Let the table of objects follow what was painted, undone or redone."""
        if self.sliding:
            return
        # Every layer has its turn, also after one that has not settled.
        settled = [history_of(layer).settle() for layer in self.all_labels()]
        if not all(settled):
            self._settle.start()
            return
        for image in self.results.images():
            record = self.results.record_of(image)
            if record is not None:
                write_features(record)
        self.shown_changed.emit()

    def release(self) -> None:
        """Let go of everything; called when the window is closed."""
        self.released.emit()
        self.cancel()
        self.showing.forget()
        self._settle.stop()
        self.results.clear()
        self.drawn.clear()
        self.loaded = LoadedModel()
