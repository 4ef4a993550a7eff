"""Jobs that run one after another."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from napari_maskrcnn.viewer.job_queue import JobQueue, Queued

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pytestqt.qtbot import QtBot


@pytest.fixture
def queue(qtbot: QtBot) -> Iterator[JobQueue]:
    queue = JobQueue()
    yield queue
    queue.clear()
    qtbot.waitUntil(lambda: queue.jobs._leaving is None)


def job(name: str, heard: list[str], go_on: threading.Event | None = None) -> Queued:
    def work() -> Generator[None, None, str]:
        if go_on is not None:
            go_on.wait(20)
        yield
        if name == "broken":
            raise ValueError("it broke")
        return name

    def tell(word: Any) -> None:
        heard.append(str(word))

    return Queued(work, tell, tell, about=name)


def test_each_has_its_turn(queue: JobQueue, qtbot: QtBot) -> None:
    heard: list[str] = []
    for name in ("a", "broken", "b"):
        queue.add(job(name, heard))
    assert queue.busy
    qtbot.waitUntil(lambda: not queue.busy)
    assert heard == ["a", "It broke", "b"]


def test_what_is_dropped_is_not_heard_of(queue: JobQueue, qtbot: QtBot) -> None:
    heard: list[str] = []
    go_on = threading.Event()
    queue.add(job("a", heard, go_on))
    for name in ("b", "c"):
        queue.add(job(name, heard))
    assert queue.has("a")
    assert queue.has("b")
    queue.drop("b")
    queue.drop("a")
    assert not queue.has("a")
    assert not queue.has("b")
    go_on.set()
    qtbot.waitUntil(lambda: not queue.busy)
    assert heard == ["c"]


def test_nothing_is_left_after_clearing(queue: JobQueue, qtbot: QtBot) -> None:
    heard: list[str] = []
    go_on = threading.Event()
    queue.add(job("a", heard, go_on))
    queue.add(job("b", heard))
    queue.clear()
    assert not queue.busy
    go_on.set()
    queue.add(job("c", heard))
    qtbot.waitUntil(lambda: not queue.busy)
    assert heard == ["c"]
