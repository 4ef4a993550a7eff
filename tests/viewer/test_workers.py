"""Jobs in a thread: results, errors, warnings, cancelling, and nothing left behind."""

from __future__ import annotations

import gc
import threading
import time
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_maskrcnn.core.progress import Progress
from napari_maskrcnn.viewer.workers import JobRunner, describe_error

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pytestqt.qtbot import QtBot

    Job = Generator[Progress, None, Any]

closed = threading.Event()


def counting(steps: int, pause: float = 0.01) -> Job:
    closed.clear()
    try:
        for step in range(steps):
            yield Progress(step, steps)
            time.sleep(pause)
        return steps
    finally:
        closed.set()


def failing(error: Exception) -> Job:
    yield Progress(0, 1)
    raise error


def warning() -> Job:
    yield Progress(0, 1)
    warnings.warn_explicit("mind this", UserWarning, "x/napari_maskrcnn/core.py", 1)
    warnings.warn_explicit("not our business", UserWarning, "x/other.py", 1)
    return None


def holding(array: Any) -> Job:
    yield Progress(0, 1)
    time.sleep(0.02)
    return float(array[0])


@pytest.fixture
def runner(qtbot: QtBot) -> Iterator[JobRunner]:
    runner = JobRunner()
    yield runner
    runner.cancel()
    qtbot.waitUntil(lambda: runner._leaving is None)


def test_a_job_reports_and_returns_in_the_main_thread(
    runner: JobRunner, qtbot: QtBot
) -> None:
    seen: list[tuple[int, bool]] = []
    main = threading.main_thread()
    runner.progressed.connect(
        lambda p: seen.append((p.done, threading.current_thread() is main))
    )
    with qtbot.waitSignal(runner.returned, timeout=5000) as result:
        runner.start(counting, 4)
        assert runner.running
    assert result.args == [4]
    assert seen == [(0, True), (1, True), (2, True), (3, True)]
    assert not runner.running


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            ValueError("the image is empty:\n  its shape is (0, 0)"),
            "The image is empty: its shape is (0, 0)",
        ),
        (FileNotFoundError("no such file: a.png"), "No such file: a.png"),
        (
            OSError(30, "Read-only file system", "/a.tif"),
            "Read-only file system: /a.tif",
        ),
        (MemoryError(), "Out of memory: close other images or choose a smaller part"),
        (
            RuntimeError("boom"),
            "Unexpected error, RuntimeError: boom (details in the log)",
        ),
    ],
)
def test_every_error_becomes_one_line(
    runner: JobRunner, qtbot: QtBot, error: Exception, sentence: str
) -> None:
    with qtbot.waitSignal(runner.failed, timeout=5000) as failed:
        runner.start(failing, error)
    assert failed.args == [sentence]
    assert not runner.running


def test_an_unexpected_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise KeyError("boxes")
    except KeyError as error:
        describe_error(error)
    assert "Traceback" in caplog.text
    assert "boxes" in caplog.text


def test_only_our_warnings_are_shown(runner: JobRunner, qtbot: QtBot) -> None:
    seen: list[str] = []
    runner.warned.connect(seen.append)
    with qtbot.waitSignal(runner.returned, timeout=5000):
        runner.start(warning)
    assert seen == ["mind this"]


def test_cancel_answers_at_once_and_closes_the_generator(
    runner: JobRunner, qtbot: QtBot
) -> None:
    returned: list[Any] = []
    runner.returned.connect(returned.append)
    runner.start(counting, 1000)
    qtbot.wait(50)
    runner.cancel()
    assert not runner.running
    qtbot.waitUntil(closed.is_set, timeout=2000)
    assert returned == []


def test_a_job_started_after_cancel_waits_for_the_thread(
    runner: JobRunner, qtbot: QtBot
) -> None:
    runner.start(counting, 10, 0.2)
    qtbot.wait(50)
    runner.cancel()
    with qtbot.waitSignal(runner.returned, timeout=5000) as result:
        runner.start(counting, 3)
        assert runner.waiting
    assert result.args == [3]


def test_a_second_job_is_refused(runner: JobRunner) -> None:
    runner.start(counting, 10)
    with pytest.raises(RuntimeError, match="already"):
        runner.start(counting, 1)


def test_finished_and_cancelled_jobs_let_go_of_their_arguments(
    make_napari_viewer_proxy: Any, runner: JobRunner, qtbot: QtBot
) -> None:
    # With a viewer open: napari's own `create_worker` would keep them.
    make_napari_viewer_proxy()
    references = []
    for stop in (False, True):
        array = np.ones(4)
        references.append(weakref.ref(array))
        runner.start(holding, array)
        if stop:
            runner.cancel()
        qtbot.waitUntil(lambda: not runner.running and runner._leaving is None)
        del array
    qtbot.wait(20)
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_time_left_is_counted_from_the_first_step(qtbot: QtBot) -> None:
    runner = JobRunner()
    assert runner.seconds_left(Progress(0, 0)) is None
    assert runner.seconds_left(Progress(2, 10)) is None
    qtbot.wait(100)
    left = runner.seconds_left(Progress(3, 10))
    assert left is not None
    assert 0.5 < left < 3
