"""The Segment widget, clicked in a real viewer."""

from __future__ import annotations

import gc
import shlex
import time
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from safetensors.torch import load_file
from widget_helpers import open_widget

from napari_maskrcnn.core.checkpoints import Checkpoint, read_config, write_checkpoint
from napari_maskrcnn.core.detector import load_model
from napari_maskrcnn.core.model_list import find_model
from napari_maskrcnn.viewer.models import models_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.widgets.segment import SegmentWidget

TIMEOUT = 60_000


def click(qtbot: QtBot, button: Any) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def run(qtbot: QtBot, widget: SegmentWidget) -> None:
    """Click "Segment instances" and wait for the end."""
    click(qtbot, widget.run_button)
    qtbot.waitUntil(lambda: not widget.session.jobs.running, timeout=TIMEOUT)


def start(qtbot: QtBot, widget: SegmentWidget) -> None:
    """Click "Segment instances" and wait until the network runs."""
    with qtbot.waitSignal(
        widget.session.progressed, timeout=TIMEOUT, check_params_cb=lambda p: p.done > 0
    ):
        click(qtbot, widget.run_button)


@pytest.fixture
def large() -> NDArray[np.uint8]:
    """Return an image that takes the network some seconds."""
    return np.random.default_rng(0).integers(0, 255, (3000, 3000), np.uint8)


def test_without_an_image_there_is_nothing_to_click(widget: SegmentWidget) -> None:
    assert not widget.run_button.isEnabled()
    assert not widget.run_row.cancel_button.isEnabled()
    assert widget.status.text() == "Open an image to begin"


def test_the_choices_follow_the_layers(
    viewer: Any, widget: SegmentWidget, field: NDArray[np.uint16]
) -> None:
    first = viewer.add_image(field, name="first")
    assert widget.run_button.isEnabled()
    assert widget.image() is first
    second = viewer.add_image(field, name="second")
    viewer.add_labels(np.zeros((4, 4), int))
    assert widget.image() is first
    assert [widget.image_box.itemText(i) for i in range(2)] == ["second", "first"]
    first.name = "renamed"
    assert widget.image_box.currentText() == "renamed"
    viewer.layers.remove(first)
    assert widget.image() is second
    viewer.layers.clear()
    assert widget.image() is None
    assert not widget.run_button.isEnabled()


def test_a_click_makes_labels_and_a_second_one_reuses_them(
    viewer: Any, widget: SegmentWidget, field: NDArray[np.uint16], qtbot: QtBot
) -> None:
    viewer.add_image(field, name="cells")
    run(qtbot, widget)
    assert widget.status.level == "info", widget.status.text()
    assert widget.status.text().startswith("Done in")
    (labels,) = (x for x in viewer.layers if x.name == "cells instances")
    count = len(np.unique(labels.data)) - 1
    assert widget.count_label.text().startswith(str(count))
    assert len(labels.features) == count
    assert "CPU" in widget.device_label.text() or widget.device_label.text()
    before = labels.data.copy()
    run(qtbot, widget)
    assert widget.status.text().startswith("Done in")
    assert len(viewer.layers) == 2
    np.testing.assert_array_equal(labels.data, before)


def test_the_button_and_the_python_call_give_the_same(
    viewer: Any, widget: SegmentWidget, field: NDArray[np.uint16], qtbot: QtBot
) -> None:
    image = viewer.add_image(field)
    run(qtbot, widget)
    recipe = widget.recipe()
    detector = load_model("junk", "auto")
    instances = detector.detect(field, object_size=recipe.object_size)
    expected = recipe.apply(instances).to_label_image()
    np.testing.assert_array_equal(
        widget.session.results.labels_of(image).data, expected
    )


