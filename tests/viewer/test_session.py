"""Results in a viewer: one undo step, edits kept, stacks, release."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from viewer_samples import outcome, squares

from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.viewer.layers import current_plane
from napari_maskrcnn.viewer.session import Session, session_of

if TYPE_CHECKING:
    from napari.layers import Image, Labels
    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.core.instances import Instances

SCORES = [0.9, 0.8, 0.7, 0.6, 0.55, 0.4, 0.3, 0.2, 0.1]
SHAPE = (40, 60)


def take(
    session: Session,
    image: Image,
    instances: Instances,
    recipe: Recipe | None = None,
    *,
    keep: bool = True,
    nbytes: int = 0,
) -> Labels:
    viewer = session.viewer
    assert viewer is not None
    session.take(
        image,
        current_plane(image, viewer),
        outcome(instances, nbytes),
        recipe or Recipe(),
        keep_edited=keep,
    )
    labels = session.results.labels_of(image)
    assert labels is not None
    return labels


def slide(session: Session, image: Image, *scores: float, keep: bool = True) -> None:
    for score in scores:
        session.repaint(image, Recipe(score_threshold=score), keep_edited=keep)
    session.commit()


def ids(labels: Labels) -> set[int]:
    return set(np.unique(labels.data).tolist()) - {0}


def paint(labels: Labels, where: Any, value: int) -> None:
    """Paint as brushes and other tools do: recorded, with an event."""
    with labels.block_history():
        labels.data_setitem(np.nonzero(where), value)


@pytest.fixture
def image(viewer: Any) -> Image:
    layer: Image = viewer.add_image(np.zeros(SHAPE))
    return layer


def test_one_session_for_a_viewer_and_its_proxies(
    make_napari_viewer_proxy: Any,
) -> None:
    proxy = make_napari_viewer_proxy()
    assert session_of(proxy) is session_of(proxy.__wrapped__)


def test_a_result_makes_a_labels_layer_with_a_table(
    session: Session, image: Image
) -> None:
    labels = take(session, image, squares(SCORES))
    assert labels.data.dtype == np.uint16
    assert ids(labels) == {1, 2, 3, 4, 5}
    assert session.results.count(image) == 5
    table = labels.features
    assert list(table.columns) == ["index", "class", "score", "area", "reviewed"]
    assert table["index"].tolist() == [1, 2, 3, 4, 5]
    assert set(table["class"]) == {"nucleus"}
    np.testing.assert_allclose(table["score"], SCORES[:5], atol=1e-6)
    assert set(table["area"]) == {64}
    assert "nucleus" in str(labels.get_status((3, 3))["value"])


def test_sliders_show_and_hide_and_are_one_undo_step(
    session: Session, image: Image
) -> None:
    labels = take(session, image, squares(SCORES))
    first = labels.data.copy()
    slide(session, image, 0.6, 0.7, 0.85, 0.25)
    assert ids(labels) == {1, 2, 3, 4, 5, 6, 7}
    assert labels.features["index"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    labels.undo()
    np.testing.assert_array_equal(labels.data, first)
    labels.redo()
    assert ids(labels) == {1, 2, 3, 4, 5, 6, 7}
    labels.undo()
    labels.undo()
    np.testing.assert_array_equal(labels.data, first)


def test_the_first_result_is_not_undone(session: Session, image: Image) -> None:
    labels = take(session, image, squares(SCORES))
    labels.undo()
    assert ids(labels) == {1, 2, 3, 4, 5}


def test_sliding_back_and_forth_changes_nothing(session: Session, image: Image) -> None:
    labels = take(session, image, squares(SCORES))
    first = labels.data.copy()
    slide(session, image, 0.2, 0.9, 0.5)
    np.testing.assert_array_equal(labels.data, first)


def test_the_table_follows_undo_and_the_brush(
    session: Session, image: Image, qtbot: QtBot
) -> None:
    labels = take(session, image, squares(SCORES))
    slide(session, image, 0.85)
    assert labels.features["index"].tolist() == [1]
    with qtbot.waitSignal(session.shown_changed, timeout=3000):
        labels.undo()
    assert labels.features["index"].tolist() == [1, 2, 3, 4, 5]
    new = np.zeros(SHAPE, bool)
    new[35:38, 50:55] = True
    with qtbot.waitSignal(session.shown_changed, timeout=3000):
        paint(labels, new, 50)
    row = labels.features.set_index("index").loc[50]
    assert row["class"] == "nucleus"
    assert np.isnan(row["score"])
    assert row["area"] == 15
    assert session.results.count(image) == 6


def edit_everything(labels: Labels) -> np.ndarray:
    """Grow 1, merge 2 into 1's neighbour 3, delete 4, draw 50."""
    grown = np.zeros(SHAPE, bool)
    grown[10:12, 2:10] = True
    paint(labels, grown, 1)
    paint(labels, labels.data == 2, 3)
    paint(labels, labels.data == 4, 0)
    drawn = np.zeros(SHAPE, bool)
    drawn[36:39, 2:40] = True
    paint(labels, drawn, 50)
    return labels.data.copy()


