"""Edits of objects in a label image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import editing, splitting

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.draw import disk

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_maskrcnn.core.edit import Edit

SHAPE = (24, 30)
FREE = 50
quickly = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck)
)


def done(label_image: NDArray[Any], edit: Edit) -> NDArray[Any]:
    """Return the label image with the edit in it; check what holds for every edit."""
    y, x = edit.offset
    window = (
        slice(y, y + edit.before.shape[0]),
        slice(x, x + edit.before.shape[1]),
    )
    np.testing.assert_array_equal(label_image[window], edit.before)
    after = label_image.copy()
    after[window] = edit.after
    assert edit.after.dtype == edit.before.dtype == label_image.dtype
    old, new = ids(label_image), ids(after)
    assert edit.vanished == old - new
    assert edit.appeared == new - old
    moved = {i for i in old & new if np.any((after == i) != (label_image == i))}
    assert moved <= edit.changed <= old & new
    for index in old | new:
        gain = np.count_nonzero(after == index) - np.count_nonzero(label_image == index)
        assert edit.gained.get(index, 0) == gain
    for origins in edit.origins.values():
        assert set(origins) <= old
    return after


def tried(words: str, act: Callable[[], Any]) -> Any:
    """Return what the act returns, None where it is refused in these words."""
    try:
        return act()
    except ValueError as error:
        if words not in str(error):
            raise
        return None


def ids(label_image: NDArray[Any]) -> set[int]:
    return set(np.unique(label_image).tolist()) - {0}


def parts(mask: NDArray[np.bool_]) -> int:
    return int(ndimage.label(mask, np.ones((3, 3)))[1])


@st.composite
def label_images(draw: Any) -> NDArray[np.uint16]:
    """Boxes over one another, with holes: objects of any shape, some in parts."""
    image = np.zeros(SHAPE, np.uint16)
    for index in range(1, draw(st.integers(1, 6)) + 1):
        y = draw(st.integers(0, SHAPE[0] - 2))
        x = draw(st.integers(0, SHAPE[1] - 2))
        h, w = draw(st.integers(1, 14)), draw(st.integers(1, 14))
        image[y : y + h, x : x + w] = index
        if draw(st.booleans()):
            image[y + 1 : y + h - 1, x + 1 : x + w - 1] = 0
    return image


@st.composite
def with_chosen(draw: Any) -> tuple[NDArray[np.uint16], list[int]]:
    image = draw(label_images())
    present = sorted(ids(image))
    if not present:
        image[0, 0] = 1
        present = [1]
    chosen = draw(st.lists(st.sampled_from(present), min_size=1, unique=True))
    return image, chosen


def two_discs(gap: int = 0) -> NDArray[np.uint16]:
    """Return object 3: two discs that overlap; and object 5 beside it."""
    image = np.zeros((40, 60), np.uint16)
    image[disk((20, 15), 10)] = 3
    image[disk((20, 31 + gap), 10)] = 3
    image[disk((20, 52), 5)] = 5
    return image


@quickly
@given(with_chosen())
def test_growing_goes_over_background_only(case: Any) -> None:
    image, chosen = case
    after = tried("cannot grow", lambda: done(image, editing.grow(image, chosen)))
    if after is None:
        return
    moved = after != image
    assert not image[moved].any()
    assert set(after[moved]) <= set(chosen)
    ring = ndimage.binary_dilation(np.isin(image, chosen))
    assert np.all(moved == (ring & (image == 0)))


@quickly
@given(with_chosen())
def test_shrinking_takes_the_rim_and_never_an_object(case: Any) -> None:
    image, chosen = case
    after = tried("cannot shrink", lambda: done(image, editing.shrink(image, chosen)))
    if after is None:
        return
    assert not after[after != image].any()
    assert ids(after) == ids(image)
    for index in chosen:
        left = ndimage.binary_erosion(image == index, border_value=1)
        if left.any():
            np.testing.assert_array_equal(after == index, left)


@quickly
@given(with_chosen())
def test_filled_objects_have_only_others_in_their_holes(case: Any) -> None:
    image, chosen = case
    after = tried("no holes", lambda: done(image, editing.fill_holes(image, chosen)))
    if after is None:
        after = image
    for index in chosen:
        hole = ndimage.binary_fill_holes(after == index) & (after != index)
        assert np.all(after[hole] > 0)
    assert not image[after != image].any()


@quickly
@given(with_chosen())
def test_the_largest_part_is_left(case: Any) -> None:
    image, chosen = case
    after = tried("one part", lambda: done(image, editing.keep_largest(image, chosen)))
    if after is None:
        after = image
    for index in chosen:
        labelled, _ = ndimage.label(image == index, np.ones((3, 3)))
        largest = np.bincount(labelled[labelled > 0]).max()
        assert np.count_nonzero(after == index) == largest
        assert parts(after == index) == 1


@quickly
@given(with_chosen())
def test_smoothing_spares_others(case: Any) -> None:
    image, chosen = case
    after = tried("smooth already", lambda: done(image, editing.smooth(image, chosen)))
    if after is None:
        return
    others = ~np.isin(image, chosen) & (image > 0)
    np.testing.assert_array_equal(after[others], image[others])
    assert ids(after) == ids(image)


@quickly
@given(with_chosen())
def test_merging_and_deleting(case: Any) -> None:
    image, chosen = case
    after = done(image, editing.delete(image, chosen))
    np.testing.assert_array_equal(after, np.where(np.isin(image, chosen), 0, image))
    if len(chosen) < 2:
        with pytest.raises(ValueError, match="two objects or more"):
            editing.merge(image, chosen)
        return
    edit = editing.merge(image, chosen)
    after = done(image, edit)
    np.testing.assert_array_equal(
        after, np.where(np.isin(image, chosen), chosen[0], image)
    )
    assert edit.origins == {chosen[0]: tuple(chosen)}


@quickly
@given(with_chosen(), st.integers(2, 5))
def test_splitting_into_parts_keeps_every_pixel(case: Any, count: int) -> None:
    image, chosen = case
    index = chosen[0]
    edit = tried("too small", lambda: splitting.split_into(image, index, count, FREE))
    if edit is None:
        return
    after = done(image, edit)
    new = {index, *range(FREE, FREE + count - 1)}
    np.testing.assert_array_equal(np.isin(after, list(new)), image == index)
    assert ids(after) == ids(image) | new
    areas = [np.count_nonzero(after == i) for i in new]
    assert np.count_nonzero(after == index) == max(areas)
    assert all(edit.origins[i] == (index,) for i in new)


@quickly
@given(
    with_chosen(),
    st.lists(st.tuples(st.floats(-5, 30), st.floats(-5, 35)), min_size=2, max_size=4),
)
def test_splitting_by_a_line_keeps_every_pixel(case: Any, line: Any) -> None:
    image, chosen = case
    edit = tried(
        "splits nothing", lambda: splitting.split_by_line(image, line, FREE, chosen[0])
    )
    if edit is None:
        return
    after = done(image, edit)
    new = edit.appeared | {chosen[0]}
    assert len(new) > 1
    np.testing.assert_array_equal(np.isin(after, list(new)), image == chosen[0])


@quickly
@given(
    label_images(),
    st.lists(st.tuples(st.floats(-5, 30), st.floats(-5, 35)), min_size=3, max_size=6),
    st.booleans(),
)
def test_drawing(image: Any, outline: Any, over: bool) -> None:
    edit = tried(
        "outline encloses", lambda: editing.draw(image, outline, FREE, over_others=over)
    )
    if edit is None:
        return
    after = done(image, edit)
    assert edit.origins[FREE] == ()
    if not over:
        np.testing.assert_array_equal(after[image > 0], image[image > 0])


def test_a_line_across_the_waist() -> None:
    image = two_discs()
    edit = splitting.split_by_line(image, [(5, 23), (35, 23)], FREE)
    after = done(image, edit)
    assert ids(after) == {3, 5, FREE}
    assert parts(after == 3) == parts(after == FREE) == 1
    # The pixels under the line go to either side.
    assert np.count_nonzero(np.isin(after, [3, FREE])) == np.count_nonzero(image == 3)
    assert after[20, 15] != after[20, 31]


def test_a_slanting_line_leaves_no_bridge_at_corners() -> None:
    image = np.full((20, 20), 7, np.uint16)
    after = done(image, splitting.split_by_line(image, [(0, 0), (19, 19)], FREE))
    assert after[2, 17] != after[17, 2]
    assert parts(after == 7) == parts(after == FREE) == 1


def test_a_line_cuts_the_object_that_most_of_it_is_on() -> None:
    image = two_discs()
    edit = splitting.split_by_line(image, [(20, 2), (20, 48)], FREE)
    assert edit.changed == {3}
    with pytest.raises(ValueError, match="does not cross object 5"):
        splitting.split_by_line(image, [(20, 2), (20, 48)], FREE, 5)


def test_pieces_beside_the_line_stay() -> None:
    image = two_discs(gap=12)  # two pieces of one object
    edit = splitting.split_by_line(image, [(5, 15), (35, 15)], FREE)
    after = done(image, edit)
    assert edit.appeared == {FREE}
    assert np.all(after[(image == 3) & (np.arange(60) > 27)] == 3)


def test_a_waist_is_found() -> None:
    image = two_discs()
    after = done(image, splitting.split_into(image, 3, 2, FREE))
    columns = np.argwhere(after[20] == FREE), np.argwhere(after[20] == 3)
    border = min(columns, key=lambda c: c.min())[1:].max()
    assert 21 <= border <= 25


def test_a_disc_is_divided_evenly() -> None:
    image = np.zeros((40, 40), np.uint16)
    image[disk((20, 20), 12)] = 2
    for count in (2, 3, 4):
        after = done(image, splitting.split_into(image, 2, count, FREE))
        areas = np.bincount(after.reshape(-1))[[2, *range(FREE, FREE + count - 1)]]
        assert areas.min() > 0.5 * areas.max()


def test_an_object_that_another_covers_is_known_to_be_gone() -> None:
    image = two_discs()
    box = [(10, 42), (10, 59), (30, 59), (30, 42)]
    edit = editing.draw(image, box, FREE, over_others=True)
    assert edit.vanished == {5}
    done(image, edit)
    edit = editing.draw(image, np.subtract(box, (0, 4)), FREE, over_others=True)
    assert edit.vanished == frozenset()
    done(image, edit)


REFUSED: list[tuple[Callable[[Any], Edit], str]] = [
    (lambda image: editing.delete(image, []), "no object is chosen"),
    (lambda image: editing.delete(image, [9]), "object 9 is not in this plane"),
    (lambda image: editing.delete(image, [3, 9]), "object 9 is not in this plane"),
    (lambda image: editing.delete(image, [0]), "ids begin at 1"),
    (lambda image: editing.merge(image, [3, 3]), "two objects or more"),
    (lambda image: splitting.split_into(image, 3, 1, FREE), "two parts or more"),
    (lambda image: splitting.split_into(image, 5, 40, FREE), "too small for 40 parts"),
    (lambda image: splitting.split_into(image, 3, 2, 70_000), "does not fit"),
    (lambda image: splitting.split_by_line(image, [(1, 1), (2, 2)], 9), "no object"),
    (lambda image: splitting.split_by_line(image, [(20, 15)], 9), "two points"),
    (
        lambda image: splitting.split_by_line(image, [(20, 15), (20, 18)], 9),
        "a line that does not cross object 3 splits nothing",
    ),
    (lambda image: editing.draw(image, [(1, 1), (2, 2)], 9), "three points"),
    (lambda image: editing.draw(image, np.full((3, 2), 99), 9), "no pixel"),
    (
        lambda image: editing.draw(image, [(18, 15), (22, 15), (20, 19)], 9),
        "other objects only",
    ),
    (lambda image: editing.fill_holes(image, [3]), "object 3 has no holes"),
    (lambda image: editing.keep_largest(image, [3]), "in one part already"),
    (lambda image: editing.shrink(np.eye(3, dtype=int), [1]), "nothing would be left"),
    (lambda image: editing.grow(np.ones((3, 3), int), [1]), "cannot grow"),
]


@pytest.mark.parametrize(("act", "words"), REFUSED)
def test_what_cannot_be_done_is_said(act: Any, words: str) -> None:
    image = two_discs()
    before = image.copy()
    with pytest.raises(ValueError, match=words):
        act(image)
    np.testing.assert_array_equal(image, before)