def test_sliders_repaint_without_the_network(
    viewer: Any,
    widget: SegmentWidget,
    field: NDArray[np.uint16],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = viewer.add_image(field)
    run(qtbot, widget)
    labels = widget.session.results.labels_of(image)
    before = labels.data.copy()
    monkeypatch.setattr(widget.session.jobs, "start", None)
    slider = widget.score_slider.slider
    slider.setSliderDown(True)
    for value in (0.6, 0.7, 1.0):
        widget.score_slider.move_to(value)
    assert not labels.data.any()
    assert widget.count_label.text() == "0 objects"
    slider.setSliderDown(False)  # as when the mouse lets it go
    assert len(labels.features) == 0
    labels.undo()
    np.testing.assert_array_equal(labels.data, before)


def test_a_slider_moved_before_the_run_counts(
    viewer: Any, widget: SegmentWidget, field: NDArray[np.uint16], qtbot: QtBot
) -> None:
    viewer.add_image(field)
    assert widget.count_label.text() == "No result yet"
    widget.score_slider.move_to(1.0)
    run(qtbot, widget)
    assert widget.count_label.text() == "0 objects"


@pytest.mark.parametrize("name", ["score", "mask", "overlap", "area"])
def test_every_slider_answers_to_the_keyboard(
    viewer: Any,
    widget: SegmentWidget,
    field: NDArray[np.uint16],
    qtbot: QtBot,
    name: str,
) -> None:
    viewer.add_image(field)
    run(qtbot, widget)
    part = getattr(widget, f"{name}_slider")
    before = part.value()
    with qtbot.waitSignal(part.rested, timeout=3000):
        qtbot.keyClick(part.slider, Qt.Key.Key_Right)
    assert part.value() > before
    assert not widget.session.sliding


def test_cancel_answers_within_a_second(
    viewer: Any, widget: SegmentWidget, large: NDArray[np.uint8], qtbot: QtBot
) -> None:
    viewer.add_image(large)
    start(qtbot, widget)
    assert not widget.run_button.isEnabled()
    begin = time.monotonic()
    click(qtbot, widget.run_row.cancel_button)
    assert widget.run_button.isEnabled()
    assert not widget.run_row.cancel_button.isEnabled()
    assert widget.status.text() == "Cancelled; nothing was changed"
    qtbot.waitUntil(lambda: widget.session.jobs._leaving is None, timeout=TIMEOUT)
    assert time.monotonic() - begin < 1.5
    assert len(viewer.layers) == 1


def test_a_run_outlives_its_dock_and_a_new_one_finds_it(
    viewer: Any, large: NDArray[np.uint8], qtbot: QtBot
) -> None:
    viewer.add_image(large[:1500, :1500], name="cells")
    dock, first = open_widget(viewer)
    start(qtbot, first)
    session = first.session
    closed = weakref.ref(first)
    dock.destroyOnClose()  # what its X does
    del dock, first
    gc.collect()
    assert closed() is None
    assert session.jobs.running
    _, again = open_widget(viewer)
    assert again.session is session
    assert again.run_row.cancel_button.isEnabled()
    assert not again.run_button.isEnabled()
    qtbot.waitUntil(lambda: not session.jobs.running, timeout=TIMEOUT)
    assert "cells instances" in viewer.layers
    assert again.count_label.text().endswith(("objects", "object"))
    qtbot.waitUntil(lambda: session.jobs._leaving is None, timeout=TIMEOUT)


def test_closing_the_image_stops_its_run(
    viewer: Any, widget: SegmentWidget, large: NDArray[np.uint8], qtbot: QtBot
) -> None:
    viewer.add_image(large)
    start(qtbot, widget)
    viewer.layers.clear()
    assert not widget.session.jobs.running
    assert widget.status.level == "error"
    qtbot.waitUntil(lambda: widget.session.jobs._leaving is None, timeout=TIMEOUT)
    assert len(viewer.layers) == 0


def test_closing_the_labels_during_a_run_makes_new_ones(
    viewer: Any, widget: SegmentWidget, field: NDArray[np.uint16], qtbot: QtBot
) -> None:
    viewer.add_image(field, name="cells")
    run(qtbot, widget)
    click(qtbot, widget.run_button)
    viewer.layers.remove("cells instances")
    qtbot.waitUntil(lambda: not widget.session.jobs.running, timeout=TIMEOUT)
    assert "cells instances" in viewer.layers


def test_closing_the_viewer_during_a_run(
    viewer: Any, widget: SegmentWidget, large: NDArray[np.uint8], qtbot: QtBot
) -> None:
    viewer.add_image(large)
    start(qtbot, widget)
    session = widget.session
    viewer.close()
    assert not session.jobs.running
    qtbot.waitUntil(lambda: session.jobs._leaving is None, timeout=TIMEOUT)


def read_only() -> NDArray[np.uint8]:
    image = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    image.flags.writeable = False
    return image


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1)),
        np.full((50, 60), np.nan),
        np.full((50, 60), 7, np.uint16),
        np.zeros((40, 50, 4), np.uint8),
        np.arange(64 * 64, dtype=np.int32).reshape(64, 64),
        np.eye(64, dtype=bool),
        np.random.default_rng(0).random((2, 2, 2, 40, 50)),
        read_only(),
    ],
    ids=["1x1", "nan", "constant", "rgba", "int32", "bool", "5d", "ro"],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_hostile_images_give_a_result(
    viewer: Any, widget: SegmentWidget, qtbot: QtBot, image: NDArray[Any]
) -> None:
    viewer.add_image(image)
    run(qtbot, widget)
    assert widget.status.level != "error", widget.status.text()
    assert len(viewer.layers) == 2


def test_a_refused_image_gives_one_line_and_changes_nothing(
    viewer: Any, widget: SegmentWidget, qtbot: QtBot
) -> None:
    viewer.add_image(np.zeros((4100, 4100), np.uint8))
    widget.size_box.setValue(2)
    run(qtbot, widget)
    assert widget.status.level == "error"
    assert "set a larger object size" in widget.status.text()
    assert "\n" not in widget.status.text()
    assert len(viewer.layers) == 1
    assert widget.run_button.isEnabled()


