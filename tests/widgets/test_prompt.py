"""The Prompt widget, with the mouse in a real viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QOpenGLWidget
from scipy import ndimage

from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.viewer.models import models_of
from napari_maskrcnn.viewer.pointing import BOX, POINT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.layers import Image, Labels
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.widgets.prompt import PromptWidget

TIMEOUT = 60_000
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


@pytest.fixture
def widget(viewer: Any, qtbot: QtBot) -> Iterator[PromptWidget]:
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Prompt")
    widget.model_box.setCurrentIndex(widget.model_box.findData("junk"))
    session = widget.session
    keeper = widget.recovery_bar.recovery
    yield widget
    session.release()
    for jobs in (widget.tool.jobs, keeper.queue.jobs):
        qtbot.waitUntil(lambda jobs=jobs: jobs._leaving is None, timeout=20_000)


@pytest.fixture
def image(viewer: Any, widget: PromptWidget, field: NDArray[np.uint16]) -> Image:
    layer: Image = viewer.add_image(field, name="cells")
    # What the junk network finds says nothing about the size of objects.
    widget.tool.recipe = Recipe(model="junk", object_size=24)
    return layer


class Mouse:
    """Moves over the pixels of the canvas, as Qt sees it."""

    def __init__(self, viewer: Any, widget: PromptWidget, qtbot: QtBot) -> None:
        centre = widget.window().centralWidget()
        (self.canvas,) = centre.findChildren(QOpenGLWidget)
        self.viewer, self.qtbot = viewer, qtbot

    def place(self, y: float, x: float) -> QPoint:
        """Return where a place of the world is on the canvas."""
        camera = self.viewer.scene.camera
        size = np.array([self.canvas.height(), self.canvas.width()])
        offset = (np.array([y, x]) - camera.center[-2:]) * camera.zoom
        row, column = offset + size / 2
        return QPoint(round(column), round(row))

    def click(self, y: float, x: float, modifier: Any = NONE) -> None:
        self.qtbot.mouseClick(self.canvas, LEFT, modifier, self.place(y, x))

    def drag(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        self.qtbot.mousePress(self.canvas, LEFT, NONE, self.place(*begin))
        middle = np.mean([begin, end], axis=0)
        for y, x in (middle, end):
            self.qtbot.wait(20)
            self.qtbot.mouseMove(self.canvas, self.place(y, x))
        self.qtbot.wait(20)
        self.qtbot.mouseRelease(self.canvas, LEFT, NONE, self.place(*end))


@pytest.fixture
def mouse(viewer: Any, widget: PromptWidget, qtbot: QtBot) -> Mouse:
    return Mouse(viewer, widget, qtbot)


def begin(qtbot: QtBot, widget: PromptWidget, mode: str) -> None:
    button = {BOX: widget.box_button, POINT: widget.point_button}[mode]
    qtbot.mouseClick(button, LEFT)
    assert widget.tool.mode == mode
    assert button.isChecked()


def finish(qtbot: QtBot, widget: PromptWidget) -> None:
    def ended() -> bool:
        tool = widget.tool
        return not (tool.jobs.running or tool.jobs._leaving or tool._waiting)

    qtbot.waitUntil(ended, timeout=TIMEOUT)


def undo_and_redo(labels: Labels, before: Any, table: pd.DataFrame) -> None:
    """Check that the last step is one, for pixels and table."""
    after, after_table = labels.data.copy(), labels.features.copy()
    labels.undo()
    np.testing.assert_array_equal(labels.data, before)
    pd.testing.assert_frame_equal(labels.features, table, check_dtype=False)
    labels.redo()
    np.testing.assert_array_equal(labels.data, after)
    pd.testing.assert_frame_equal(labels.features, after_table, check_dtype=False)


def test_without_an_image_there_is_nothing_to_choose(widget: PromptWidget) -> None:
    assert not widget.box_button.isEnabled()
    assert not widget.point_button.isEnabled()
    assert widget.status.text() == "Open an image to begin"


def test_boxes_and_points_become_objects(
    widget: PromptWidget, image: Image, mouse: Mouse, qtbot: QtBot
) -> None:
    assert "encodes" in widget.status.text()
    begin(qtbot, widget, BOX)
    mouse.drag((20, 30), (50, 70))
    finish(qtbot, widget)
    labels = widget.session.results.labels_of(image)
    assert labels is not None, widget.status.text()
    ids, table = np.unique(labels.data), labels.features
    assert ids.tolist() == [0, 1]
    rows, columns = np.nonzero(labels.data)
    assert 19 <= rows.min() <= rows.max() <= 51
    assert 29 <= columns.min() <= columns.max() <= 71
    assert table["class"].tolist() == ["thing"]
    assert 0 < table["score"][0] <= 1
    assert "Object 1: thing" in widget.status.text()
    undo_and_redo(labels, np.zeros_like(labels.data), table.iloc[:0])

    # The image is encoded by now: the trunk has nothing more to do.
    calls: list[Any] = []
    network = widget.session.loaded.detector.network
    hook = network.backbone.register_forward_hook(lambda *_: calls.append(1))
    before, table = labels.data.copy(), labels.features.copy()
    begin(qtbot, widget, POINT)
    mouse.click(110, 120)
    mouse.click(40, 160)
    finish(qtbot, widget)
    hook.remove()
    assert not calls
    assert {1, 2, 3} == set(np.unique(labels.data).tolist()) - {0}
    labels.undo()
    labels.undo()
    np.testing.assert_array_equal(labels.data, before)
    pd.testing.assert_frame_equal(labels.features, table, check_dtype=False)


def test_alt_click_removes(
    widget: PromptWidget, image: Image, mouse: Mouse, qtbot: QtBot
) -> None:
    begin(qtbot, widget, BOX)
    mouse.drag((20, 30), (50, 70))
    finish(qtbot, widget)
    labels = widget.session.results.labels_of(image)
    assert labels is not None
    before, table = labels.data.copy(), labels.features.copy()
    depth = ndimage.distance_transform_edt(labels.data)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    mouse.click(y, x, Qt.KeyboardModifier.AltModifier)
    assert widget.status.text() == "Removed object 1"
    assert not labels.data.any()
    assert labels.features.empty
    undo_and_redo(labels, before, table)
    mouse.click(2, 2, Qt.KeyboardModifier.AltModifier)
    assert widget.status.text() == "There is no object to remove"


@pytest.mark.parametrize("mode", [BOX, POINT])
def test_on_a_plane_of_a_stack_that_was_left(
    viewer: Any, widget: PromptWidget, mouse: Mouse, qtbot: QtBot, field: Any, mode: str
) -> None:
    image = viewer.add_image(np.stack([field, field[::-1], field[:, ::-1]]))
    widget.tool.recipe = Recipe(model="junk", object_size=24)
    viewer.dims.set_point(0, 1)
    begin(qtbot, widget, mode)
    if mode == BOX:
        mouse.drag((20, 30), (50, 70))
    else:
        mouse.click(110, 120)
    # The person does not wait for it.
    viewer.dims.set_point(0, 2)
    finish(qtbot, widget)
    labels = widget.session.results.labels_of(image)
    assert labels is not None, widget.status.text()
    assert np.flatnonzero(labels.data.any(axis=(1, 2))).tolist() == [1]
    assert labels.features["plane"].tolist() == [1]
    viewer.dims.set_point(0, 0)
    undo_and_redo(labels, np.zeros_like(labels.data), labels.features.iloc[:0])
    viewer.dims.set_point(0, 1)
    before, table = labels.data.copy(), labels.features.copy()
    y, x = np.argwhere(labels.data[1])[0]
    mouse.click(y, x, Qt.KeyboardModifier.AltModifier)
    assert not labels.data.any()
    viewer.dims.set_point(0, 2)
    undo_and_redo(labels, before, table)


def test_the_mouse_is_given_back(
    viewer: Any, widget: PromptWidget, image: Image, mouse: Mouse, qtbot: QtBot
) -> None:
    zoom, callbacks = (
        viewer.scene.camera.zoom,
        list(viewer.mouse_double_click_callbacks),
    )
    begin(qtbot, widget, BOX)
    assert not viewer.scene.camera.mouse_pan
    qtbot.mouseDClick(mouse.canvas, LEFT, NONE, mouse.place(80, 80))
    assert viewer.scene.camera.zoom == zoom
    centre = viewer.scene.camera.center
    qtbot.keyClick(mouse.canvas, Qt.Key.Key_Escape)
    assert widget.tool.mode == ""
    assert not widget.box_button.isChecked()
    assert viewer.scene.camera.mouse_pan
    assert viewer.scene.camera.center == centre
    assert viewer.mouse_double_click_callbacks == callbacks
    begin(qtbot, widget, POINT)
    assert viewer.scene.camera.mouse_pan
    begin(qtbot, widget, BOX)
    viewer.layers.remove(image)
    assert widget.tool.mode == ""


@pytest.mark.parametrize("mode", [BOX, POINT])
@pytest.mark.parametrize("focus", ["canvas", "dock"])
def test_escape_ends_a_mode_while_labels_are_active(
    viewer: Any,
    widget: PromptWidget,
    image: Image,
    mouse: Mouse,
    qtbot: QtBot,
    mode: str,
    focus: str,
) -> None:
    first = viewer.add_labels(np.zeros(image.data.shape, np.uint16), name="first")
    begin(qtbot, widget, mode)
    # It is asked before the viewer, and Escape drops a polygon of it.
    second = viewer.add_labels(np.zeros(image.data.shape, np.uint16), name="second")
    assert viewer.layers.selection.active is second
    assert widget.tool.mode == mode
    pressed = mouse.canvas if focus == "canvas" else widget.model_box
    qtbot.keyClick(pressed, Qt.Key.Key_Escape)
    assert widget.tool.mode == ""
    assert not widget.box_button.isChecked()
    assert not widget.point_button.isChecked()
    for layer in (first, second, viewer):
        assert not layer.keymap


def test_the_model_chosen_elsewhere_is_used(
    widget: PromptWidget, image: Image, mouse: Mouse, qtbot: QtBot, viewer: Any
) -> None:
    begin(qtbot, widget, BOX)
    mouse.drag((20, 30), (50, 70))
    finish(qtbot, widget)
    assert widget.session.results.labels_of(image) is not None, widget.status.text()
    models_of(widget.session).choose("nuclei")
    assert widget.model_box.currentText() == "nuclei"
    assert widget.tool.recipe.model == "nuclei"
    # Not even the model of an earlier result takes its place.
    viewer.add_labels(np.zeros(image.data.shape, np.uint16))
    widget.session.shown_changed.emit()
    assert widget.tool.recipe.model == "nuclei"
    # A person's choice in the dock itself comes later.
    widget.model_box.setCurrentText("junk")
    viewer.dims.events.order()
    assert widget.tool.recipe.model == "junk"


def test_the_model_of_a_new_result_is_used(widget: PromptWidget, image: Image) -> None:
    from napari_maskrcnn.core.instances import empty_instances
    from napari_maskrcnn.viewer.jobs import Outcome
    from napari_maskrcnn.viewer.layers import current_plane

    session = widget.session
    assert session.viewer is not None
    for model in ("nuclei", "junk"):
        outcome = Outcome(None, (), empty_instances(image.data.shape, ("thing",)))
        plane = current_plane(image, session.viewer)
        session.take(image, plane, outcome, Recipe(model=model))
        assert widget.model_box.currentText() == model
        assert widget.tool.recipe.model == model


def test_what_a_person_made_or_approved_stays(
    widget: PromptWidget, image: Image, mouse: Mouse, qtbot: QtBot
) -> None:
    begin(qtbot, widget, BOX)
    mouse.drag((20, 30), (50, 70))
    finish(qtbot, widget)
    labels = widget.session.results.labels_of(image)
    assert labels is not None
    # Half of the next box is on the first object, which a person asked for.
    before = labels.data == 1
    mouse.drag((20, 55), (50, 110))
    finish(qtbot, widget)
    np.testing.assert_array_equal(labels.data == 1, before)
    assert 2 in labels.data
    mouse.drag((20, 30), (50, 70))
    finish(qtbot, widget)
    assert "edited or approved" in widget.status.text()
    assert set(np.unique(labels.data).tolist()) == {0, 1, 2}


def test_a_box_beside_the_image_is_refused(
    widget: PromptWidget, image: Image, mouse: Mouse, qtbot: QtBot
) -> None:
    begin(qtbot, widget, BOX)
    widget.tool.prompt_in([-40, -40], [-10, -10])
    finish(qtbot, widget)
    assert "outside of the image" in widget.status.text()
    assert widget.status.level == "error"