def test_sliders_keep_what_was_edited(session: Session, image: Image) -> None:
    labels = take(session, image, squares(SCORES))
    edited = edit_everything(labels)
    slide(session, image, 0.95)
    assert ids(labels) == {1, 3, 50}
    for index in (1, 3, 50):
        np.testing.assert_array_equal(labels.data == index, edited == index)
    slide(session, image, 0.05)
    assert ids(labels) == {1, 3, 5, 6, 7, 8, 9, 50}
    slide(session, image, 0.5)
    np.testing.assert_array_equal(labels.data, edited)


def test_a_new_run_keeps_what_was_edited_in_one_undo_step(
    session: Session, image: Image
) -> None:
    labels = take(session, image, squares(SCORES))
    edited = edit_everything(labels)
    # The second run finds the same objects, in another order.
    again = squares(SCORES)[::-1]
    assert take(session, image, again) is labels
    for index in (1, 3, 50):
        np.testing.assert_array_equal(labels.data == index, edited == index)
    # 4 stays deleted, 2 stays merged; of the shown ones only 5 is the network's.
    assert len(ids(labels) - {1, 3, 50}) == 1
    assert not labels.data[2:10, 38:46].any()
    labels.undo()
    np.testing.assert_array_equal(labels.data, edited)


def test_edits_survive_two_runs_and_sliders(session: Session, image: Image) -> None:
    labels = take(session, image, squares(SCORES))
    edited = edit_everything(labels)
    for _ in range(2):
        take(session, image, squares(SCORES))
        slide(session, image, 0.05, 0.3, 0.5)
    assert not labels.data[2:10, 38:46].any()
    for index in (1, 3, 50):
        np.testing.assert_array_equal(labels.data == index, edited == index)
    table = labels.features.set_index("index")
    # An object kept from the first run has its score still.
    np.testing.assert_allclose(table.loc[1, "score"], 0.9, atol=1e-6)


def test_replacing_edited_objects_on_request(session: Session, image: Image) -> None:
    labels = take(session, image, squares(SCORES))
    first = labels.data.copy()
    edit_everything(labels)
    take(session, image, squares(SCORES), keep=False)
    np.testing.assert_array_equal(labels.data, first)
    labels.undo()
    assert 50 in ids(labels)


def test_a_hidden_detection_evades_an_id_that_a_person_took(
    session: Session, image: Image
) -> None:
    labels = take(session, image, squares(SCORES))
    drawn = np.zeros(SHAPE, bool)
    drawn[36:39, 2:40] = True
    paint(labels, drawn, 6)  # the next free id, as napari offers it
    slide(session, image, 0.05)
    np.testing.assert_array_equal(labels.data == 6, drawn)
    # All nine detections are there beside it, the sixth under another id.
    assert len(ids(labels)) == 10
    assert labels.data[15, 3] not in (0, 6)


def test_undo_after_a_slider_then_sliding_again(session: Session, image: Image) -> None:
    labels = take(session, image, squares(SCORES))
    slide(session, image, 0.85)
    labels.undo()
    slide(session, image, 0.65)
    assert ids(labels) == {1, 2, 3}
    slide(session, image, 0.05)
    assert ids(labels) == set(range(1, 10))


