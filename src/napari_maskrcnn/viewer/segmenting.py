"""Run the network over a plane or over many, and have each result painted at once.

A run over many planes keeps what is done, whatever ends it: Cancel, an error, the
window closed.  Each finished plane is written into the one Labels layer of its image
as soon as it is there.

Such a run is no undo step.  napari keeps a hundred steps and replays them blindly: a
run over more planes would be undone in part, on planes that nobody looks at, and a step
from before a plane was painted would write stale pixels into it.  So the planes are
painted without steps, and the undo list is emptied when the run begins to paint and
whenever it paints a plane into which a step since then may have written.  Strokes on
planes that are done, or that the run does not touch, can be undone as always.
"""

from __future__ import annotations

import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from qtpy.QtCore import QObject

from napari_maskrcnn.core.steady import rate_words
from napari_maskrcnn.viewer.encodings import KeptEncoding
from napari_maskrcnn.viewer.features import has_table
from napari_maskrcnn.viewer.jobs import (
    Outcome,
    PlaneDone,
    PlanesJob,
    segment_plane,
    segment_planes,
)
from napari_maskrcnn.viewer.layers import (
    current_plane,
    finest,
    forget_history,
    plane_source,
)
from napari_maskrcnn.viewer.painting import ids_in

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer
    from numpy.typing import NDArray

    from napari_maskrcnn.core.recipe import Recipe
    from napari_maskrcnn.viewer.frames import Frames
    from napari_maskrcnn.viewer.kept import Kept
    from napari_maskrcnn.viewer.layers import Plane
    from napari_maskrcnn.viewer.session import Session

# So many planes that could not be read are named one by one.
NAMED_FAILURES = 3


@dataclass(slots=True)
class Run:
    """What is running, or ran last.

    Parameters
    ----------
    image : weakref.ref of Image
        The layer.
    recipe : Recipe
        The settings.
    keep_edited : bool
        Whether objects that a person edited stay.
    planes : tuple of Plane
        What to segment.
    job : PlanesJob or None
        None for a run over the one plane that was shown.
    done : int
        How many planes are painted.
    failures : list of str
        A sentence for each plane that could not be read.
    kept : Kept, optional
        Where the results go, once there is one.
    layer : weakref.ref of Layer, optional
        The layer they are painted or drawn into.
    ids : ndarray, optional
        The ids that this layer had when the first plane was painted.
    object_size : float or None
        As used for the newest plane; None for models that see whole images.
    largest_area : int
        Of all detections.
    began : float, optional
        When the model was loaded and the first plane's turn came, by `time.monotonic`.
    """

    image: weakref.ref[Image]
    recipe: Recipe
    keep_edited: bool
    planes: tuple[Plane, ...]
    job: PlanesJob | None = None
    done: int = 0
    failures: list[str] = field(default_factory=list)
    warned: set[str] = field(default_factory=set)
    kept: Kept[Any] | None = None
    layer: weakref.ref[Layer] | None = None
    ids: NDArray[np.int64] | None = None
    object_size: float | None = None
    largest_area: int = 0
    began: float | None = None

    @property
    def word(self) -> str:
        """What its planes are called."""
        return self.job.word if self.job is not None else "plane"

    def has_layer(self) -> bool:
        """Whether the layer of its results is as it was, or is still to be made."""
        image = self.image()
        if self.kept is None or self.layer is None or image is None:
            return True
        return self.kept.target_of(image) is self.layer()

    def kept_words(self) -> str:
        """Return what a run that ends before its end leaves behind."""
        if not self.done:
            return "nothing was changed"
        return f"{self.done} of {len(self.planes)} {self.word}s are done and stay"

    def done_words(self, seconds: float) -> str:
        """Return what a run did, for a person."""
        text = f"Done in {seconds:.1f} s"
        if self.job is None or self.began is None:
            return text
        count = f"{self.done} {self.word}{'s' if self.done > 1 else ''}"
        rate = self.done / max(time.monotonic() - self.began, 1e-3)
        return f"{text}: {count}, {rate_words(rate, self.word)}"

    def failure_words(self) -> list[str]:
        """Return a few sentences about the planes that could not be read."""
        more = len(self.failures) - NAMED_FAILURES
        if more <= 0:
            return self.failures
        return [
            *self.failures[:NAMED_FAILURES],
            f"{more} more {self.word}s could not be read",
        ]


