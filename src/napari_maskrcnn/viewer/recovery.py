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
import threading
import weakref
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

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
from napari_maskrcnn.viewer.job_queue import JobQueue, Queued
from napari_maskrcnn.viewer.layers import finest
from napari_maskrcnn.viewer.recovery_job import Saved, Snapshot, look, save
from napari_maskrcnn.viewer.restoring import restore
from napari_maskrcnn.viewer.saving import tell_when_saved
from napari_maskrcnn.viewer.side_files import SideFiles, is_living
from napari_maskrcnn.viewer.workers import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image, Labels

    from napari_maskrcnn.core.corrections import ImageIdentity
    from napari_maskrcnn.viewer.layers import Plane
    from napari_maskrcnn.viewer.recovery_job import Offer
    from napari_maskrcnn.viewer.session import Session

# From the first change to the save that has it; a stroke is seldom longer.
DELAY_MS = 2000
# After a save that failed.
RETRY_MS = 20_000


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
        self.files = SideFiles()
        self._touched: weakref.WeakKeyDictionary[Labels, set[Plane]] = (
            weakref.WeakKeyDictionary()
        )
        self._saved: weakref.WeakKeyDictionary[Labels, Saved] = (
            weakref.WeakKeyDictionary()
        )
        self._identities: weakref.WeakKeyDictionary[Image, ImageIdentity | None] = (
            weakref.WeakKeyDictionary()
        )
        self._offers: weakref.WeakKeyDictionary[Image, Offer] = (
            weakref.WeakKeyDictionary()
        )
        self._locks: weakref.WeakKeyDictionary[Labels, threading.Lock] = (
            weakref.WeakKeyDictionary()
        )
        self._dirty: weakref.WeakSet[Labels] = weakref.WeakSet()
        self._failing = False
        self.queue = JobQueue(self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
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
        if self.files.closed:
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
        if self.files.closed:
            return
        labels = event.source
        plane = self.session.plane_of(labels)
        if plane is not None:
            self._touched.setdefault(labels, set()).add(plane)
        self._dirty.add(labels)
        if not self._timer.isActive():
            self._timer.start(DELAY_MS)

    def _on_removing(self, event: Any) -> None:
        """Save what was not saved yet before a layer goes."""
        viewer = self.session.viewer
        if viewer is None or self.files.closed:
            return
        layer = viewer.layers[event.index]
        labels = (
            self.session.results.labels_of(layer)
            if layer in self._identities
            else layer
        )
        if labels is None or labels not in self._touched:
            return
        if labels in self._unsaved():
            self._save_now(labels)
        saved = self._saved.get(labels)
        if saved is not None:
            # From now on it may be offered again, in this window too.
            self.files.let_go(saved.path)

    # ---- saving

    def save_changes(self) -> None:
        """Begin to save what has changed."""
        if self.session.sliding or self.queue.busy:
            self._timer.start(DELAY_MS)
            return
        for labels in list(self._dirty):
            self._dirty.discard(labels)
            work = self._save_work(labels, write=True)
            if work is not None:
                about = weakref.ref(labels)
                then = partial(self._on_saved, about)
                failed = partial(self._on_not_saved, about)
                self.queue.add(Queued(work, then, failed, about))

    def _unsaved(self) -> list[Labels]:
        """Return the layers of which something is not in a file yet."""
        return [
            labels
            for labels in self._touched
            if labels in self._dirty or self.queue.has(weakref.ref(labels))
        ]

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
            owner=self.files.owner(labels),
            source=finest(image),
            source_path=str(image.source.path or ""),
            labels=labels.data,
            layer_name=labels.name,
            lock=self._locks.setdefault(labels, threading.Lock()),
            planes=planes,
            table=labels.features.copy(),
            metadata=dict(labels.metadata.get(METADATA, {})),
        )
        last = self._saved.get(labels)
        known = last.state if last is not None else None
        return partial(save, snapshot, self._identities.get(image), known, write=write)

    def _on_saved(self, reference: weakref.ref[Labels], saved: Saved) -> None:
        labels = reference()
        image = self.session.results.image_of(labels) if labels is not None else None
        if labels is None or image is None:
            return
        self._identities[image] = saved.image
        self._saved[labels] = saved
        self.files.hold(saved.path)
        if self._failing:
            self._failing = False
            self.said.emit("Your corrections are saved again", "info")

    def _on_not_saved(self, reference: weakref.ref[Labels], sentence: str) -> None:
        labels = reference()
        if labels is None or self.files.closed:
            return
        self._failing = True
        self._dirty.add(labels)
        self._timer.start(RETRY_MS)
        again = f"Your corrections are not saved; next try in {RETRY_MS // 1000} s"
        self.said.emit(f"{again}. {sentence}", "error")

    def _save_now(self, labels: Labels) -> None:
        """Save in this thread: the layer or the window is about to go."""
        self._dirty.discard(labels)
        self.queue.drop(weakref.ref(labels))
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
            then = partial(self._on_saved_elsewhere, weakref.ref(labels))
            self.queue.add(Queued(work, then, self._on_failed))

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
        then = partial(self._on_looked, weakref.ref(image))
        self.queue.add(Queued(work, then, self._on_failed))

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
            token = self.files.owner(labels)["token"]
            path = corrections_path(state_folder(), identity, token)
            os.replace(offer.path, path)
            self.files.hold(path)
        self._dirty.add(labels)
        self._timer.start(DELAY_MS)
        self.said.emit(f"Restored in {labels.name}", "info")

    def _on_failed(self, sentence: str) -> None:
        self.said.emit(sentence, "error")

    def release(self) -> None:
        """Save what is left to save and let go; the files stay."""
        self._timer.stop()
        unsaved = self._unsaved()
        self.queue.clear()
        for labels in unsaved:
            self._save_now(labels)
        self.files.close()
