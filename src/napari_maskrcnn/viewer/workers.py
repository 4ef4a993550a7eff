"""The one place that knows threads: start a job, follow it, stop it, say what failed.

A job is a generator of `Progress` records, and of results as they come, run by one
thread beside the viewer.  Three habits of the worker classes beneath are put right
here:

* A generator that is cancelled stays suspended, and its ``finally`` blocks never run:
  `ClosingWorker` closes it.
* A ``RuntimeError`` is taken for a deleted worker and swallowed, although running out
  of GPU memory is one: `ClosingWorker` reports it as any other error.
* ``napari.qt.threading.create_worker`` enters each worker into a list of the window
  that is never emptied.  `JobRunner` starts the worker itself, so that a finished job
  leaves nothing behind and closing the window asks no question.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from napari.qt.threading import GeneratorWorker
from qtpy.QtCore import QObject, Signal

from napari_maskrcnn.core.progress import seconds_left
from napari_maskrcnn.core.words import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_maskrcnn.core.progress import Progress

    Work = Callable[..., Generator[Any, None, Any]]

logger = logging.getLogger("napari_maskrcnn")

# What the core and the libraries raise for input that cannot be used, with a sentence.
EXPECTED_ERRORS = (ValueError, TypeError, OSError)


class ClosingWorker(GeneratorWorker):
    """A generator worker that always closes its generator and reports every error."""

    def work(self) -> Any:
        """Run the generator to its end; called in the worker's thread."""
        try:
            result = super().work()
        finally:
            self._gen.close()
        if isinstance(result, RuntimeError):
            raise result
        return result


def describe_error(error: BaseException) -> str:
    """Turn an exception into one line for the person.

    Errors about the input carry a sentence of their own.  Anything else is a fault of
    the program: it is logged with its traceback and named by its type.
    """
    text = one_line(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "Out of memory: close other images or choose a smaller part"
    if isinstance(error, EXPECTED_ERRORS) and text:
        return text[0].upper() + text[1:]
    logger.error("Unexpected error", exc_info=error)
    shown = f": {text[:200]}" if text else ""
    return f"Unexpected error, {type(error).__name__}{shown} (details in the log)"


class JobRunner(QObject):
    """Run one job at a time; all signals arrive in the main thread.

    A job that is cancelled is given up at once: what it still sends is dropped.  Its
    thread may need a moment to come to its next step, and a job started meanwhile
    waits for that.

    Signals
    -------
    changed ()
        A job started, ended or was cancelled.
    progressed (object)
        What the job yields: most often `Progress`.
    returned (object)
        The job's result.
    failed (str)
        The sentence of `describe_error`.
    warned (str)
        A warning that concerns the person.
    """

    changed = Signal()
    progressed = Signal(object)
    returned = Signal(object)
    failed = Signal(str)
    warned = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker: ClosingWorker | None = None
        self._leaving: ClosingWorker | None = None
        self._next: tuple[Work, tuple[Any, ...]] | None = None
        self._pace: tuple[float, int, int] | None = None
        self._started = 0.0
        #: How long the last job took.
        self.seconds = 0.0

    @property
    def running(self) -> bool:
        """Whether a job runs or waits to be started."""
        return self._worker is not None or self._next is not None

    @property
    def waiting(self) -> bool:
        """Whether a job waits for a cancelled one to leave its thread."""
        return self._next is not None

    def start(self, work: Work, *arguments: Any) -> None:
        """Start `work(*arguments)` in a thread.

        Raises
        ------
        RuntimeError
            When a job is running already.
        """
        if self.running:
            raise RuntimeError("a job is running already; cancel it first")
        self._next = (work, arguments)
        if self._leaving is None:
            self._begin()
        self.changed.emit()

    def cancel(self) -> None:
        """Give the job up; nothing happens when there is none."""
        if not self.running:
            return
        self._next = None
        if self._leave() and self._leaving is not None:
            self._leaving.quit()
        else:
            self.changed.emit()

    def seconds_left(self, progress: Progress) -> float | None:
        """Estimate the seconds left from the steps done; None when too early to say.

        Counted from the first step of the same kind, so that loading the model, which
        happens once, does not spoil the estimate.
        """
        now = time.monotonic()
        if self._pace is None or self._pace[1] != progress.total:
            self._pace = (now, progress.total, progress.done)
        start, _, first = self._pace
        return seconds_left(now - start, progress.done - first, progress.total - first)

    def _begin(self) -> None:
        if self._next is None:
            return
        work, arguments = self._next
        self._next = None
        worker = ClosingWorker(work, *arguments)
        self._worker, self._pace, self._started = worker, None, time.monotonic()
        worker.yielded.connect(self._on_yielded)
        worker.returned.connect(self._on_returned)
        worker.errored.connect(self._on_errored)
        worker.warned.connect(self._on_warned)
        worker.finished.connect(self._on_finished)
        worker.start()

    # A worker that was given up may have signals under way: only the current one
    # counts.  `_worker` is None from `cancel` to the next start, which waits for
    # `finished`, the last signal of the old one.

    def _on_yielded(self, progress: object) -> None:
        if self._worker is not None:
            self.progressed.emit(progress)

    def _on_returned(self, result: object) -> None:
        if self._leave():
            self.returned.emit(result)

    def _on_errored(self, error: Exception) -> None:
        if self._leave():
            self.failed.emit(describe_error(error))
        else:
            logger.info("A cancelled job ended in an error", exc_info=error)

    def _leave(self) -> bool:
        """Let the current worker end; say whether it still counted."""
        if self._worker is None:
            return False
        self._leaving, self._worker = self._worker, None
        self.seconds = time.monotonic() - self._started
        self.changed.emit()
        return True

    def _on_warned(self, warning: tuple[Any, ...]) -> None:
        message, _category, filename, *_ = warning
        # Other libraries warn about themselves, which is nothing to show.
        if "napari_maskrcnn" in str(filename):
            self.warned.emit(str(message))
        else:
            logger.info("%s: %s", filename, message)

    def _on_finished(self) -> None:
        self._leaving = None
        self._begin()
        if self._worker is not None:
            self.changed.emit()
