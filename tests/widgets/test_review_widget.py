"""The Review widget, clicked in a real viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
from edit_samples import Snapshot
from napari.layers import Labels, Shapes
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.viewer.jobs import Outcome
from napari_maskrcnn.viewer.layers import Plane, current_plane
from napari_maskrcnn.viewer.marks import regions_of, reviewed_of
from napari_maskrcnn.widgets.object_model import AREA, CLASS, DONE, ID
from napari_maskrcnn.widgets.review import EMPTY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.widgets.review import ReviewWidget

SHAPE = (96, 256)
SCORES = [0.9, 0.3, 0.95, 0.6]


class NoEncoding:
    """Stands for the encoding, which reviewing does not touch."""

    object_size, nbytes = 24.0, 0


def squares(count: int, first: int = 1, top: int = 40) -> NDArray[np.uint16]:
    """Draw squares in a row, numbered from `first`."""
    label_image = np.zeros(SHAPE, np.uint16)
    for i in range(count):
        label_image[top : top + 12, 5 + 30 * i : 17 + 30 * i] = first + i
    return label_image


def found() -> Instances:
    """Four objects of two classes, as a network finds them."""
    return Instances.from_label_image(
        squares(len(SCORES)),
        class_ids=[1, 2, 1, 2],
        scores=SCORES,
        class_names=("cell", "debris"),
    )


def segment(
    viewer: Any, widget: ReviewWidget, shape: tuple[int, ...] = SHAPE
) -> Labels:
    """Add an image, and take objects for it as after a run."""
    image = viewer.add_image(np.zeros(shape, np.uint8), name="picture")
    outcome = Outcome(NoEncoding(), (), found())
    plane = current_plane(image, viewer)
    widget.session.take(image, plane, outcome, Recipe(score_threshold=0.05))
    widget.refresh()
    labels: Labels = widget.session.results.labels_of(image)
    return labels


def click(qtbot: QtBot, button: Any) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def click_row(qtbot: QtBot, widget: ReviewWidget, row: int, column: int = ID) -> None:
    """Click a cell of the table; on a check mark, in its middle."""
    place = widget.table.visualRect(widget.model.index(row, column)).center()
    viewport = widget.table.viewport()
    qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=place)


def press(widget: ReviewWidget, key: Any, modifier: Any = None) -> None:
    modifier = modifier or Qt.KeyboardModifier.NoModifier
    QTest.keyClick(widget.table, key, modifier)


def shown(widget: ReviewWidget) -> list[int]:
    return widget.model.ids.tolist()


def reviewed(viewer: Any, labels: Labels) -> list[int]:
    return reviewed_of(labels, current_plane(labels, viewer)).ids.tolist()


@pytest.fixture
def widget(viewer: Any, qtbot: QtBot) -> Iterator[ReviewWidget]:
    viewer.window.resize(1100, 900)
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Review")
    qtbot.waitUntil(widget.isVisible)
    yield widget
    widget.session.release()


def test_without_labels_it_says_what_to_do(viewer: Any, widget: ReviewWidget) -> None:
    assert widget.status.text() == EMPTY
    assert not widget.decide_bar.approve_button.isEnabled()
    assert not widget.decide_bar.plane_button.isEnabled()
    assert not widget.classes.isEnabled()
    labels = viewer.add_labels(squares(2))
    assert widget.status.text() == ""
    assert shown(widget) == [1, 2]
    viewer.layers.remove(labels)
    assert widget.status.text() == EMPTY
    assert shown(widget) == []


def test_the_least_certain_comes_first(viewer: Any, widget: ReviewWidget) -> None:
    labels = segment(viewer, widget)
    assert widget.layer() is labels
    assert shown(widget) == [2, 4, 1, 3]
    assert widget.model.index(0, CLASS).data() == "debris"
    assert widget.list.progress_bar.format() == "0 of 4 reviewed, 4 left"


def test_approve_goes_to_the_next_and_is_undone(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot
) -> None:
    labels = segment(viewer, widget)
    click(qtbot, widget.list.next_button)
    assert labels.selected_label == 2
    before = labels.features.copy()
    click(qtbot, widget.decide_bar.approve_button)
    assert reviewed(viewer, labels) == [2]
    assert labels.selected_label == widget.table.current() == 4
    click(qtbot, widget.decide_bar.approve_button)
    assert reviewed(viewer, labels) == [2, 4]
    assert widget.list.progress_bar.value() == 2
    labels.undo()
    labels.undo()
    assert labels.features.equals(before)
    qtbot.waitUntil(lambda: widget.list.progress_bar.value() == 0)
    labels.redo()
    assert reviewed(viewer, labels) == [2]
    qtbot.waitUntil(lambda: widget.list.progress_bar.value() == 1)


def test_reject_says_why_a_layer_cannot_be_edited(
    qtbot: QtBot, viewer: Any, widget: ReviewWidget
) -> None:
    lazy = viewer.add_labels(da.from_array(squares(2), chunks=32), name="lazy")
    widget.refresh()
    click_row(qtbot, widget, 0)
    click(qtbot, widget.decide_bar.reject_button)
    assert widget.status.text() == (
        "lazy is not in memory; duplicate it as an array to edit it"
    )
    assert widget.status.level == "error"
    assert np.unique(np.asarray(lazy.data)).tolist() == [0, 1, 2]


def test_reject_deletes_and_undo_brings_back(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot
) -> None:
    labels = segment(viewer, widget)
    pixels, table = labels.data.copy(), labels.features.copy()
    click(qtbot, widget.list.next_button)
    click(qtbot, widget.decide_bar.reject_button)
    assert 2 not in labels.data
    assert shown(widget) == [4, 1, 3]
    assert labels.features["index"].tolist() == [1, 3, 4]
    assert widget.table.current() == 4
    labels.undo()
    np.testing.assert_array_equal(labels.data, pixels)
    assert labels.features.equals(table)
    qtbot.waitUntil(lambda: shown(widget) == [2, 4, 1, 3])


def test_keys_in_the_table(viewer: Any, widget: ReviewWidget, qtbot: QtBot) -> None:
    labels = segment(viewer, widget)
    press(widget, Qt.Key.Key_N)
    press(widget, Qt.Key.Key_N)
    assert widget.table.current() == 4
    press(widget, Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
    assert widget.table.current() == 2
    press(widget, Qt.Key.Key_1)
    assert labels.features["class"].tolist() == ["cell", "cell", "cell", "debris"]
    assert labels.mode == "pan_zoom", "1 was not napari's eraser"
    press(widget, Qt.Key.Key_A)
    assert reviewed(viewer, labels) == [2]
    press(widget, Qt.Key.Key_R)
    assert 4 not in labels.data
    press(widget, Qt.Key.Key_9)
    assert widget.status.text() == "There is no class 9"
    press(widget, Qt.Key.Key_Down)
    assert widget.table.current() == 3
    for _ in range(3):
        press(widget, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert 4 in labels.data, "the table passes napari's keys on"
    assert reviewed(viewer, labels) == []
    assert labels.features["class"].tolist() == ["cell", "debris", "cell", "debris"]


def test_keys_in_the_viewer(viewer: Any, widget: ReviewWidget, qtbot: QtBot) -> None:
    labels = segment(viewer, widget)
    viewer.layers.selection.active = labels
    canvas = viewer.window._qt_viewer.canvas
    labels.selected_label = 3
    labels.selected_label = 1
    for key, text in ((Qt.Key.Key_2, ""), (Qt.Key.Key_A, "a")):
        modifier = Qt.KeyboardModifier.NoModifier
        if not text:
            modifier = Qt.KeyboardModifier.AltModifier
        QTest.keyClick(canvas.native, key, modifier)
    assert labels.features["class"][0] == "debris"
    assert reviewed(viewer, labels) == [1]
    assert labels.mode == "pan_zoom"
    keys = len(labels.keymap)
    widget.hide()
    assert len(labels.keymap) < keys


def test_selecting_goes_both_ways(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot
) -> None:
    labels = segment(viewer, widget)
    click_row(qtbot, widget, 2)
    assert labels.selected_label == 1
    assert viewer.layers.selection.active is labels
    heard: list[Any] = []
    widget.table.chosen.connect(heard.append)
    labels.selected_label = 3
    assert widget.table.selected() == [3]
    assert not heard
    widget.list.filters.class_box.setCurrentText("debris")
    labels.selected_label = 1
    assert widget.table.selected() == []
    assert labels.selected_label == 1


def test_a_click_on_an_object_selects_its_row(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot
) -> None:
    labels = segment(viewer, widget)
    viewer.reset_view()
    canvas = viewer.window._qt_viewer.canvas
    height, width = canvas.native.height(), canvas.native.width()
    view = np.array([46.0, 71.0]) - np.asarray(viewer.scene.camera.center)[-2:]
    y, x = np.array([height, width]) / 2 + view * viewer.scene.camera.zoom
    camera = viewer.scene.camera.center
    from qtpy.QtCore import QPoint

    qtbot.mouseClick(
        canvas.native, Qt.MouseButton.LeftButton, pos=QPoint(round(x), round(y))
    )
    assert labels.selected_label == 3
    assert widget.table.selected() == [3]
    assert viewer.scene.camera.center == camera


def test_the_camera_goes_there_only_if_it_must(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot
) -> None:
    segment(viewer, widget)
    viewer.reset_view()
    camera = viewer.scene.camera
    before = (camera.center, camera.zoom)
    click_row(qtbot, widget, 0)
    assert (camera.center, camera.zoom) == before, "it can be seen well"
    camera.zoom = 0.3
    click_row(qtbot, widget, 1)
    assert camera.zoom > 1
    np.testing.assert_allclose(camera.center[-2:], [45.5, 100.5])
    zoom = camera.zoom
    click_row(qtbot, widget, 2)
    assert camera.zoom == zoom
    np.testing.assert_allclose(camera.center[-2:], [45.5, 10.5])


def test_filters(viewer: Any, widget: ReviewWidget, qtbot: QtBot) -> None:
    labels = segment(viewer, widget)
    labels.data_setitem(np.nonzero(squares(1, first=9, top=0) > 0), 9)
    widget.refresh()
    assert shown(widget) == [2, 4, 1, 3, 9], "what was drawn by hand is last"
    filters = widget.list.filters
    filters.class_box.setCurrentText("debris")
    assert shown(widget) == [2, 4]
    assert widget.list.count_label.text() == "2 of 5 shown"
    filters.class_box.setCurrentIndex(0)
    filters.low_box.setValue(0.6)
    filters.high_box.setValue(0.9)
    assert shown(widget) == [4, 1]
    filters.low_box.setValue(0)
    filters.high_box.setValue(1)
    filters.flagged_box.setChecked(True)
    assert shown(widget) == [9], "it touches the border"
    filters.flagged_box.setChecked(False)
    filters.unreviewed_box.setChecked(True)
    click_row(qtbot, widget, 0)
    click(qtbot, widget.decide_bar.approve_button)
    assert shown(widget) == [4, 1, 3, 9]
    assert widget.table.current() == 4


def test_approve_all_shown(viewer: Any, widget: ReviewWidget, qtbot: QtBot) -> None:
    labels = segment(viewer, widget)
    widget.list.filters.class_box.setCurrentText("debris")
    click(qtbot, widget.decide_bar.shown_button)
    assert reviewed(viewer, labels) == [2, 4]
    labels.undo()
    assert reviewed(viewer, labels) == []


def test_check_marks_are_clicked(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot
) -> None:
    labels = segment(viewer, widget)
    index = widget.model.index(1, DONE)
    checked = Qt.ItemDataRole.CheckStateRole
    widget.model.setData(index, Qt.CheckState.Checked, checked)
    assert reviewed(viewer, labels) == [4]
    assert widget.model.index(1, DONE).data(checked) == Qt.CheckState.Checked
    click(qtbot, widget.decide_bar.plane_button)
    assert widget.list.progress_bar.format() == "4 of 4 reviewed, all reviewed"
    plane = current_plane(labels, viewer)
    assert regions_of(labels, plane) == [(0, 0, *SHAPE)]
    place = widget.table.visualRect(widget.model.index(0, DONE))
    viewport = widget.table.viewport()
    qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=place.center())
    assert reviewed(viewer, labels) == [1, 3, 4]
    assert widget.status.text().endswith("and the region it was in")
    assert regions_of(labels, plane) == []


def test_a_region_is_dragged(viewer: Any, widget: ReviewWidget, qtbot: QtBot) -> None:
    from qtpy.QtCore import QPoint

    labels = segment(viewer, widget)
    viewer.reset_view()
    click(qtbot, widget.decide_bar.region_button)
    assert isinstance(viewer.layers.selection.active, Shapes)
    canvas = viewer.window._qt_viewer.canvas
    middle = np.array([canvas.native.height(), canvas.native.width()]) / 2
    points = []
    for corner in ([30.0, 30.0], [60.0, 80.0]):
        view = np.array(corner) - np.asarray(viewer.scene.camera.center)[-2:]
        y, x = middle + view * viewer.scene.camera.zoom
        points.append(QPoint(round(x), round(y)))
    native, left = canvas.native, Qt.MouseButton.LeftButton
    qtbot.mousePress(native, left, pos=points[0])
    for point in (points[0] + QPoint(9, 9), points[1]):
        qtbot.mouseMove(native, point)
        qtbot.wait(50)
    qtbot.mouseRelease(native, left, pos=points[1])
    qtbot.waitUntil(lambda: not widget.decide_bar.region_button.isChecked())
    assert reviewed(viewer, labels) == [2, 3]
    ((y0, x0, y1, x1),) = regions_of(labels, current_plane(labels, viewer))
    assert np.abs(np.array([y0, x0, y1, x1]) - [30, 30, 61, 81]).max() <= 2
    assert viewer.layers.selection.active is labels
    (outline,) = (x for x in viewer.layers if isinstance(x, Shapes))
    assert outline.name == f"{labels.name} reviewed"
    assert not outline.editable
    labels.undo()
    qtbot.waitUntil(lambda: outline not in viewer.layers)
    assert reviewed(viewer, labels) == []
    labels.redo()
    assert reviewed(viewer, labels) == [2, 3]
    assert regions_of(labels, current_plane(labels, viewer)) == [(y0, x0, y1, x1)]
    qtbot.waitUntil(lambda: any(isinstance(x, Shapes) for x in viewer.layers))


def test_the_region_tool_is_put_away(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot
) -> None:
    segment(viewer, widget)
    click(qtbot, widget.decide_bar.region_button)
    click(qtbot, widget.decide_bar.region_button)
    assert not any(isinstance(x, Shapes) for x in viewer.layers)
    click(qtbot, widget.decide_bar.region_button)
    viewer.layers.remove(viewer.layers.selection.active)
    assert not widget.decide_bar.region_button.isChecked()
    click(qtbot, widget.decide_bar.region_button)
    widget.hide()
    assert not any(isinstance(x, Shapes) for x in viewer.layers)


def test_classes_are_added_given_and_renamed(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot
) -> None:
    labels = segment(viewer, widget)
    panel = widget.classes
    assert panel.names() == ["cell", "debris"]
    click_row(qtbot, widget, 0)
    qtbot.keyClicks(panel.name_edit, "vessel")
    click(qtbot, panel.add_button)
    assert panel.names() == ["cell", "debris", "vessel"]
    panel.list.setCurrentRow(2)
    click(qtbot, panel.set_button)
    assert labels.features["class"].tolist() == ["cell", "vessel", "cell", "debris"]
    panel.list.item(2).setText("duct")
    assert panel.names() == ["cell", "debris", "duct"]
    assert labels.features["class"][1] == "duct"
    panel.list.item(2).setText("cell")
    assert widget.status.text() == 'There is a class "cell" already'
    assert panel.names() == ["cell", "debris", "duct"]
    assert panel.list.item(2).text() == "duct"
    labels.undo()
    labels.undo()
    assert labels.features["class"].tolist() == ["cell", "debris", "cell", "debris"]
    qtbot.waitUntil(lambda: panel.names() == ["cell", "debris", "vessel"])


def test_several_objects_at_once(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot
) -> None:
    labels = segment(viewer, widget)
    widget.table.setFocus()
    widget.table.selectAll()
    press(widget, Qt.Key.Key_2)
    assert set(labels.features["class"]) == {"debris"}
    assert sorted(widget.table.selected()) == [1, 2, 3, 4], "they stay selected"
    click(qtbot, widget.decide_bar.approve_button)
    assert reviewed(viewer, labels) == [1, 2, 3, 4]
    labels.undo()
    labels.undo()
    assert labels.features["class"].tolist() == ["cell", "debris", "cell", "debris"]
    assert reviewed(viewer, labels) == []


def test_colouring_by_class_is_switched(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot
) -> None:
    labels = segment(viewer, widget)
    former = labels.colormap
    widget.classes.colour_box.click()
    assert np.array_equal(labels.get_color(1), labels.get_color(3))
    assert not np.array_equal(labels.get_color(1), labels.get_color(2))
    labels.new_colormap(seed=1)
    qtbot.waitUntil(lambda: not widget.classes.colour_box.isChecked())
    labels.colormap = former
    widget.classes.colour_box.click()
    widget.classes.colour_box.click()
    assert labels.colormap is former


def test_labels_of_other_origin(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot
) -> None:
    labels = viewer.add_labels(squares(3).astype(np.int64) * 1000, name="theirs")
    click(qtbot, widget.list.next_button)
    click(qtbot, widget.decide_bar.approve_button)
    assert reviewed(viewer, labels) == [1000]
    click(qtbot, widget.decide_bar.reject_button)
    assert 2000 not in labels.data
    labels.undo()
    labels.undo()
    assert reviewed(viewer, labels) == []
    assert 2000 in labels.data


def test_planes_of_a_stack(viewer: Any, widget: ReviewWidget, qtbot: QtBot) -> None:
    stack = np.stack([squares(2), squares(3, first=11)])
    labels = viewer.add_labels(stack)
    viewer.dims.set_point(0, 0)
    widget.refresh()
    assert shown(widget) == [1, 2]
    click(qtbot, widget.decide_bar.plane_button)
    viewer.dims.set_point(0, 1)
    qtbot.waitUntil(lambda: shown(widget) == [11, 12, 13])
    assert widget.list.progress_bar.value() == 0
    click(qtbot, widget.list.next_button)
    click(qtbot, widget.decide_bar.approve_button)
    assert reviewed(viewer, labels) == [11]
    viewer.dims.set_point(0, 0)
    assert reviewed(viewer, labels) == [1, 2]


PLANES = tuple(Plane((1, 2), (plane,)) for plane in range(3))
ACTS = {
    "approve": lambda qtbot, widget: click(qtbot, widget.decide_bar.approve_button),
    "approve by key": lambda _, widget: press(widget, Qt.Key.Key_A),
    "reject": lambda qtbot, widget: click(qtbot, widget.decide_bar.reject_button),
    "reject by key": lambda _, widget: press(widget, Qt.Key.Key_Delete),
    "class": lambda qtbot, widget: click(qtbot, widget.classes.set_button),
    "class by key": lambda _, widget: press(widget, Qt.Key.Key_2),
    "shown": lambda qtbot, widget: click(qtbot, widget.decide_bar.shown_button),
    "plane": lambda qtbot, widget: click(qtbot, widget.decide_bar.plane_button),
    "check mark": lambda qtbot, widget: click_row(qtbot, widget, 1, DONE),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_each_act_is_one_step_that_is_undone_from_another_plane(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot, act: Any
) -> None:
    stack = np.stack([squares(2), squares(3, first=11), squares(2, first=21)])
    labels = viewer.add_labels(stack)
    for plane in (0, 1):
        viewer.dims.set_point(0, plane)
        widget.refresh()
        click(qtbot, widget.decide_bar.shown_button)
    widget._on_class_added("cell")
    widget._on_class_added("debris")
    viewer.dims.set_point(0, 2)
    qtbot.waitUntil(lambda: shown(widget) == [21, 22])
    click_row(qtbot, widget, 0)
    widget.classes.list.setCurrentRow(1)

    def state() -> tuple[Any, ...]:
        planes = [reviewed_of(labels, plane).ids.tolist() for plane in PLANES]
        return Snapshot(labels), planes, [regions_of(labels, x) for x in PLANES]

    before = state()
    act(qtbot, widget)
    after = state()
    same_table = after[0].table.equals(before[0].table)
    assert before[0].differs(labels) or not same_table
    for step, (wanted, marks, regions) in (
        (labels.undo, before),
        (labels.redo, after),
        (labels.undo, before),
    ):
        viewer.dims.set_point(0, 0)
        step()
        wanted.check(labels)
        assert state()[1:] == (marks, regions)
        viewer.dims.set_point(0, 2)
        there = [int(i) for i in np.unique(wanted.data[2]) if i]
        qtbot.waitUntil(lambda ids=there: shown(widget) == ids)


def test_the_table_follows_brush_and_undo(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot
) -> None:
    labels = segment(viewer, widget)
    labels.selected_label = 7
    labels.paint((10, 100), 7)
    qtbot.waitUntil(lambda: 7 in shown(widget))
    labels.undo()
    qtbot.waitUntil(lambda: 7 not in shown(widget))


def test_sorting_by_a_click_on_the_header(
    viewer: Any, widget: ReviewWidget, qtbot: QtBot
) -> None:
    labels = segment(viewer, widget)
    labels.data_setitem((np.array([52, 53]), np.array([8, 8])), 1)
    widget.refresh()
    header = widget.table.horizontalHeader()
    place = header.sectionViewportPosition(AREA) + 5
    from qtpy.QtCore import QPoint

    for _ in range(2):
        qtbot.mouseClick(
            header.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place, 8)
        )
    assert shown(widget)[0] == 1
    click(qtbot, widget.decide_bar.approve_button)


def test_five_thousand_objects(viewer: Any, widget: ReviewWidget, qtbot: QtBot) -> None:
    label_image = nuclei_field((1024, 1024), 5000)[1].astype(np.uint16)
    labels = viewer.add_labels(label_image)
    count = len(np.unique(label_image)) - 1
    assert widget.model.rowCount() == len(shown(widget)) == count
    click(qtbot, widget.list.next_button)
    click(qtbot, widget.list.next_button)
    click(qtbot, widget.decide_bar.shown_button)
    assert len(reviewed(viewer, labels)) == count
    widget.list.filters.unreviewed_box.setChecked(True)
    assert shown(widget) == []
    labels.undo()
    qtbot.waitUntil(lambda: len(shown(widget)) == count)


def test_a_hidden_widget_hears_no_clicks(viewer: Any, widget: ReviewWidget) -> None:
    segment(viewer, widget)
    before = len(viewer.mouse_drag_callbacks)
    widget.hide()
    assert len(viewer.mouse_drag_callbacks) == before - 1
    widget.show()
    assert len(viewer.mouse_drag_callbacks) == before
