"""Nothing is lost: corrections go to a side file while a person works.

Some seconds after a change of an image's labels, a thread writes what a person did to
them into a file in the person's state folder (see `core.recovery`).  When the image is
opened again and such a file is there that nobody works on any more, it is offered.

A file goes when its layer was saved, by napari or as COCO, when everything was undone,
and when the person declines it.  It stays when the window or the layer is closed
without saving: a crash and a slip of the hand are the same to it.
"""

from __future__ import annotations

import os
import uuid
import weakref
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import psutil
from qtpy.QtCore import QObject, QTimer, Signal

from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.recovery import (
    DamagedFileError,
    corrections_path,
    read_corrections,
    set_aside,
    state_folder,
)
from napari_maskrcnn.viewer.features import METADATA
from napari_maskrcnn.viewer.layers import finest
from napari_maskrcnn.viewer.recovery_job import Saved, Snapshot, look, save
from napari_maskrcnn.viewer.restoring import restore
from napari_maskrcnn.viewer.saving import tell_when_saved
from napari_maskrcnn.viewer.workers import JobRunner, describe_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.layers import Image, Labels

    from napari_maskrcnn.core.corrections import ImageIdentity
    from napari_maskrcnn.viewer.layers import Plane
    from napari_maskrcnn.viewer.recovery_job import Offer
    from napari_maskrcnn.viewer.session import Session

# From the first change to the save that has it; a stroke is seldom longer.
DELAY_MS = 2000

# The tokens of this process's open windows, with the files of layers that are open.
_open: dict[str, set[Path]] = {}


def recovery_of(session: Session) -> Recovery:
    """Return the keeper of a session's corrections; there is one for each."""
    keeper: Recovery | None = session.findChild(Recovery)
    return keeper if keeper is not None else Recovery(session)