class Segmenting(QObject):
    """The runs of a session, whose child this is; its signals are the session's."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._run: Run | None = None
        session.jobs.progressed.connect(self._on_yielded)
        session.jobs.returned.connect(self._on_returned)
        session.jobs.failed.connect(self._on_failed)

    @property
    def session(self) -> Session:
        """The session: this object's parent, which a reference would keep alive."""
        return cast("Session", self.parent())

    def start(
        self,
        image: Image,
        recipe: Recipe,
        *,
        keep_edited: bool,
        frames: Frames | None = None,
    ) -> None:
        """Start to segment a plane or many; see `Session.segment`."""
        session = self.session
        viewer = session.viewer
        if viewer is None or session.jobs.running:
            return
        session.commit()
        reference = weakref.ref(image)
        if frames is None:
            plane = current_plane(image, viewer)
            record = session.kept_of(image).encoded(image, plane)
            kept = record and KeptEncoding(record.encoding, record.encoded_as)
            self._run = Run(reference, recipe, keep_edited, (plane,))
            source = plane_source(image, plane)
            session.jobs.start(segment_plane, session.loaded, source, recipe, kept)
            return
        records = session.kept_of(image).records_of(image)
        planes = frames.planes
        if frames.skip_done:
            planes = tuple(plane for plane in planes if plane not in records)
        if not planes:
            raise ValueError(f"every {frames.word} chosen has a result already")
        job = PlanesJob(finest(image), planes, frames.word, records)
        self._run = Run(reference, recipe, keep_edited, planes, job)
        session.jobs.start(segment_planes, session.loaded, job, recipe)

    def cancel(self) -> str:
        """Give the run up; return a sentence that says what stays of it."""
        run, self._run = self._run, None
        self.session.jobs.cancel()
        if run is None:
            return ""
        return "\n".join([f"Cancelled; {run.kept_words()}", *run.failure_words()])

    def layer_removed(self, layer: Any) -> None:
        """Stop the run when its image is gone, or what it had painted."""
        run = self._run
        if run is None:
            return
        if run.image() is layer:
            self._stop("The image was closed, so the run was stopped")
        elif run.layer is not None and run.layer() is layer:
            self._stop("The layer of the result was closed, so the run was stopped")

    def _stop(self, sentence: str) -> None:
        self._run = None
        if self.session.jobs.running:
            self.session.jobs.cancel()
            self.session.failed.emit(sentence)

    # ---- what the job tells

    def _on_yielded(self, record: Any) -> None:
        run = self._run
        if not isinstance(record, PlaneDone):
            if run is not None and run.began is None and record.total:
                run.began = time.monotonic()
            self.session.progressed.emit(record)
            return
        if run is None or run.job is None:
            return
        try:
            self._take_one_of_many(run, record)
        finally:
            run.job.room.release()

    def _take_one_of_many(self, run: Run, result: PlaneDone) -> None:
        session, image = self.session, run.image()
        if session.viewer is None or image is None:
            return
        if result.outcome is None:
            name = f"{run.word.capitalize()} {result.plane.label}"
            run.failures.append(f"{name} could not be read: {result.error}")
            return
        if not run.has_layer():
            # It was given another array, for example.
            self._stop("The layer of the result was changed, so the run was stopped")
            return
        labels = session.results.labels_of(image)
        if run.ids is None:
            run.ids = ids_in(labels) if labels is not None else np.empty(0, np.int64)
            if labels is not None:
                forget_history(labels)
        session.take(
            image,
            result.plane,
            result.outcome,
            run.recipe,
            keep_edited=run.keep_edited,
            one_of=len(run.planes),
            ids=self._ids_now(run.ids, labels),
        )
        run.kept = session.kept_of(image)
        run.layer = weakref.ref(run.kept.target_of(image))
        self._note(run, result.outcome)

    def _ids_now(
        self, ids: NDArray[np.int64], labels: Labels | None
    ) -> NDArray[np.int64]:
        """Return the layer's ids, with those that came since the run began.

        The table has what a person drew meanwhile; asking the pixels of a whole video
        for each of its frames would hold the window up.
        """
        if labels is None or not has_table(labels):
            return ids
        return np.union1d(ids, labels.features["index"].to_numpy(np.int64))

    def _note(self, run: Run, outcome: Outcome) -> None:
        run.done += 1
        run.object_size = outcome.object_size
        run.largest_area = max(run.largest_area, outcome.largest_area)
        self._warn(run, outcome)

    def _warn(self, run: Run, outcome: Outcome) -> None:
        for sentence in outcome.instances.warnings:
            if sentence not in run.warned:
                run.warned.add(sentence)
                self.session.warned.emit(sentence)

    def _on_returned(self, outcome: Outcome | None) -> None:
        run, self._run = self._run, None
        session = self.session
        if session.viewer is None or run is None:
            return
        image = run.image()
        if image is None or image not in session.viewer.layers:
            session.failed.emit("The image was closed, so its result was dropped")
            return
        if outcome is not None:
            (plane,) = run.planes
            session.take(image, plane, outcome, run.recipe, keep_edited=run.keep_edited)
            self._note(run, outcome)
        elif not run.done:
            session.failed.emit(run.failures[0])
            return
        for sentence in run.failure_words():
            session.warned.emit(sentence)
        session.shown_changed.emit()
        session.finished.emit(run)

    def _on_failed(self, sentence: str) -> None:
        run, self._run = self._run, None
        if run is not None and run.done:
            sentence = f"{sentence.rstrip('.')}. {run.kept_words()}"
        self.session.failed.emit(sentence)
