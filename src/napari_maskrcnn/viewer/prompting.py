"""Prompts in the viewer: drag a box or click a point, and an object appears.

The network's heads run in a thread, on the encoding that the session keeps; an image
without one is encoded first.  Prompts that come while one runs wait for their turn.
"""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_maskrcnn.core.editing import delete
from napari_maskrcnn.core.instances import empty_instances
from napari_maskrcnn.core.placing import object_ids_under, place
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.viewer.approved import with_approved
from napari_maskrcnn.viewer.edits import apply, check_editable, free_id
from napari_maskrcnn.viewer.encodings import KeptEncoding
from napari_maskrcnn.viewer.jobs import Outcome
from napari_maskrcnn.viewer.layers import current_plane, plane_source, widen
from napari_maskrcnn.viewer.ledger import Edits
from napari_maskrcnn.viewer.pointing import POINT, Pointer
from napari_maskrcnn.viewer.prompt_job import Prompt, prompt_plane
from napari_maskrcnn.viewer.workers import JobRunner

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_maskrcnn.viewer.layers import Plane
    from napari_maskrcnn.viewer.painting import PlaneRecord
    from napari_maskrcnn.viewer.prompt_job import PromptOutcome
    from napari_maskrcnn.viewer.session import Session


@dataclass(frozen=True, slots=True)
class _Request:
    image: weakref.ref[Image]
    plane: Plane
    prompt: Prompt


def prompts_of(session: Session) -> PromptTool | None:
    """Return the tool of a session's viewer, None once that is gone."""
    tool: PromptTool | None = session.findChild(PromptTool)
    viewer = session.viewer
    if tool is None and viewer is not None:
        tool = PromptTool(session, viewer)
    return tool