def test_painting_while_a_slider_is_held_leaves_no_stale_pixels(
    session: Session, image: Image
) -> None:
    labels = take(session, image, squares(SCORES))
    paint(labels, labels.data == 5, 0)
    session.repaint(image, Recipe(score_threshold=0.85), keep_edited=True)
    drawn = np.zeros(SHAPE, bool)
    drawn[36:39, 2:40] = True
    paint(labels, drawn, 50)
    session.commit()
    assert ids(labels) == {1, 50}
    labels.undo()
    labels.undo()
    # The undo list was emptied: whatever comes back, nothing half.
    assert ids(labels) == {1, 50}
    slide(session, image, 0.05)
    assert ids(labels) == {1, 2, 3, 4, 6, 7, 8, 9, 50}


@pytest.fixture
def stack(viewer: Any) -> Image:
    layer: Image = viewer.add_image(np.zeros((4, *SHAPE)), scale=(3, 1, 1))
    viewer.dims.set_current_step(0, 1)
    return layer


def test_in_a_stack_ids_are_unique_and_rows_know_their_plane(
    session: Session, stack: Image, viewer: Any
) -> None:
    labels = take(session, stack, squares(SCORES))
    viewer.dims.set_current_step(0, 2)
    assert session.results.count(stack) is None
    take(session, stack, squares(SCORES))
    assert labels.data.shape == stack.data.shape
    assert not labels.data[[0, 3]].any()
    first, second = (set(np.unique(labels.data[z])) - {0} for z in (1, 2))
    assert len(first) == len(second) == 5
    assert not first & second
    table = labels.features.set_index("index")
    assert {table.loc[i, "plane"] for i in first} == {1}
    assert {table.loc[i, "plane"] for i in second} == {2}
    slide(session, stack, 0.85)
    assert len(labels.features) == 6
    assert session.results.count(stack) == 1
    viewer.dims.set_current_step(0, 1)
    assert session.results.count(stack) == 5
    slide(session, stack, 0.05)
    assert not set(np.unique(labels.data[1])) & set(np.unique(labels.data[2])) - {0}
    labels.undo()
    assert len(np.unique(labels.data[1])) == 6
    assert len(np.unique(labels.data[2])) == 2


def test_a_slider_that_rests_late_is_committed_on_its_own_plane(
    session: Session, stack: Image, viewer: Any
) -> None:
    labels = take(session, stack, squares(SCORES))
    session.repaint(stack, Recipe(score_threshold=0.85), keep_edited=True)
    viewer.dims.set_current_step(0, 3)
    assert len(np.unique(labels.data[1])) == 2
    labels.undo()
    assert len(np.unique(labels.data[1])) == 6
    assert not labels.data[3].any()


def test_a_removed_labels_layer_is_made_anew(
    session: Session, image: Image, viewer: Any
) -> None:
    first = take(session, image, squares(SCORES))
    viewer.layers.remove(first)
    assert session.results.count(image) is None
    assert not session.repaint(image, Recipe(), keep_edited=True)
    second = take(session, image, squares(SCORES))
    assert second is not first
    assert second in viewer.layers


def test_labels_of_another_shape_are_left_alone(session: Session, image: Image) -> None:
    first = take(session, image, squares(SCORES))
    first.data = np.zeros((3, 3), np.uint16)
    assert session.results.count(image) is None
    assert take(session, image, squares(SCORES)) is not first


def test_removed_layers_and_their_detections_are_let_go(
    session: Session, image: Image, viewer: Any
) -> None:
    instances = squares(SCORES)
    labels = take(session, image, instances)
    mask = weakref.ref(instances.masks[0])
    del instances
    viewer.layers.remove(image)
    gc.collect()
    assert not session.results.images()
    assert mask() is None
    assert viewer.layers[0] is labels


def test_encodings_beyond_the_budget_are_dropped_oldest_first(
    session: Session, stack: Image, viewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_maskrcnn.viewer.kept.encoding_budget", lambda: 250)
    for z in range(4):
        viewer.dims.set_current_step(0, z)
        take(session, stack, squares(SCORES), nbytes=100)
    kept = [r.encoding is not None for r in session.results.records_of(stack).values()]
    assert kept == [False, False, True, True]


def test_the_session_goes_with_its_viewer(make_napari_viewer_proxy: Any) -> None:
    from napari.components import ViewerModel

    model = ViewerModel()
    session = weakref.ref(session_of(model))
    assert session() is session_of(model)
    del model
    gc.collect()
    assert session() is None
