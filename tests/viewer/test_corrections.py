"""Corrections are saved while a person works, and come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from viewer_samples import outcome, squares

from napari_maskrcnn.core.corrections import Corrections, SavedPlane, Summary, identify
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.recovery import (
    corrections_path,
    read_corrections,
    write_corrections,
)
from napari_maskrcnn.viewer import recovery_job
from napari_maskrcnn.viewer.layers import current_plane
from napari_maskrcnn.viewer.marks import approved, regions_of
from napari_maskrcnn.viewer.recovery import Recovery, recovery_of
from napari_maskrcnn.viewer.recovery_job import with_free_ids_only
from napari_maskrcnn.viewer.side_files import is_living

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.layers import Image, Labels
    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.viewer.session import Session

SHAPE = (40, 60)
SCORES = [0.9, 0.8, 0.7]
RUN = Path(__file__).with_name("recovery_run.py")


@pytest.fixture(autouse=True)
def folder(state_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Soon, so that the tests need not wait.
    monkeypatch.setattr("napari_maskrcnn.viewer.recovery.DELAY_MS", 50)
    return state_folder


@pytest.fixture
def keeper(session: Session, qtbot: QtBot) -> Iterator[Recovery]:
    keeper = recovery_of(session)
    yield keeper
    keeper.release()
    qtbot.waitUntil(lambda: keeper.queue.jobs._leaving is None)


def pixels(seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 255, SHAPE, np.uint8)


@pytest.fixture
def image(viewer: Any) -> Image:
    layer: Image = viewer.add_image(pixels(), name="cells")
    return layer


def take(session: Session, image: Image, scores: list[float] = SCORES) -> Labels:
    viewer = session.viewer
    assert viewer is not None
    plane = current_plane(image, viewer)
    session.take(image, plane, outcome(squares(scores)), Recipe())
    labels = session.results.labels_of(image)
    assert labels is not None
    return labels


def settle(keeper: Recovery, qtbot: QtBot) -> None:
    def rests() -> bool:
        # The table follows the pixels a little later, and is saved then.
        busy = keeper.session._settle.isActive() or keeper._timer.isActive()
        return not (busy or keeper.queue.busy or keeper.queue.jobs._leaving)

    qtbot.waitUntil(rests, timeout=20_000)


def paint(labels: Labels, index: int) -> None:
    labels.brush_size = 4
    labels.paint((34, 30), index)


def approve(labels: Labels, index: int) -> None:
    table = labels.features.copy()
    table.loc[table["index"] == index, "reviewed"] = True
    labels.features = table


def hold_up(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[threading.Event, threading.Event]:
    """Let saves in threads wait at a step: one event says so, the other ends it."""
    waiting, go_on = threading.Event(), threading.Event()
    real = getattr(recovery_job, step)

    def held_up(*arguments: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            waiting.set()
            go_on.wait(20)
        return real(*arguments)

    monkeypatch.setattr(recovery_job, step, held_up)
    return waiting, go_on


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def write_for(folder: Path, image: Image, plane: SavedPlane, **values: Any) -> Path:
    """Write a file as a window that is gone would have left it."""
    from datetime import UTC, datetime

    identity = identify(image.data)
    owner = {"token": "gone", "session": "gone", "pid": 2**22 + 1, "started": 0}
    summary = Summary(identity, "cells", datetime.now(UTC), 1, 0, 0, owner)
    path = corrections_path(folder, identity, "gone")
    write_corrections(path, Corrections(summary, (plane,), **values))
    return path


# ---- saving


def test_only_what_a_person_did_makes_a_file(
    session: Session, keeper: Recovery, image: Image, folder: Path, qtbot: QtBot
) -> None:
    labels = take(session, image)
    settle(keeper, qtbot)
    assert files(folder) == []
    paint(labels, 9)
    settle(keeper, qtbot)
    (path,) = files(folder)
    saved = read_corrections(path)
    np.testing.assert_array_equal(saved.planes[0].label_image, labels.data)
    assert saved.planes[0].edited == (9,)
    assert saved.summary.edited == 1
    assert saved.table["index"] == [1, 2, 3, 9]
    assert saved.table["score"][0] == pytest.approx(0.9)
    assert saved.table["score"][3] is None
    labels.undo()
    settle(keeper, qtbot)
    assert files(folder) == []
    labels.redo()
    settle(keeper, qtbot)
    assert files(folder) == [path]


def test_marks_count_as_work(
    session: Session, keeper: Recovery, image: Image, folder: Path, qtbot: QtBot
) -> None:
    labels = take(session, image)
    approve(labels, 2)
    settle(keeper, qtbot)
    (path,) = files(folder)
    assert read_corrections(path).summary.reviewed == 1


def test_nothing_is_written_when_nothing_changed(
    session: Session, keeper: Recovery, image: Image, folder: Path, qtbot: QtBot
) -> None:
    labels = take(session, image)
    paint(labels, 9)
    settle(keeper, qtbot)
    (path,) = files(folder)
    before = path.stat().st_mtime_ns
    labels.refresh()
    settle(keeper, qtbot)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("by_list", [True, False])
def test_the_file_goes_when_the_layer_was_saved(
    viewer: Any,
    session: Session,
    keeper: Recovery,
    image: Image,
    folder: Path,
    qtbot: QtBot,
    tmp_path: Path,
    by_list: bool,
) -> None:
    labels = take(session, image)
    paint(labels, 9)
    settle(keeper, qtbot)
    assert files(folder)
    target = str(tmp_path / "labels.tif")
    if by_list:
        viewer.layers.selection.active = labels
        viewer.layers.save(target, selected=True, plugin="napari")
    else:
        labels.save(target, plugin="napari")
    settle(keeper, qtbot)
    assert files(folder) == []
    labels.refresh()
    settle(keeper, qtbot)
    assert files(folder) == []
    paint(labels, 10)
    settle(keeper, qtbot)
    assert len(files(folder)) == 1


def test_closing_without_saving_loses_nothing(
    viewer: Any,
    session: Session,
    keeper: Recovery,
    image: Image,
    folder: Path,
    qtbot: QtBot,
) -> None:
    labels = take(session, image)
    paint(labels, 9)
    # At once: the timer has not fired yet.
    painted = labels.data.copy()
    viewer.layers.clear()
    (path,) = files(folder)
    np.testing.assert_array_equal(read_corrections(path).planes[0].label_image, painted)
    again = viewer.add_image(pixels())
    qtbot.waitUntil(lambda: bool(keeper.offers()), timeout=20_000)
    ((layer, offer),) = keeper.offers()
    assert (layer, offer.path) == (again, path)
    # Work that is begun anew does not take the place of what is offered.
    paint(take(session, again), 9)
    settle(keeper, qtbot)
    assert len(files(folder)) == 2
    assert path.exists()


@pytest.mark.parametrize(
    ("end", "step"), [("window", "_saved_plane"), ("layer", "write_corrections")]
)
def test_a_save_under_way_loses_nothing(
    viewer: Any,
    session: Session,
    keeper: Recovery,
    image: Image,
    folder: Path,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    step: str,
) -> None:
    labels = take(session, image)
    settle(keeper, qtbot)
    saving, go_on = hold_up(step, monkeypatch)
    paint(labels, 9)
    qtbot.waitUntil(saving.is_set, timeout=20_000)
    if end == "layer":
        # What the save that is under way does not know.
        approve(labels, 2)
    painted = labels.data.copy()
    threading.Timer(0.2, go_on.set).start()
    if end == "window":
        keeper.release()
    else:
        viewer.layers.remove(labels)
    (path,) = files(folder)
    qtbot.waitUntil(lambda: keeper.queue.jobs._leaving is None, timeout=20_000)
    assert files(folder) == [path]
    saved = read_corrections(path)
    np.testing.assert_array_equal(saved.planes[0].label_image, painted)
    assert saved.summary.reviewed == (end == "layer")


def test_a_save_that_waits_does_not_overwrite_a_later_one(
    viewer: Any,
    session: Session,
    keeper: Recovery,
    folder: Path,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = [take(session, viewer.add_image(pixels(seed))) for seed in range(2)]
    settle(keeper, qtbot)
    saving, go_on = hold_up("_saved_plane", monkeypatch)
    for labels in layers:
        paint(labels, 9)
    qtbot.waitUntil(saving.is_set, timeout=20_000)
    (behind,) = (x for x in layers if keeper.queue._waiting[0].about() is x)  # type: ignore[operator]
    approve(behind, 2)
    viewer.layers.remove(behind)
    go_on.set()
    settle(keeper, qtbot)
    reviewed = [read_corrections(path).summary.reviewed for path in files(folder)]
    assert sorted(reviewed) == [0, 1]


def test_what_could_not_be_saved_is_tried_again(
    session: Session,
    keeper: Recovery,
    image: Image,
    folder: Path,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_maskrcnn.viewer.recovery.RETRY_MS", 1000)
    labels = take(session, image)
    settle(keeper, qtbot)
    folder.write_text("in the way")
    with qtbot.waitSignal(keeper.said, timeout=20_000) as said:
        paint(labels, 9)
    sentence, level = said.args
    assert level == "error"
    assert sentence.startswith("Your corrections are not saved; next try in 1 s. ")
    assert sentence.endswith(f": {folder}")
    # The table, which follows the pixels, is no longer what makes it try again.
    qtbot.waitUntil(lambda: not session._settle.isActive(), timeout=20_000)
    qtbot.waitUntil(lambda: keeper._timer.remainingTime() > 100, timeout=20_000)
    with qtbot.waitSignal(keeper.said, timeout=20_000) as said:
        folder.unlink()
    assert said.args == ["Your corrections are saved again", "info"]
    (path,) = files(folder)
    assert read_corrections(path).planes[0].edited == (9,)


# ---- offers


def test_what_is_restored_is_what_was(
    session: Session, keeper: Recovery, viewer: Any, folder: Path, qtbot: QtBot
) -> None:
    image = viewer.add_image(pixels())
    labels = take(session, image)
    paint(labels, 9)
    labels.data_setitem(np.nonzero(labels.data == 3), 0)
    table = labels.features.copy()
    table.loc[table["index"] == 2, ["reviewed", "class"]] = [True, "odd"]
    labels.features = table
    region = {"plane": [], "box": [0, 0, 20, 20]}
    kept = {**labels.metadata.get("napari-maskrcnn", {}), "regions": [region]}
    labels.metadata = {"napari-maskrcnn": kept}
    settle(keeper, qtbot)
    expected, rows = labels.data.copy(), labels.features.set_index("index")
    viewer.layers.clear()

    image = viewer.add_image(pixels())
    qtbot.waitUntil(lambda: bool(keeper.offers()), timeout=20_000)
    assert "1 edited, 1 deleted, 1 approved" in keeper.offers()[0][1].summary.sentence()
    keeper.restore(image)
    labels = session.results.labels_of(image)
    assert labels is not None
    np.testing.assert_array_equal(labels.data, expected)
    back = labels.features.set_index("index")
    for name in ("class", "score", "area", "reviewed"):
        assert back[name].fillna(-1).to_dict() == rows[name].fillna(-1).to_dict()
    plane = current_plane(image, viewer)
    assert regions_of(labels, plane) == [(0, 0, 20, 20)]
    assert approved(labels).tolist() == [2]
    assert keeper.offers() == []
    settle(keeper, qtbot)
    assert len(files(folder)) == 1

    # A new run leaves the person's work alone; 3 was deleted and stays so.
    take(session, image)
    np.testing.assert_array_equal(labels.data == 9, expected == 9)
    np.testing.assert_array_equal(labels.data == 2, expected == 2)
    assert not labels.data[2:10, 26:34].any()


def test_declining_deletes(
    session: Session, keeper: Recovery, viewer: Any, folder: Path, qtbot: QtBot
) -> None:
    image = viewer.add_image(pixels())
    labels = np.ones(SHAPE, np.uint16)
    settle(keeper, qtbot)
    write_for(folder, image, SavedPlane((0, 1), (), labels, (1,)))
    viewer.layers.clear()
    image = viewer.add_image(pixels())
    qtbot.waitUntil(lambda: bool(keeper.offers()), timeout=20_000)
    keeper.decline(image)
    assert keeper.offers() == []
    assert files(folder) == []
    assert session.results.labels_of(image) is None


def test_other_images_are_not_concerned(
    keeper: Recovery, viewer: Any, image: Image, folder: Path, qtbot: QtBot
) -> None:
    settle(keeper, qtbot)
    write_for(folder, image, SavedPlane((0, 1), (), np.ones(SHAPE, np.uint16)))
    viewer.add_image(pixels(1))
    settle(keeper, qtbot)
    assert keeper.offers() == []


def test_damaged_files_are_told_and_kept(
    keeper: Recovery, viewer: Any, folder: Path, qtbot: QtBot
) -> None:
    settle(keeper, qtbot)
    image = viewer.add_image(pixels())
    path = write_for(folder, image, SavedPlane((0, 1), (), np.ones(SHAPE, np.uint16)))
    path.write_bytes(path.read_bytes()[:200])
    settle(keeper, qtbot)
    viewer.layers.clear()
    with qtbot.waitSignal(keeper.said, timeout=20_000) as said:
        viewer.add_image(pixels())
    assert "are damaged" in said.args[0]
    (aside,) = files(folder)
    assert str(aside) in said.args[0]
    assert keeper.offers() == []


def test_a_plane_of_a_stack(
    session: Session, keeper: Recovery, viewer: Any, folder: Path, qtbot: QtBot
) -> None:
    stack = np.stack([pixels(seed) for seed in range(3)])
    image = viewer.add_image(stack)
    viewer.dims.set_point(0, 1)
    labels = take(session, image)
    viewer.dims.set_point(0, 2)
    take(session, image)
    labels.brush_size = 4
    labels.paint((2, 34, 30), 30)
    settle(keeper, qtbot)
    (path,) = files(folder)
    saved = read_corrections(path)
    assert [plane.position for plane in saved.planes] == [(2,)]
    assert set(saved.table["plane"]) == {2}
    expected = labels.data[2].copy()
    viewer.layers.clear()
    image = viewer.add_image(stack)
    qtbot.waitUntil(lambda: bool(keeper.offers()), timeout=20_000)
    keeper.restore(image)
    restored = session.results.labels_of(image)
    assert restored is not None
    np.testing.assert_array_equal(restored.data[2], expected)
    assert not restored.data[:2].any()
    assert set(restored.features["plane"]) == {2}


def test_ids_that_other_planes_use_are_evaded() -> None:
    from datetime import UTC, datetime

    labels = np.array([[1, 1, 2, 5]], np.uint16)
    summary = Summary(identify(labels), "", datetime.now(UTC), 1, 0, 0)
    plane = SavedPlane((1, 2), (0,), labels, (2,))
    table = {"index": [1, 2, 5], "class": ["a", "b", "c"]}
    saved = Corrections(summary, (plane,), table)
    evaded = with_free_ids_only(saved, np.array([2, 5, 6]))
    assert evaded.planes[0].label_image.tolist() == [[1, 1, 3, 4]]
    assert evaded.planes[0].edited == (3,)
    assert evaded.table["index"] == [1, 3, 4]
    assert with_free_ids_only(saved, np.array([7])) is saved


def test_owners_that_live_and_that_do_not(keeper: Recovery, tmp_path: Path) -> None:
    import psutil

    process = psutil.Process(os.getppid())
    parent = {"pid": process.pid, "started": process.create_time(), "session": "x"}
    assert is_living(tmp_path, parent)
    assert not is_living(tmp_path, {**parent, "started": 1.0})
    assert not is_living(tmp_path, {})
    assert not is_living(tmp_path, {"pid": os.getpid(), "session": keeper.files.token})


# ---- a crash


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_a_killed_window_loses_ten_seconds_at_most(tmp_path: Path) -> None:
    import tifffile

    path, log, out = (tmp_path / name for name in ("a.tif", "log", "out.npy"))
    noise = np.random.default_rng(0).integers(0, 255, (400, 300), np.uint8)
    tifffile.imwrite(path, noise)
    command = [sys.executable, str(RUN)]
    process = subprocess.Popen([*command, "correct", str(path), str(log)])
    try:
        deadline = time.monotonic() + 600
        # Somewhere in the middle of the work, long after the first save.
        while not log.exists() or len(log.read_text().splitlines()) < 32:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGKILL)
        killed = time.time()
        process.wait()
    done = subprocess.run(
        [*command, "reopen", str(path), str(out)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert "Unsaved corrections of a.tif from" in done.stdout
    assert "1 deleted" in done.stdout
    restored = np.load(out)
    lines = [line.split() for line in log.read_text().splitlines()]
    early = {int(index) for index, when in lines if killed - float(when) > 10}
    assert len(early) >= 3
    assert early <= set(np.unique(restored).tolist())
    assert 2 in restored
    assert 1 not in restored
