"""Jobs beside the window, one after another."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_maskrcnn.viewer.workers import JobRunner

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Queued:
    """A job, and who hears of its end.

    Parameters
    ----------
    work : callable
        Returns the generator to run.
    then : callable
        Gets the result.
    failed : callable
        Gets the sentence that says what went wrong.
    about : object
        What the job is about, to be asked for.
    """

    work: Callable[..., Any]
    then: Callable[[Any], None]
    failed: Callable[[str], None]
    about: object = None


class JobQueue(QObject):
    """Runs jobs one after another; all calls and answers are in the main thread."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: deque[Queued] = deque()
        self._current: Queued | None = None
        self.jobs = JobRunner(self)
        self.jobs.returned.connect(self._on_returned)
        self.jobs.failed.connect(self._on_failed)

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return self._current is not None or bool(self._waiting)

    def add(self, job: Queued) -> None:
        """Run a job when all those before it have ended."""
        self._waiting.append(job)
        self._next()

    def has(self, about: object) -> bool:
        """Whether a job about something runs or waits."""
        current = [self._current] if self._current is not None else []
        return any(job.about == about for job in (*current, *self._waiting))

    def drop(self, about: object) -> None:
        """Forget the jobs about something that wait, and give up one that runs."""
        self._waiting = deque(job for job in self._waiting if job.about != about)
        if self._current is not None and self._current.about == about:
            self._current = None
            self.jobs.cancel()
            self._next()

    def clear(self) -> None:
        """Forget what waits and give up what runs."""
        self._waiting.clear()
        self._current = None
        self.jobs.cancel()

    def _next(self) -> None:
        if self._waiting and self._current is None:
            self._current = self._waiting.popleft()
            self.jobs.start(self._current.work)

    def _on_returned(self, result: Any) -> None:
        job, self._current = self._current, None
        if job is not None:
            job.then(result)
        self._next()

    def _on_failed(self, sentence: str) -> None:
        job, self._current = self._current, None
        if job is not None:
            job.failed(sentence)
        self._next()
