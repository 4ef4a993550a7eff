"""Many frames of a stack in one run, clicked in a real viewer."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_maskrcnn.core.detector import load_model
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.viewer import jobs
from napari_maskrcnn.viewer.frames import planes_along, stack_axes
from napari_maskrcnn.viewer.layers import Plane
from napari_maskrcnn.viewer.recovery import recovery_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.widgets.segment import SegmentWidget

TIMEOUT = 60_000


@pytest.fixture(scope="module")
def video() -> NDArray[np.uint8]:
    field = nuclei_field((96, 128), 8)[0]
    small = (field / field.max() * 255).astype(np.uint8)
    return np.stack([np.roll(small, 5 * t, axis=1) for t in range(6)])


class Film:
    """A lazy array whose reading is counted, held up or refused, frame by frame."""

    def __init__(self, frames: NDArray[Any]) -> None:
        self.frames = frames
        self.shape, self.dtype, self.ndim = frames.shape, frames.dtype, frames.ndim
        self.broken: set[int] = set()
        self.stop_at: int | None = None
        self.go_on = threading.Event()
        self.read: list[int] = []

    def __getitem__(self, index: Any) -> Any:
        first = index[0] if isinstance(index, tuple) else index
        in_run = threading.current_thread() is not threading.main_thread()
        if in_run and isinstance(first, int):
            self.read.append(first)
            if first == self.stop_at:
                assert self.go_on.wait(TIMEOUT / 1000)
            if first in self.broken:
                raise RuntimeError(f"page {first} is cut off")
        return self.frames[index]


@pytest.fixture
def film(video: NDArray[np.uint8]) -> Iterator[Film]:
    made = Film(video)
    yield made
    made.go_on.set()


def click(qtbot: QtBot, button: Any) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def choose(widget: SegmentWidget, text: str) -> None:
    index = widget.frames_row.box.findText(text, Qt.MatchFlag.MatchContains)
    assert index >= 0, text
    widget.frames_row.box.setCurrentIndex(index)


def run(qtbot: QtBot, widget: SegmentWidget) -> None:
    click(qtbot, widget.run_button)
    qtbot.waitUntil(lambda: not widget.session.jobs.running, timeout=TIMEOUT)


def run_until(qtbot: QtBot, widget: SegmentWidget, done: Callable[[], bool]) -> None:
    click(qtbot, widget.run_button)
    qtbot.waitUntil(done, timeout=TIMEOUT)


def painted(labels: Any) -> list[int]:
    return [t for t in range(len(labels.data)) if labels.data[t].any()]


def looked_at(qtbot: QtBot, widget: SegmentWidget) -> None:
    """Wait until nothing else reads the image: corrections are looked for."""
    jobs = recovery_of(widget.session).queue.jobs
    qtbot.waitUntil(lambda: not jobs.running, timeout=TIMEOUT)


def add_film(qtbot: QtBot, widget: SegmentWidget, film: Film) -> Any:
    viewer = widget.session.viewer
    assert viewer is not None
    stop_at, film.stop_at, broken, film.broken = film.stop_at, None, film.broken, set()
    image = viewer.add_image(film, name="film", contrast_limits=(0, 255), rgb=False)
    looked_at(qtbot, widget)
    film.stop_at, film.broken = stop_at, broken
    film.read.clear()
    return image


def test_the_choice_appears_for_stacks_only(
    viewer: Any, widget: SegmentWidget, video: NDArray[np.uint8]
) -> None:
    row = widget.frames_row
    assert not row.isVisible()
    viewer.add_image(video[0], name="one")
    assert not row.isVisible()
    viewer.add_image(video, name="video")
    widget.image_box.setCurrentText("video")
    assert row.isVisible()
    assert [row.box.itemText(i) for i in range(row.box.count())] == [
        "This frame", "All 6 frames",
    ]  # fmt: skip
    assert row.frames() is None
    choose(widget, "All 6")
    row.first.setValue(1)
    row.every.setValue(2)
    viewer.dims.set_current_step(0, 3)
    frames = row.frames()
    assert frames is not None
    assert [plane.position for plane in frames.planes] == [(1,), (3,), (5,)]
    row.first.setValue(5)
    row.last.setValue(2)
    widget.run_button.click()
    assert widget.status.text() == "The first frame, 5, comes after the last, 2"
    widget.image_box.setCurrentText("one")
    assert not row.isVisible()
    assert row.frames() is None


def test_four_axes_offer_each_and_all(viewer: Any, widget: SegmentWidget) -> None:
    viewer.add_image(np.zeros((3, 1, 4, 20, 30)), axis_labels=("t", "c", "z", "y", "x"))
    viewer.dims.set_current_step(0, 2)
    row = widget.frames_row
    assert [row.box.itemText(i) for i in range(row.box.count())] == [
        "This plane", "All 3 along axis t", "All 4 along axis z", "All 12 planes",
    ]  # fmt: skip
    choose(widget, "along axis z")
    frames = row.frames()
    assert frames is not None
    assert [x.position for x in frames.planes] == [(2, 0, z) for z in range(4)]
    choose(widget, "All 12")
    frames = row.frames()
    assert frames is not None
    assert len(set(frames.planes)) == 12


def test_it_fits_a_dock_of_320_pixels(viewer: Any, widget: SegmentWidget) -> None:
    viewer.add_image(np.zeros((2000, 8, 8), np.uint8))
    choose(widget, "All 2,000 frames")
    assert widget.run_button.parentWidget().minimumSizeHint().width() <= 320


def test_planes_are_counted_beside_the_shown_axes() -> None:
    plane = Plane((0, 2), (1,))
    assert stack_axes(plane, (5, 3, 7)) == [1]
    assert [x.position for x in planes_along(plane, (5, 3, 7), [1])] == [
        (0,),
        (1,),
        (2,),
    ]


def test_all_frames_are_as_each_alone(
    viewer: Any, widget: SegmentWidget, video: NDArray[np.uint8], qtbot: QtBot
) -> None:
    image = viewer.add_image(video, name="video")
    choose(widget, "All 6 frames")
    said: list[str] = []
    widget.session.progressed.connect(lambda p: said.append(p.message))
    run(qtbot, widget)
    assert any(text.startswith("Frame 4 of 6, ") for text in said), said
    assert "6 frames, " in widget.status.text()
    assert "frames/s" in widget.status.text()
    labels = widget.session.results.labels_of(image)
    assert [x.name for x in viewer.layers] == ["video", "video instances"]
    recipe, seen = widget.recipe(), set()
    detector = load_model("junk", "auto")
    for t, frame in enumerate(video):
        kept = recipe.apply(detector.detect(frame, object_size=recipe.object_size))
        expected = kept.to_label_image() > 0
        np.testing.assert_array_equal(labels.data[t] > 0, expected)
        ids = set(np.unique(labels.data[t]).tolist()) - {0}
        assert len(ids) == len(kept)
        assert not ids & seen, "an id is used in two frames"
        seen |= ids
    table = labels.features
    assert set(table["index"]) == seen
    assert set(table["plane"]) == set(range(6))
    # Sliders work on every frame of the run.
    viewer.dims.set_current_step(0, 2)
    widget.score_slider.move_to(1.0)
    assert not labels.data[2].any()
    assert labels.data[3].any()


def test_colour_frames_of_a_dask_stack_are_read_one_at_a_time(
    viewer: Any, widget: SegmentWidget, video: NDArray[np.uint8], qtbot: QtBot
) -> None:
    colour = np.stack([video, video // 2, video // 3], axis=-1)
    alive: list[weakref.ref[Any]] = []
    most: list[int] = []

    def load(block: NDArray[Any]) -> NDArray[Any]:
        if threading.current_thread() is threading.main_thread():
            return block
        fresh = block.copy()
        alive.append(weakref.ref(fresh))
        most.append(sum(ref() is not None for ref in alive))
        return fresh

    lazy = da.from_array(colour, chunks=(1, *colour.shape[1:])).map_blocks(load)
    image = viewer.add_image(lazy, rgb=True, name="colour")
    looked_at(qtbot, widget)
    alive.clear()
    most.clear()
    choose(widget, "All 6 frames")
    run(qtbot, widget)
    assert widget.status.level == "info", widget.status.text()
    labels = widget.session.results.labels_of(image)
    assert labels.data.shape == video.shape
    assert painted(labels) == list(range(6))
    assert len(most) >= 6
    assert max(most) <= 2


def test_cancel_keeps_what_is_done_and_a_second_run_goes_on(
    viewer: Any, widget: SegmentWidget, film: Film, qtbot: QtBot
) -> None:
    film.stop_at = 3
    image = add_film(qtbot, widget, film)
    choose(widget, "All 6 frames")
    session = widget.session
    run_until(qtbot, widget, lambda: session.results.labels_of(image) is not None
              and painted(session.results.labels_of(image)) == [0, 1, 2])  # fmt: skip
    click(qtbot, widget.run_row.cancel_button)
    assert widget.status.text() == "Cancelled; 3 of 6 frames are done and stay"
    film.stop_at = None
    film.go_on.set()
    qtbot.waitUntil(lambda: session.jobs._leaving is None, timeout=TIMEOUT)
    labels = session.results.labels_of(image)
    before = labels.data.copy()
    assert painted(labels) == [0, 1, 2]
    film.read.clear()
    click(qtbot, widget.frames_row.skip_box)
    run(qtbot, widget)
    assert sorted(set(film.read)) == [3, 4, 5]
    assert painted(labels) == list(range(6))
    np.testing.assert_array_equal(labels.data[:3], before[:3])
    run(qtbot, widget)
    assert widget.status.text() == "Every frame chosen has a result already"


def test_a_frame_that_cannot_be_read_is_named_and_the_others_are_done(
    viewer: Any, widget: SegmentWidget, film: Film, qtbot: QtBot
) -> None:
    film.broken = {1}
    film.frames = film.frames.astype(np.float32)
    film.frames[4] = np.nan
    image = add_film(qtbot, widget, film)
    choose(widget, "All 6 frames")
    run(qtbot, widget)
    assert "Frame 1 could not be read: page 1 is cut off" in widget.status.text()
    assert "5 frames" in widget.status.text()
    assert widget.status.level == "warning"
    done = painted(widget.session.results.labels_of(image))
    assert 1 not in done
    assert {0, 2, 3, 5} <= set(done)
    film.broken = set(range(6))
    run(qtbot, widget)
    assert widget.status.level == "error"
    assert painted(widget.session.results.labels_of(image)) == done


@pytest.mark.parametrize("which", ["film", "film instances"])
def test_a_layer_removed_in_the_middle_stops_the_run(
    viewer: Any, widget: SegmentWidget, film: Film, qtbot: QtBot, which: str
) -> None:
    film.stop_at = 2
    add_film(qtbot, widget, film)
    choose(widget, "All 6 frames")
    run_until(qtbot, widget, lambda: "film instances" in viewer.layers
              and 2 in film.read)  # fmt: skip
    viewer.layers.remove(which)
    assert not widget.session.jobs.running
    assert widget.status.level == "error"
    film.go_on.set()
    qtbot.waitUntil(lambda: widget.session.jobs._leaving is None, timeout=TIMEOUT)
    assert len(viewer.layers) == 1
    assert max(film.read) == 2


def test_strokes_during_a_run_stay_and_undo_writes_nothing_stale(
    viewer: Any, widget: SegmentWidget, film: Film, qtbot: QtBot
) -> None:
    film.stop_at = 3
    image = add_film(qtbot, widget, film)
    choose(widget, "All 6 frames")
    session = widget.session
    run_until(qtbot, widget, lambda: session.results.labels_of(image) is not None
              and painted(session.results.labels_of(image)) == [0, 1, 2])  # fmt: skip
    labels = session.results.labels_of(image)

    def stroke(t: int, value: int) -> None:
        viewer.dims.set_current_step(0, t)
        where = tuple(np.full(25, t) if axis == 0 else part for axis, part in enumerate(
            [None, *(x.ravel() + 40 for x in np.mgrid[:5, :5])]))  # fmt: skip
        with labels.block_history():
            labels.data_setitem(where, value)

    stroke(1, 900)  # a frame that is done
    stroke(4, 901)  # one whose turn is to come
    film.go_on.set()
    qtbot.waitUntil(lambda: not session.jobs.running, timeout=TIMEOUT)
    assert (labels.data[1, 40:45, 40:45] == 900).all()
    assert (labels.data[4, 40:45, 40:45] == 901).all()
    assert set(labels.features["index"]) >= {900, 901}
    done = labels.data.copy()
    # Frame 4 was painted after its stroke, which can thus not be taken back.
    for _ in range(10):
        labels.undo()
    np.testing.assert_array_equal(labels.data, done)


def test_a_stroke_on_a_done_frame_can_be_undone_after_the_run(
    viewer: Any, widget: SegmentWidget, film: Film, qtbot: QtBot
) -> None:
    film.stop_at = 3
    image = add_film(qtbot, widget, film)
    choose(widget, "All 6 frames")
    session = widget.session
    run_until(qtbot, widget, lambda: session.results.labels_of(image) is not None
              and painted(session.results.labels_of(image)) == [0, 1, 2])  # fmt: skip
    labels = session.results.labels_of(image)
    before = labels.data[0].copy()
    with labels.block_history():
        labels.data_setitem((np.zeros(9, int), np.arange(9), np.arange(9)), 950)
    film.go_on.set()
    qtbot.waitUntil(lambda: not session.jobs.running, timeout=TIMEOUT)
    assert painted(labels) == list(range(6))
    done = labels.data[1:].copy()
    labels.undo()
    np.testing.assert_array_equal(labels.data[0], before)
    np.testing.assert_array_equal(labels.data[1:], done)


def test_encodings_stay_within_the_budget(
    viewer: Any,
    widget: SegmentWidget,
    video: NDArray[np.uint8],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = viewer.add_image(np.concatenate([video] * 3), name="long")
    alive: list[weakref.ref[Any]] = []
    budget = [10**9]
    monkeypatch.setattr(
        "napari_maskrcnn.viewer.kept.encoding_budget", lambda: budget[0]
    )
    segmented = jobs._segmented

    def spied(*arguments: Any) -> Any:
        outcome = yield from segmented(*arguments)
        # The encoding has no weak references; its largest tensor has.
        (window,) = outcome.encoding.windows
        alive.append(weakref.ref(next(iter(window.features.values()))))
        budget[0] = int(2.5 * outcome.encoding.nbytes)
        most.append(sum(ref() is not None for ref in alive))
        return outcome

    most: list[int] = []
    monkeypatch.setattr(jobs, "_segmented", spied)
    choose(widget, "All 18 frames")
    run(qtbot, widget)
    assert len(most) == 18
    # Two kept, two that wait to be painted, and those at work.
    assert max(most) <= 6, most
    records = widget.session.results.records_of(image).values()
    assert sum(record.encoding is not None for record in records) == 2
