"""The Edit widget in a real viewer: buttons, keys, the mouse, undo and redo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from edit_samples import Snapshot, add_objects
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_maskrcnn.viewer.actions import action_named, actions_of
from napari_maskrcnn.viewer.features import count_objects
from napari_maskrcnn.viewer.selection import select, selected_ids
from napari_maskrcnn.viewer.tracing import Tracer
from napari_maskrcnn.widgets.canvas_line import canvas_in
from napari_maskrcnn.widgets.edit import EMPTY, EditWidget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.layers import Labels
    from qtpy.QtWidgets import QWidget

LEFT = Qt.MouseButton.LeftButton
# What to select, and which ids are there afterwards.
SELECTED = {
    "delete": [2, 5],
    "grow": [1, 4],
    "shrink": [1, 2],
    "smooth": [4],
    "fill_holes": [2],
    "keep_largest": [3],
    "split_parts": [1],
    "merge": [4, 5],
}
LEFT_OVER = {
    "delete": {1, 3, 4},
    "split_parts": {1, 2, 3, 4, 5, 6},
    "merge": {1, 2, 3, 4},
}


class Hands:
    """Does what a person does in the window."""

    def __init__(self, viewer: Any, widget: EditWidget) -> None:
        self.viewer, self.widget = viewer, widget
        canvas = canvas_in(widget.window())
        assert canvas is not None
        self.canvas: QWidget = canvas

    def button(self, name: str) -> None:
        QTest.mouseClick(self.widget.buttons[name], LEFT)

    def key(self, name: str) -> None:
        self.press(action_named(name).key)

    def press(self, key: str) -> None:
        modifiers = Qt.KeyboardModifier.NoModifier
        *before, last = key.split("-")
        for name in before:
            modifiers |= getattr(Qt.KeyboardModifier, f"{name}Modifier")
        QTest.keyClick(self.canvas, getattr(Qt.Key, f"Key_{last}"), modifiers)

    def at(self, y: float, x: float) -> QPoint:
        """Return where on the canvas a pixel of the layer is."""
        middle, zoom = self.viewer.scene.camera.center, self.viewer.scene.camera.zoom
        return QPoint(
            round((x - middle[-1]) * zoom + self.canvas.width() / 2),
            round((y - middle[-2]) * zoom + self.canvas.height() / 2),
        )

    def click(self, *points: tuple[float, float]) -> None:
        for point in points:
            QTest.mouseClick(self.canvas, LEFT, pos=self.at(*point))

    def double_click(self, y: float, x: float) -> None:
        self.click((y, x))
        QTest.mouseDClick(self.canvas, LEFT, pos=self.at(y, x))

    def drag(
        self, *points: tuple[float, float], meanwhile: Callable[[], object] = int
    ) -> None:
        QTest.mousePress(self.canvas, LEFT, pos=self.at(*points[0]))
        for point in points[1:]:
            # napari looks at the mouse every five milliseconds.
            QTest.mouseMove(self.canvas, self.at(*point))
            QTest.qWait(20)
            meanwhile()
        QTest.mouseRelease(self.canvas, LEFT, pos=self.at(*points[-1]))


@pytest.fixture
def edit(viewer: Any) -> Iterator[EditWidget]:
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Edit")
    yield widget
    widget.release()
    widget.session.release()


@pytest.fixture
def hands(viewer: Any, edit: EditWidget) -> Hands:
    return Hands(viewer, edit)


def ids(layer: Labels) -> set[int]:
    return set(np.unique(layer.data).tolist()) - {0}


def check_table(layer: Labels) -> None:
    """Check that the table has a row for each object, with its area."""
    present, areas = count_objects(layer.data)
    table = layer.features.set_index("index")
    assert table.index.tolist() == present.tolist()
    assert table["area"].tolist() == areas.tolist()


def there_and_back(layer: Labels, before: Snapshot, hands: Hands) -> None:
    """Check that undo and redo bring pixels and table back, twice; one step each."""
    after = Snapshot(layer)
    assert before.differs(layer)
    for undo, redo in (
        (lambda: hands.button("undo"), lambda: hands.button("redo")),
        (lambda: hands.press("Control-Z"), lambda: hands.press("Control-Shift-Z")),
    ):
        undo()
        before.check(layer)
        redo()
        after.check(layer)


@pytest.mark.parametrize("by", ["button", "key"])
@pytest.mark.parametrize("name", SELECTED)
def test_an_edit_is_one_step(
    viewer: Any, edit: EditWidget, hands: Hands, name: str, by: str
) -> None:
    layer = add_objects(viewer)
    select(layer, SELECTED[name])
    before = Snapshot(layer)
    getattr(hands, by)(name)
    assert edit.status.level == "info"
    assert edit.status.text()
    assert ids(layer) == LEFT_OVER.get(name, {1, 2, 3, 4, 5})
    check_table(layer)
    there_and_back(layer, before, hands)


# Where to click, and which object is there.
CLICKED = {
    "delete": ((55, 95), 5),
    "grow": ((20, 15), 1),
    "shrink": ((20, 15), 1),
    "smooth": ((55, 60), 4),
    "fill_holes": ((20, 67), 2),
    "keep_largest": ((55, 15), 3),
    "split_parts": ((20, 29), 1),
}


@pytest.mark.parametrize("name", CLICKED)
def test_an_edit_of_the_object_that_was_clicked(
    viewer: Any, edit: EditWidget, hands: Hands, name: str
) -> None:
    layer = add_objects(viewer)
    viewer.add_image(np.zeros(layer.data.shape))
    viewer.reset_view()
    select(layer, [40])
    before = Snapshot(layer)
    place, index = CLICKED[name]
    hands.click(place)
    assert edit.selected_label.text() == f"Object {index} selected"
    hands.key(name)
    assert edit.status.level == "info"
    changed = np.unique(before.data[before.data != layer.data]).tolist()
    assert set(changed) <= {0, index}
    check_table(layer)
    there_and_back(layer, before, hands)
    # The background selects nothing.
    hands.click((2, 2))
    assert edit.selected_label.text() != "Nothing selected"


def test_what_an_object_had_stays_with_it(viewer: Any, hands: Hands) -> None:
    layer = add_objects(viewer)
    select(layer, [1])
    hands.button("split_parts")
    table = layer.features.set_index("index")
    for name in ("class", "score", "reviewed", "note"):
        assert table.loc[6, name] == table.loc[1, name]
    select(layer, [1, 2])
    hands.button("merge")
    table = layer.features.set_index("index")
    assert table.loc[1, "class"] == "kind 0"
    # Of the two only the first was reviewed.
    assert not table.loc[1, "reviewed"]


@pytest.mark.parametrize("name", [*SELECTED, "split_line", "draw", "brush"])
def test_on_a_plane_of_a_stack_and_after_leaving_it(
    viewer: Any, edit: EditWidget, hands: Hands, name: str
) -> None:
    layer = add_objects(viewer, planes=4)
    viewer.reset_view()
    select(layer, SELECTED.get(name, [1]))
    before = Snapshot(layer)
    hands.button(name)
    if name == "split_line":
        hands.drag((5, 22), (20, 22), (35, 22))
    elif name == "draw":
        hands.drag((35, 80), (35, 100), (42, 100), (42, 80))
    elif name == "brush":
        hands.drag((40, 90), (40, 100))
        edit.session._on_settled()
        layer.mode = "pan_zoom"
    assert edit.status.level == "info"
    np.testing.assert_array_equal(layer.data[2:], before.data[2:])
    check_table(layer)
    if name in ("draw", "brush", "split_parts", "split_line"):
        assert layer.features.set_index("index").loc[16, "plane"] == 1
    viewer.dims.set_point(0, 3)
    there_and_back(layer, before, hands)
    viewer.dims.set_point(0, 2)
    select(layer, [15])
    hands.key("delete")
    assert 15 not in ids(layer)
    viewer.dims.set_point(0, 1)
    hands.press("Control-Z")
    hands.press("Control-Z")
    before.check(layer)


@pytest.mark.parametrize("by", ["button", "key"])
def test_merging_by_clicks(
    viewer: Any, edit: EditWidget, hands: Hands, by: str
) -> None:
    layer = add_objects(viewer)
    viewer.reset_view()
    select(layer, [40])
    before = Snapshot(layer)
    getattr(hands, by)("merge")
    assert edit.buttons["merge"].isChecked()
    hands.click((20, 15))
    assert "join to object 1" in edit.status.text()
    hands.click((55, 60), (5, 5))
    assert edit.status.level == "warning"
    assert ids(layer) == {1, 2, 3, 5}
    there_and_back(layer, before, hands)
    hands.click((55, 95))
    assert ids(layer) == {1, 2, 3}
    check_table(layer)
    hands.press("Escape")
    assert not edit.buttons["merge"].isChecked()
    hands.click((20, 68))
    assert ids(layer) == {1, 2, 3}


def test_splitting_by_a_dragged_line(
    viewer: Any, edit: EditWidget, hands: Hands
) -> None:
    layer = add_objects(viewer)
    viewer.reset_view()
    before = Snapshot(layer)
    centre = viewer.scene.camera.center
    hands.key("split_line")
    hands.drag((5, 22), (15, 22), (25, 22), (35, 22))
    assert viewer.scene.camera.center == centre
    assert ids(layer) == {1, 2, 3, 4, 5, 6}
    check_table(layer)
    there_and_back(layer, before, hands)
    hands.drag((18, 93), (20, 93))
    assert edit.status.level == "error"
    assert edit.status.text() == "The line lies on no object"
    hands.drag((55, 90), (55, 95), (56, 95))
    assert "does not cross object 5" in edit.status.text()


def test_splitting_by_a_clicked_line(viewer: Any, hands: Hands) -> None:
    layer = add_objects(viewer)
    viewer.reset_view()
    before = Snapshot(layer)
    hands.button("split_line")
    hands.click((5, 22))
    hands.double_click(35, 22)
    assert ids(layer) == {1, 2, 3, 4, 5, 6}
    there_and_back(layer, before, hands)


@pytest.mark.parametrize("name", ["split_line", "draw"])
def test_a_point_is_taken_back_and_enter_ends_the_line(
    viewer: Any, edit: EditWidget, hands: Hands, name: str
) -> None:
    layer = add_objects(viewer)
    viewer.reset_view()
    before = Snapshot(layer)
    hands.button(name)
    points = [(5, 22), (35, 22)] if name == "split_line" else [(35, 80), (35, 100)]
    hands.click(*points, (60, 110))
    right = Qt.MouseButton.RightButton
    QTest.mouseClick(hands.canvas, right, pos=hands.at(60, 110))
    if name == "draw":
        hands.click((42, 100))
    hands.press("Enter")
    assert ids(layer) == {1, 2, 3, 4, 5, 6}
    # The mode goes on: the next line needs no further press.
    assert edit.buttons[name].isChecked()
    assert edit.editor.tracer.points == []
    check_table(layer)
    there_and_back(layer, before, hands)


@pytest.mark.parametrize("over", [False, True])
def test_a_new_object_by_its_outline(
    viewer: Any, edit: EditWidget, hands: Hands, over: bool
) -> None:
    layer = add_objects(viewer)
    viewer.reset_view()
    edit.over_box.setChecked(over)
    before = Snapshot(layer)
    hands.key("draw")
    hands.click((50, 85), (50, 110), (60, 110))
    hands.double_click(60, 85)
    assert ids(layer) == {1, 2, 3, 4, 5, 6}
    assert (layer.data[55, 95] == 6) == over
    check_table(layer)
    assert np.isnan(layer.features.set_index("index").loc[6, "score"])
    there_and_back(layer, before, hands)


@pytest.mark.parametrize("by", ["button", "key"])
def test_a_new_object_by_the_brush(viewer: Any, hands: Hands, by: str) -> None:
    layer = add_objects(viewer)
    viewer.reset_view()
    before = Snapshot(layer)
    getattr(hands, by)("brush")
    assert layer.selected_label == 6
    assert str(layer.mode) == "paint"
    hands.drag((35, 90), (35, 95), (35, 100))
    hands.widget.session._on_settled()
    assert ids(layer) == {1, 2, 3, 4, 5, 6}
    check_table(layer)
    there_and_back(layer, before, hands)


def test_brush_strokes_between_edits(viewer: Any, hands: Hands) -> None:
    layer = add_objects(viewer)
    viewer.reset_view()
    states = [Snapshot(layer)]
    select(layer, [5])
    hands.key("grow")
    states.append(Snapshot(layer))
    layer.selected_label = 9
    layer.mode = "paint"
    hands.drag((40, 90), (40, 95))
    # The table is to follow the first stroke while the second one is under way.
    settle = hands.widget.session._on_settled
    hands.drag((40, 20), (40, 25), (40, 30), meanwhile=settle)
    hands.press("Control-Z")
    states.append(Snapshot(layer))
    check_table(layer)
    hands.press("Control-Shift-Z")
    hands.press("Control-Z")
    layer.mode = "pan_zoom"
    select(layer, [5, 9])
    hands.key("delete")
    for state in reversed(states):
        hands.press("Control-Z")
        state.check(layer)


def test_the_line_is_shown_where_the_mouse_is(
    viewer: Any, edit: EditWidget, hands: Hands
) -> None:
    add_objects(viewer)
    viewer.reset_view()
    line = edit._line
    assert line is not None
    hands.button("draw")
    hands.click((10, 40), (30, 45))
    assert line.isVisible()
    for (x, y), point in zip(line.positions(), ((10, 40), (30, 45)), strict=True):
        wanted = hands.at(*point)
        assert abs(x - wanted.x()) < 2
        assert abs(y - wanted.y()) < 2
    hands.press("Escape")
    assert not line.isVisible()
    assert edit.editor.tracer.points == []


@pytest.mark.parametrize(
    "leave",
    [
        lambda viewer, layer: setattr(layer, "mode", "paint"),
        lambda viewer, layer: viewer.add_image(np.zeros((5, 5))),
        lambda viewer, layer: viewer.layers.remove(layer),
        lambda viewer, layer: setattr(viewer.dims, "ndisplay", 3),
    ],
)
def test_a_mode_ends_with_what_it_was_for(
    viewer: Any, edit: EditWidget, hands: Hands, leave: Callable[[Any, Any], None]
) -> None:
    layer = add_objects(viewer, planes=4)
    zooming = list(viewer.mouse_double_click_callbacks)
    hands.button("split_line")
    assert edit.editor.mode == "split_line"
    leave(viewer, layer)
    assert edit.editor.mode == ""
    assert not edit.buttons["split_line"].isChecked()
    assert list(viewer.mouse_double_click_callbacks) == zooming


def test_keys_go_with_the_dock(viewer: Any, edit: EditWidget, hands: Hands) -> None:
    layer = add_objects(viewer)
    select(layer, [5])
    keymap = set(layer.keymap)
    assert len(keymap) == len(actions_of("Edit"))
    before = Snapshot(layer)
    viewer.window.remove_dock_widget(edit)
    assert not layer.keymap
    hands.key("delete")
    before.check(layer)
    _, again = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Edit")
    hands.key("delete")
    assert ids(layer) == {1, 2, 3, 4}
    again.release()
    # So that it goes with the window.
    edit.setParent(again)


def test_without_a_layer_and_with_a_locked_one(viewer: Any, edit: EditWidget) -> None:
    assert edit.status.text() == EMPTY
    assert not edit.buttons["merge"].isEnabled()
    layer = add_objects(viewer)
    assert edit.buttons["merge"].isEnabled()
    assert edit.status.text() == ""
    layer.editable = False
    edit.press("delete")
    assert "is locked" in edit.status.text()


def test_the_layer_box_follows_the_active_layer(viewer: Any, edit: EditWidget) -> None:
    first, second = add_objects(viewer), add_objects(viewer)
    assert edit.layer() is second
    viewer.layers.selection.active = first
    assert edit.layer() is first
    select(first, [2, 3])
    edit._on_selected()
    assert edit.selected_label.text() == "2 objects selected"
    first.selected_label = 5
    assert edit.selected_label.text() == "Object 5 selected"
    assert selected_ids(first) == [5]


def test_a_tracer_needs_two_dimensions(viewer: Any) -> None:
    layer = add_objects(viewer, planes=4)
    viewer.dims.ndisplay = 3
    with pytest.raises(ValueError, match="2D view"):
        Tracer(viewer).start("line", layer)