class PromptTool(QObject):
    """Makes and removes objects where the mouse points; use `prompts_of` to get it.

    Parameters
    ----------
    session : Session
        Of the viewer.
    viewer : ViewerModel
        The viewer.

    Signals
    -------
    changed ()
        A mode began or ended, a job started or ended.
    progressed (Progress)
        The job has come further.
    said (str, str)
        A sentence for the person, and its weight: "info", "warning" or "error".
    """

    changed = Signal()
    progressed = Signal(object)
    said = Signal(str, str)

    def __init__(self, session: Session, viewer: ViewerModel) -> None:
        super().__init__(session)
        session.released.connect(self.release)
        self.pointer = Pointer(viewer, self)
        self.pointer.clicked.connect(self._on_clicked)
        self.pointer.boxed.connect(self.prompt_in)
        self.pointer.changed.connect(self.changed)
        #: Model, device and object size, for images that are not encoded yet.
        self.recipe = Recipe()
        #: The class of new objects; empty leaves it to the network.
        self.class_name = ""
        self._image: weakref.ref[Image] | None = None
        self._waiting: deque[_Request] = deque()
        self._running: _Request | None = None
        self.jobs = JobRunner(self)
        self.jobs.changed.connect(self.changed)
        self.jobs.progressed.connect(self.progressed)
        self.jobs.returned.connect(self._on_returned)
        self.jobs.failed.connect(self._on_failed)

    @property
    def session(self) -> Session:
        """The session: this object's parent, which a reference would keep alive."""
        return cast("Session", self.parent())

    # ---- the modes

    @property
    def mode(self) -> str:
        """The mode that is on: "box", "point" or empty."""
        return self.pointer.mode

    @property
    def image(self) -> Image | None:
        """The image that the prompts are for."""
        return self._image() if self._image is not None else None

    @image.setter
    def image(self, image: Image | None) -> None:
        if image is not self.image:
            self.pointer.stop()
        self._image = weakref.ref(image) if image is not None else None

    def start(self, mode: str) -> None:
        """Begin a mode, "box" or "point"."""
        if self.image is None:
            self.said.emit("Open an image to begin", "info")
            return
        try:
            self.pointer.start(mode)
        except ValueError as error:
            self.said.emit(_sentence(error), "warning")

    def stop(self) -> None:
        """End the mode; a prompt that runs is finished."""
        self.pointer.stop()

    def _on_clicked(self, position: Any, alt: bool) -> None:
        if alt:
            self.remove_at(position)
        elif self.mode == POINT:
            self.prompt_at(position)
        else:
            self.said.emit("Drag a box around the object", "info")

    def prompt_at(self, position: Any) -> None:
        """Ask for the object at a position of the world."""
        places = self._places([position])
        if places is not None:
            y, x = (float(value) for value in places[0])
            self._ask(Prompt(point=(y, x), class_name=self.class_name))

    def prompt_in(self, begin: Any, end: Any) -> None:
        """Ask for the object in a box between two positions of the world."""
        viewer = self.session.viewer
        if viewer is None:
            return
        # The other two corners too: a layer may be turned against the view.
        first, second = np.array(begin, float), np.array(end, float)
        columns = viewer.dims.displayed[-1]
        third, fourth = first.copy(), second.copy()
        third[columns], fourth[columns] = second[columns], first[columns]
        places = self._places([first, second, third, fourth])
        if places is not None:
            (y0, x0), (y1, x1) = places.min(axis=0), places.max(axis=0)
            box = (float(x0), float(y0), float(x1), float(y1))
            self._ask(Prompt(box=box, class_name=self.class_name))

    def remove_at(self, position: Any) -> None:
        """Delete the object at a position of the world, in one undo step."""
        image, places = self.image, self._places([position])
        labels = self.session.results.labels_of(image) if image is not None else None
        if labels is None or places is None:
            return
        plane = self._plane()
        pixels = labels.data[plane.index]
        y, x = np.floor(places[0]).astype(int)
        inside = 0 <= y < pixels.shape[0] and 0 <= x < pixels.shape[1]
        index = int(pixels[y, x]) if inside else 0
        if not index:
            self.said.emit("There is no object to remove", "info")
            return
        try:
            apply(labels, plane, delete(pixels, [index]))
        except ValueError as error:
            self.said.emit(_sentence(error), "error")
        else:
            self.said.emit(f"Removed object {index}", "info")

    def _places(self, positions: list[Any]) -> NDArray[np.float64] | None:
        """Return positions of the world as (y, x) in the plane, by pixel edges."""
        image = self.image
        if image is None:
            return None
        axes = list(self._plane().axes)
        data = [np.asarray(image.world_to_data(p), float)[axes] for p in positions]
        # napari's pixels are centred at integers.
        return np.array(data) + 0.5

    def _plane(self) -> Plane:
        image, viewer = self.image, self.session.viewer
        if image is None or viewer is None:
            raise RuntimeError("the image of the prompts is gone")
        return current_plane(image, viewer)

    # ---- the network

    def _ask(self, prompt: Prompt) -> None:
        image = self.image
        if image is None:
            return
        if self.session.jobs.running:
            self.said.emit("Wait until the run has finished", "warning")
            return
        self._waiting.append(_Request(weakref.ref(image), self._plane(), prompt))
        self._next()

    def _next(self) -> None:
        if self.jobs.running or not self._waiting:
            return
        request = self._waiting.popleft()
        image = request.image()
        if image is None:
            self._next()
            return
        record = self.session.results.records_of(image).get(request.plane)
        kept = None
        if record is not None and record.encoding is not None:
            kept = KeptEncoding(record.encoding, record.encoded_as)
        self._running = request
        self.jobs.start(
            prompt_plane,
            self.session.loaded,
            plane_source(image, request.plane),
            self.recipe,
            kept,
            request.prompt,
        )

    def cancel(self) -> None:
        """Give up the prompt that runs, and those that wait."""
        self._waiting.clear()
        self._running = None
        self.jobs.cancel()

    def _on_failed(self, sentence: str) -> None:
        self._running = None
        self.said.emit(sentence, "error")
        self._next()

    def _on_returned(self, outcome: PromptOutcome) -> None:
        request, self._running = self._running, None
        image = request.image() if request is not None else None
        if request is not None and image is not None and self._is_open(image):
            try:
                self._write(image, request, outcome)
            except ValueError as error:
                self.said.emit(_sentence(error), "warning")
        self._next()

    def _is_open(self, image: Image) -> bool:
        viewer = self.session.viewer
        return viewer is not None and image in viewer.layers

    def _write(self, image: Image, request: _Request, outcome: PromptOutcome) -> None:
        """Put the new object into the Labels layer, in one undo step."""
        record = self._record(image, request.plane, outcome)
        labels, plane = record.target.layer, record.target.plane
        check_editable(labels)
        index = free_id(labels, plane)
        if index > np.iinfo(labels.data.dtype).max:
            widen(labels)
        pixels = record.target.pixels
        under = object_ids_under(pixels, outcome.instances)
        changed = record.ledger.changed_among(pixels, under)
        kept = with_approved(Edits(changed), record.target).kept
        edit = place(pixels, outcome.instances, index, kept)
        name = request.prompt.class_name or outcome.instances.names[0]
        score = float(outcome.instances.scores[0])
        apply(labels, plane, edit, score=score, **{"class": name})
        self.said.emit(f"Object {index}: {name}, score {score:.2f}", "info")

    def _record(
        self, image: Image, plane: Plane, outcome: PromptOutcome
    ) -> PlaneRecord:
        """Return what is kept of the plane, with the encoding if that is new."""
        session, encoded = self.session, outcome.encoded
        record = session.results.records_of(image).get(plane)
        if record is None and encoded is not None:
            empty = empty_instances(
                outcome.instances.image_shape, outcome.instances.class_names
            )
            session.take(
                image,
                plane,
                Outcome(encoded.encoding, encoded.encoded_as, empty),
                self.recipe,
            )
            record = session.results.records_of(image).get(plane)
        elif record is not None and encoded is not None:
            session.results.keep_encoding(record, encoded.encoding, encoded.encoded_as)
        if record is None:
            raise ValueError("the labels were closed in the meantime; try again")
        return record

    def release(self) -> None:
        """Let go of everything."""
        self.stop()
        self.cancel()


def _sentence(error: ValueError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
