"""Undo and redo of pixels with the table of objects, in napari's own order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from napari_maskrcnn.core.editing import delete, grow, merge
from napari_maskrcnn.viewer.edits import apply
from napari_maskrcnn.viewer.features import update_features
from napari_maskrcnn.viewer.history import history_of
from napari_maskrcnn.viewer.layers import Plane, forget_history

if TYPE_CHECKING:
    from napari.layers import Labels
    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.viewer.session import Session

PLANE = Plane((0, 1))


def label_image() -> np.ndarray:
    """Return six squares of 6 x 6, ids 1 to 6."""
    data = np.zeros((40, 60), np.uint16)
    for index in range(6):
        y, x = 4 + 20 * (index // 3), 4 + 20 * (index % 3)
        data[y : y + 6, x : x + 6] = index + 1
    return data


def brush(labels: Labels, where: Any, value: int) -> None:
    with labels.block_history():
        labels.data_setitem(np.nonzero(where), value)


def around(y: int, x: int, size: int = 2) -> np.ndarray:
    where = np.zeros((40, 60), bool)
    where[y : y + size, x : x + size] = True
    return where


class States:
    """Pixels and table after each act, to compare with after undo and redo."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.states = [self.now()]

    def now(self) -> tuple[np.ndarray, pd.DataFrame]:
        return self.labels.data.copy(), self.labels.features.copy()

    def note(self) -> None:
        self.states.append(self.now())

    def check(self, position: int) -> None:
        data, table = self.states[position]
        np.testing.assert_array_equal(self.labels.data, data)
        pd.testing.assert_frame_equal(self.labels.features, table)

    def there_and_back(self, times: int = 2) -> None:
        last = len(self.states) - 1
        for _ in range(times):
            for position in range(last, 0, -1):
                self.check(position)
                self.labels.undo()
            self.check(0)
            for position in range(1, last + 1):
                self.labels.redo()
                self.check(position)


@pytest.fixture
def labels(viewer: Any, session: Session) -> Labels:
    layer: Labels = viewer.add_labels(label_image())
    update_features(layer, PLANE)
    table = layer.features.copy()
    table["class"] = list("aabbcc")
    table["score"] = np.linspace(0.9, 0.4, 6)
    table["reviewed"] = [True, False] * 3
    table["note"] = list("uvwxyz")
    layer.features = table
    return layer


def test_edits_strokes_and_classes_are_undone_in_their_order(labels: Labels) -> None:
    states = States(labels)
    history = history_of(labels)
    apply(labels, PLANE, merge(labels.data, [2, 3]))
    states.note()
    history.set_values([1, 4], **{"class": "new"})
    states.note()
    brush(labels, labels.data == 5, 0)
    history.flush()
    states.note()
    history.set_values(6, reviewed=True, score=0.1)
    states.note()
    brush(labels, around(0, 0), 9)
    history.flush()
    states.note()
    apply(labels, PLANE, delete(labels.data, [9, 1]))
    states.note()
    assert set(labels.features["index"]) == {2, 4, 6}
    states.there_and_back()


def test_strokes_in_one_go_are_undone_one_by_one(labels: Labels) -> None:
    states = States(labels)
    brush(labels, labels.data == 5, 0)
    brush(labels, around(0, 0), 9)
    brush(labels, labels.data == 4, 6)
    labels.undo()
    table = labels.features.set_index("index")
    assert table.loc[4, "class"] == "b"
    assert table.loc[9, "area"] == 4
    assert 5 not in table.index
    labels.undo()
    table = labels.features.set_index("index")
    assert 9 not in table.index
    labels.undo()
    states.check(0)
    labels.redo()
    labels.redo()
    labels.redo()
    table = labels.features.set_index("index")
    assert table.loc[6, "area"] == 72
    assert set(table.index) == {1, 2, 3, 6, 9}
    for _ in range(3):
        labels.undo()
    states.check(0)


