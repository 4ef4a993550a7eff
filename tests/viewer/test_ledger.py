"""What a person changed is told from what was painted, by the pixels alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_maskrcnn.viewer.ledger import Edits, Ledger, fingerprints

Pixels = NDArray[np.uint16]


def grid(ids: int = 9) -> Pixels:
    """Return ids 1 to `ids` as squares of 4 x 4 in a row."""
    image = np.zeros((8, 6 * ids), np.uint16)
    for index in range(ids):
        image[2:6, 6 * index + 1 : 6 * index + 5] = index + 1
    return image


@pytest.fixture
def painted() -> tuple[Ledger, Pixels]:
    ledger, image = Ledger(), grid()
    ledger.note(image, Edits())
    return ledger, image.copy()


def test_nothing_is_edited_at_first(painted: tuple[Ledger, Pixels]) -> None:
    ledger, image = painted
    assert ledger.edits(image) == Edits()
    assert not ledger.edits(image)


def test_before_anything_was_painted_all_is_hand_made() -> None:
    assert Ledger().edits(grid(2)).changed == {1, 2}


def test_one_pixel_more_or_less_is_an_edit(painted: tuple[Ledger, Pixels]) -> None:
    ledger, image = painted
    image[0, 0] = 1
    image[2, 7] = 0
    assert ledger.edits(image) == Edits(frozenset({1, 2}))


def test_merging_drawing_and_deleting(painted: tuple[Ledger, Pixels]) -> None:
    ledger, image = painted
    image[image == 2] = 1
    image[image == 5] = 0
    image[0, 40] = 77
    assert ledger.edits(image) == Edits(frozenset({1, 77}), frozenset({2, 5}))


def test_moved_pixels_of_equal_number_are_an_edit(
    painted: tuple[Ledger, Pixels],
) -> None:
    ledger, image = painted
    np.copyto(image, np.roll(image, 1, axis=0))
    assert ledger.edits(image).changed == set(range(1, 10))


def test_taking_an_edit_back_makes_the_object_ours_again(
    painted: tuple[Ledger, Pixels],
) -> None:
    ledger, image = painted
    image[0, 0] = 1
    assert ledger.edits(image)
    image[0, 0] = 0
    assert not ledger.edits(image)


def test_undo_of_a_slider_is_no_edit(painted: tuple[Ledger, Pixels]) -> None:
    ledger, image = painted
    fewer = np.where(image > 5, 0, image)
    ledger.note(fewer, Edits())
    assert not ledger.edits(fewer)
    assert not ledger.edits(image)


def test_a_deletion_after_a_slider_is_seen(painted: tuple[Ledger, Pixels]) -> None:
    ledger, image = painted
    ledger.note(np.where(image == 9, 0, image), Edits())
    ledger.note(image, Edits())
    # The picture without 9 was painted once; a stroke says that this is no undo.
    ledger.touched = True
    assert ledger.edits(np.where(image == 9, 0, image)).removed == {9}


def test_an_object_stays_deleted(painted: tuple[Ledger, Pixels]) -> None:
    ledger, image = painted
    image[image == 3] = 0
    edits = ledger.edits(image)
    ledger.note(image, edits)
    image[image == 4] = 0
    assert ledger.edits(image).removed == {3, 4}
    ledger.note(np.where(image > 6, 0, image), ledger.edits(image))
    assert ledger.edits(np.where(image > 6, 0, image)).removed == {3, 4}


def test_ids_of_an_earlier_run_are_not_removed(painted: tuple[Ledger, Pixels]) -> None:
    ledger, image = painted
    ledger.new_run()
    assert ledger.edits(np.where(image == 3, 0, image)) == Edits()


def test_large_ids_take_no_large_table() -> None:
    image = np.zeros((3, 3), np.int64)
    image[0, 0], image[1, 1] = 2**40, 5
    assert set(fingerprints(image)) == {5, 2**40}


@given(
    st.lists(st.integers(0, 3), min_size=36, max_size=36),
    st.integers(0, 35),
    st.integers(0, 3),
)
def test_fingerprints_change_exactly_with_the_objects(
    values: list[int], where: int, value: int
) -> None:
    image = np.array(values, np.uint16).reshape(6, 6)
    other = image.copy()
    other.reshape(-1)[where] = value
    first, second = fingerprints(image), fingerprints(other)
    for index in (1, 2, 3):
        same = np.array_equal(image == index, other == index)
        assert (first.get(index) == second.get(index)) == same