def test_colour_offers_its_channels(
    viewer: Any, widget: SegmentWidget, field: NDArray[np.uint16], qtbot: QtBot
) -> None:
    viewer.add_image(field)
    assert not widget.channel_box.isVisible()
    colour = np.stack([field, field // 2, field // 4], axis=-1).astype(np.uint8)
    viewer.add_image(colour, rgb=True, name="colour")
    widget.image_box.setCurrentText("colour")
    assert widget.channel_box.isVisible()
    assert widget.recipe().channel is None
    widget.channel_box.setCurrentText("Green")
    assert widget.recipe().channel == 1
    run(qtbot, widget)
    assert widget.session.results.count(widget.image()) is not None
    widget.image_box.setCurrentIndex(1)
    assert widget.recipe().channel is None


def test_the_object_size_is_automatic_or_given(
    viewer: Any, widget: SegmentWidget, field: NDArray[np.uint16], qtbot: QtBot
) -> None:
    image = viewer.add_image(field)
    widget.size_box.setValue(33)
    assert widget.recipe().object_size == 33
    run(qtbot, widget)
    assert widget.session.results.record_of(image).encoding.object_size == 33
    click(qtbot, widget.size_auto)
    assert widget.recipe().object_size is None
    assert not widget.size_box.isEnabled()
    run(qtbot, widget)
    found = widget.session.results.record_of(image).encoding.object_size
    assert widget.size_box.value() == pytest.approx(found, abs=0.5)


def test_the_size_is_not_known_before_a_run(viewer: Any) -> None:
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Segment")
    assert widget.recipe().object_size is None
    assert not widget.size_box.isEnabled()
    assert widget.size_box.text() == "\N{EN DASH}"


def test_the_command_is_copied(
    viewer: Any, widget: SegmentWidget, field: NDArray[np.uint16], qtbot: QtBot
) -> None:
    viewer.add_image(field)
    widget.score_slider.move_to(0.75)
    click(qtbot, widget.copy_button)
    words = shlex.split(QApplication.clipboard().text())
    assert words[:3] == ["napari-maskrcnn", "segment", "IMAGE"]
    assert words[words.index("--score") + 1] == "0.75"
    assert words[words.index("--model") + 1] == "junk"


def test_the_score_slider_begins_where_the_model_did_best(
    widget: SegmentWidget, junk_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_config(junk_model)
    sure = Checkpoint({**config, "score_threshold": 0.83}, load_file(junk_model))
    write_checkpoint(junk_model.with_name("sure.safetensors"), sure)
    try:
        models_of(widget.session).changed.emit()
        assert widget.score_slider.value() == 0.5
        widget.model_box.setCurrentText("sure")
        assert widget.recipe().score_threshold == 0.83
        # What the person set stays while the model does.
        widget.score_slider.move_to(0.3)
        models_of(widget.session).changed.emit()
        assert widget.recipe().model == "sure"
        assert widget.recipe().score_threshold == 0.3
        # The scores of two models do not mean the same.
        assert models_of(widget.session).recipe("sure").score_threshold == 0.3
        assert models_of(widget.session).recipe("junk").score_threshold is None
        widget.model_box.setCurrentText("junk")
        assert widget.score_slider.value() == 0.5
    finally:
        junk_model.with_name("sure.safetensors").unlink()


def test_a_model_that_went_away_gives_one_line(
    viewer: Any,
    widget: SegmentWidget,
    field: NDArray[np.uint16],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    viewer.add_image(field)
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(tmp_path))
    with pytest.raises(ValueError, match="junk"):
        find_model("junk")
    run(qtbot, widget)
    assert widget.status.level == "error"
    assert "junk" in widget.status.text()


def test_the_colours_follow_the_theme(viewer: Any, widget: SegmentWidget) -> None:
    dark = widget.run_button.styleSheet()
    viewer.theme = "light"
    assert widget.run_button.styleSheet() != dark


def test_it_fits_a_dock_of_320_pixels(
    viewer: Any, widget: SegmentWidget, field: NDArray[np.uint16]
) -> None:
    viewer.add_image(field, name="an image with quite a long name " * 3)
    assert widget.minimumSizeHint().width() <= 320
    content = widget.run_button.parentWidget()
    assert content.minimumSizeHint().width() <= 320


def test_a_stack_is_segmented_plane_by_plane(
    viewer: Any, widget: SegmentWidget, field: NDArray[np.uint16], qtbot: QtBot
) -> None:
    image = viewer.add_image(np.stack([field[::-1], field[:, ::-1], field]))
    viewer.dims.set_current_step(0, 2)
    run(qtbot, widget)
    labels = widget.session.results.labels_of(image)
    assert labels.data.shape == image.data.shape
    assert labels.data[2].any()
    assert not labels.data[:2].any()
    viewer.dims.set_current_step(0, 1)
    assert widget.count_label.text() == "No result for this plane yet"
    viewer.dims.set_current_step(0, 2)