def test_a_stroke_after_an_undo_ends_the_redo(labels: Labels) -> None:
    states = States(labels)
    apply(labels, PLANE, delete(labels.data, [1]))
    labels.undo()
    history_of(labels).set_values(2, reviewed=True)
    states.note()
    labels.redo()
    states.check(1)
    states.there_and_back()


def test_steps_before_the_history_are_followed_by_the_pixels(
    viewer: Any, qtbot: QtBot
) -> None:
    layer = viewer.add_labels(label_image())
    brush(layer, layer.data == 3, 0)
    history_of(layer)
    update_features(layer, PLANE)
    assert 3 not in set(layer.features["index"])
    apply(layer, PLANE, grow(layer.data, [1]))
    layer.undo()
    layer.undo()
    assert layer.data[4, 44] == 3
    assert 3 in set(layer.features["index"])
    layer.redo()
    assert 3 not in set(layer.features["index"])
    layer.redo()
    assert layer.features.set_index("index").loc[1, "area"] == 60


def test_undoing_more_than_there_is_changes_nothing(labels: Labels) -> None:
    states = States(labels)
    labels.undo()
    states.check(0)
    history_of(labels).set_values(1, reviewed=False)
    states.note()
    labels.undo()
    labels.undo()
    states.check(0)
    labels.redo()
    labels.redo()
    states.check(1)


def test_a_locked_layer_forgets(labels: Labels) -> None:
    history_of(labels).set_values(1, reviewed=False)
    states = States(labels)
    forget_history(labels)
    labels.undo()
    labels.redo()
    states.check(0)


def test_an_aborted_stroke_leaves_nothing_to_redo(labels: Labels) -> None:
    history_of(labels).set_values(1, reviewed=False)
    labels.undo()
    states = States(labels)
    # As napari does when Escape is pressed in the middle of a stroke.
    labels._begin_stroke()
    labels.data_setitem(np.nonzero(around(0, 0)), 9)
    labels._abort_stroke()
    labels.redo()
    states.check(0)


def test_more_than_napari_keeps(labels: Labels) -> None:
    history = history_of(labels)
    for value in range(105):
        history.set_values(1, score=float(value))
    for _ in range(110):
        labels.undo()
    assert labels.features.set_index("index").loc[1, "score"] == 4
    for _ in range(110):
        labels.redo()
    assert labels.features.set_index("index").loc[1, "score"] == 104


def test_columns_that_came_later_stay(labels: Labels) -> None:
    apply(labels, PLANE, delete(labels.data, [3]))
    table = labels.features.copy()
    table["later"] = np.arange(5)
    labels.features = table
    labels.undo()
    table = labels.features.set_index("index")
    assert table.loc[3, "note"] == "w"
    assert table.loc[[1, 2, 4, 5, 6], "later"].tolist() == [0, 1, 2, 3, 4]
    assert np.isnan(table.loc[3, "later"])


def test_acts_on_metadata_are_steps_too(labels: Labels) -> None:
    marks: list[str] = ["drawn"]
    with history_of(labels).one_step(undo=marks.clear, redo=lambda: marks.append("d")):
        pass
    labels.undo()
    assert marks == []
    labels.redo()
    assert marks == ["d"]


def test_strokes_rest_and_the_table_follows(
    labels: Labels, session: Session, qtbot: QtBot
) -> None:
    with qtbot.waitSignal(session.shown_changed, timeout=5000):
        brush(labels, labels.data == 2, 0)
    assert 2 not in set(labels.features["index"])
    labels.undo()
    assert labels.features.set_index("index").loc[2, "note"] == "v"


def test_a_layer_goes_with_its_history(viewer: Any, session: Session) -> None:
    import gc
    import weakref

    layer = viewer.add_labels(label_image())
    brush(layer, around(0, 0), 9)
    reference = weakref.ref(history_of(layer))
    viewer.layers.clear()
    del layer
    gc.collect()
    assert reference() is None