class Recovery(QObject):
    """Saves the corrections of a session, and offers those of earlier ones.

    Signals
    -------
    changed ()
        What is offered changed.
    said (str, str)
        A sentence for the person, and its weight: "info", "warning" or "error".
    """

    changed = Signal()
    said = Signal(str, str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.token = uuid.uuid4().hex[:12]
        _open[self.token] = set()
        self._touched: weakref.WeakKeyDictionary[Labels, set[Plane]] = (
            weakref.WeakKeyDictionary()
        )
        self._files: weakref.WeakKeyDictionary[Labels, Saved] = (
            weakref.WeakKeyDictionary()
        )
        self._identities: weakref.WeakKeyDictionary[Image, ImageIdentity | None] = (
            weakref.WeakKeyDictionary()
        )
        self._offers: weakref.WeakKeyDictionary[Image, Offer] = (
            weakref.WeakKeyDictionary()
        )
        self._numbers: weakref.WeakKeyDictionary[Labels, int] = (
            weakref.WeakKeyDictionary()
        )
        self._count = 0
        self._dirty: weakref.WeakSet[Labels] = weakref.WeakSet()
        self._work: deque[tuple[Callable[..., Any], Callable[[Any], None]]] = deque()
        self._then: Callable[[Any], None] | None = None
        self.jobs = JobRunner(self)
        self.jobs.returned.connect(self._on_returned)
        self.jobs.failed.connect(self._on_failed)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.timeout.connect(self.save_changes)
        session.layers_changed.connect(self._follow)
        session.shown_changed.connect(self._follow)
        session.released.connect(self.release)
        viewer = session.viewer
        if viewer is not None:
            viewer.layers.events.removing.connect(self._on_removing)
            tell_when_saved(viewer, self)
        self._follow()

    @property
    def session(self) -> Session:
        """The session: this object's parent, which a reference would keep alive."""
        return cast("Session", self.parent())

    # ---- following the layers

    def _follow(self) -> None:
        """Listen to the labels of every image, and look for files of new images."""
        if self._released:
            return
        for image in self.session.images():
            if image not in self._identities:
                self._identities[image] = None
                self._look(image)
            labels = self.session.results.labels_of(image)
            if labels is not None and labels not in self._touched:
                self._touched[labels] = set()
                labels.events.set_data.connect(self._on_changed)
                labels.events.features.connect(self._on_changed)
                labels.events.metadata.connect(self._on_changed)

    def _on_changed(self, event: Any) -> None:
        if self._released:
            return
        labels = event.source
        plane = self.session.plane_of(labels)
        if plane is not None:
            self._touched.setdefault(labels, set()).add(plane)
        self._dirty.add(labels)
        if not self._timer.isActive():
            self._timer.start()

    @property
    def _released(self) -> bool:
        return self.token not in _open

    def _on_removing(self, event: Any) -> None:
        """Save what was not saved yet before a layer goes."""
        viewer = self.session.viewer
        if viewer is None or self._released:
            return
        layer = viewer.layers[event.index]
        labels = (
            self.session.results.labels_of(layer)
            if layer in self._identities
            else layer
        )
        if labels is None or labels not in self._touched:
            return
        if labels in self._dirty:
            self._save_now(labels)
        saved = self._files.get(labels)
        if saved is not None:
            # From now on it may be offered again, in this window too.
            _open[self.token].discard(saved.path)

    # ---- saving

    def save_changes(self) -> None:
        """Begin to save what has changed."""
        if self.session.sliding or self.jobs.running:
            self._timer.start()
            return
        for labels in list(self._dirty):
            self._dirty.discard(labels)
            work = self._save_work(labels, write=True)
            if work is not None:
                self._enqueue(work, partial(self._on_saved, weakref.ref(labels)))

    def _save_work(self, labels: Labels, *, write: bool) -> Callable[..., Any] | None:
        image = self.session.results.image_of(labels)
        if image is None:
            return None
        records = self.session.results.records_of(image)
        planes = {
            plane: replace(record, ledger=record.ledger.copy())
            if (record := records.get(plane)) is not None
            else None
            for plane in self._touched.get(labels, ())
        }
        snapshot = Snapshot(
            folder=state_folder(),
            owner=self._owner(labels),
            source=finest(image),
            source_path=str(image.source.path or ""),
            labels=labels.data,
            layer_name=labels.name,
            planes=planes,
            table=labels.features.copy(),
            metadata=dict(labels.metadata.get(METADATA, {})),
        )
        last = self._files.get(labels)
        known = last.state if last is not None else None
        return partial(save, snapshot, self._identities.get(image), known, write=write)

    def _owner(self, labels: Labels) -> dict[str, Any]:
        process = psutil.Process()
        # One image may be open twice, or again: never two layers with one file.
        number = self._numbers.setdefault(labels, self._count)
        self._count += number == self._count
        return {
            "token": f"{self.token}-{number}",
            "session": self.token,
            "pid": process.pid,
            "started": process.create_time(),
        }

    def _on_saved(self, reference: weakref.ref[Labels], saved: Saved) -> None:
        labels = reference()
        image = self.session.results.image_of(labels) if labels is not None else None
        if labels is None or image is None:
            return
        self._identities[image] = saved.image
        self._files[labels] = saved
        _open[self.token].add(saved.path)

    def _save_now(self, labels: Labels) -> None:
        """Save in this thread: the layer or the window is about to go."""
        self._dirty.discard(labels)
        work = self._save_work(labels, write=True)
        if work is None:
            return
        try:
            self._on_saved(weakref.ref(labels), exhaust(work()))
        except OSError as error:
            self.said.emit(describe_error(error), "error")

    def mark_saved(self, labels: Labels) -> None:
        """Say that a layer was saved elsewhere: its file goes."""
        if labels not in self._touched:
            return
        self._dirty.discard(labels)
        # The checksum of the present state, so that a mere repaint writes no new file.
        work = self._save_work(labels, write=False)
        if work is not None:
            self._enqueue(work, partial(self._on_saved_elsewhere, weakref.ref(labels)))

    def _on_saved_elsewhere(self, reference: weakref.ref[Labels], saved: Saved) -> None:
        self._on_saved(reference, saved)
        saved.path.unlink(missing_ok=True)

    # ---- offers

    def _look(self, image: Image) -> None:
        work = partial(
            look,
            state_folder(),
            finest(image),
            str(image.source.path or ""),
            is_living,
        )
        self._enqueue(work, partial(self._on_looked, weakref.ref(image)))

    def _on_looked(self, reference: weakref.ref[Image], result: Any) -> None:
        image = reference()
        identity, offer, sentences = result
        for sentence in sentences:
            self.said.emit(sentence, "warning")
        if image is None:
            return
        self._identities[image] = identity
        if offer is not None:
            self._offers[image] = offer
            self.changed.emit()

    def offers(self) -> list[tuple[Image, Offer]]:
        """Return what may be restored, for the images that are open."""
        return [
            (x, self._offers[x]) for x in self.session.images() if x in self._offers
        ]

    def decline(self, image: Image) -> None:
        """Delete the file that is offered for an image."""
        offer = self._offers.pop(image, None)
        if offer is not None:
            offer.path.unlink(missing_ok=True)
            self.changed.emit()

    def restore(self, image: Image) -> None:
        """Put the corrections that are offered for an image into its labels."""
        offer = self._offers.pop(image, None)
        self.changed.emit()
        if offer is None:
            return
        try:
            corrections = read_corrections(offer.path)
            labels = restore(self.session, image, corrections)
        except DamagedFileError as error:
            aside = set_aside(offer.path)
            self.said.emit(
                f"{describe_error(error)}. The file is kept as {aside}", "error"
            )
            return
        except (OSError, ValueError) as error:
            self.said.emit(describe_error(error), "error")
            return
        self._follow()
        planes = set(self.session.results.records_of(image))
        self._touched.setdefault(labels, set()).update(planes)
        # The file is this window's from now on, in case of another crash.
        identity = self._identities.get(image)
        if identity is not None:
            token = self._owner(labels)["token"]
            path = corrections_path(state_folder(), identity, token)
            os.replace(offer.path, path)
            _open[self.token].add(path)
        self._dirty.add(labels)
        self._timer.start()
        self.said.emit(f"Restored in {labels.name}", "info")

    # ---- one thing after another

    def _enqueue(self, work: Callable[..., Any], then: Callable[[Any], None]) -> None:
        self._work.append((work, then))
        self._next()

    def _next(self) -> None:
        if self._work and not self.jobs.running:
            work, self._then = self._work.popleft()
            self.jobs.start(work)

    def _on_returned(self, result: Any) -> None:
        then, self._then = self._then, None
        if then is not None:
            then(result)
        self._next()

    def _on_failed(self, sentence: str) -> None:
        self._then = None
        self.said.emit(f"The corrections could not be saved: {sentence}", "error")
        self._next()

    def release(self) -> None:
        """Save what is left to save and let go; the files stay."""
        for labels in list(self._dirty):
            self._save_now(labels)
        self._timer.stop()
        self._work.clear()
        self.jobs.cancel()
        _open.pop(self.token, None)


def is_living(path: Path, owner: dict[str, Any]) -> bool:
    """Whether an open window, here or in another process, works on a file."""
    pid = owner.get("pid")
    if pid == os.getpid():
        return path in _open.get(str(owner.get("session")), ())
    try:
        started = psutil.Process(int(pid or 0)).create_time()
    except (psutil.Error, ValueError, TypeError):
        return False
    return bool(np.isclose(started, float(owner.get("started", 0)), rtol=0, atol=1))
