"""Checks of objects and the order in which a person looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.review import (
    Flag,
    check_masks,
    flag_names,
    in_order,
    judge,
    measure,
    remeasure,
)
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_maskrcnn.core.review import Measures


def squares(*corners: tuple[int, int], size: int = 8) -> NDArray[np.uint16]:
    """Draw squares, numbered from 1, on 64 x 64."""
    label_image = np.zeros((64, 64), np.uint16)
    for number, (y, x) in enumerate(corners, start=1):
        label_image[y : y + size, x : x + size] = number
    return label_image


def same(one: Measures, other: Measures) -> bool:
    names = ("ids", "areas", "parts", "boxes")
    return all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)


def soft(*probs: NDArray[np.float64], offsets: list[tuple[int, int]]) -> Instances:
    """Instances of one class with these mask probabilities."""
    count = len(probs)
    return Instances(
        image_shape=(64, 64),
        boxes=np.zeros((count, 4), np.float32),
        class_ids=np.ones(count, np.int64),
        scores=np.full(count, 0.9, np.float32),
        masks=tuple((p * 255).astype(np.uint8) for p in probs),
        offsets=np.array(offsets, np.int64),
        ids=np.arange(1, count + 1, dtype=np.int64),
        class_names=("thing",),
    )


def test_objects_are_measured() -> None:
    label_image = squares((2, 3), (20, 20))
    label_image[40:42, 50:53] = 1
    label_image[28, 28] = 2
    label_image[60:, 60:] = 900
    found = measure(label_image)
    assert found.ids.tolist() == [1, 2, 900]
    assert found.areas.tolist() == [70, 65, 16]
    assert found.parts.tolist() == [2, 1, 1], "corners connect"
    assert found.boxes[0].tolist() == [3, 2, 53, 42]
    assert found.at_border.tolist() == [False, False, True]


@pytest.mark.parametrize("shape", [(0, 0), (5, 0), (7, 9)])
def test_an_empty_plane_has_nothing_to_measure(shape: tuple[int, int]) -> None:
    found = measure(np.zeros(shape, np.int32))
    flags, certainty = judge(found, [])
    assert len(found) == len(flags) == len(certainty) == 0
    assert remeasure(found, np.zeros(shape), np.zeros(shape)) is found


FIELD = nuclei_field((64, 64), 20)[1].astype(np.uint16)


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(*[st.integers(0, 60)] * 4, st.integers(0, 25)), min_size=1, max_size=6
    )
)
def test_after_a_change_only_its_surroundings_are_measured(
    strokes: list[tuple[int, int, int, int, int]],
) -> None:
    image = FIELD.copy()
    found = measure(image)
    for y, x, height, width, value in strokes:
        before = image.copy()
        image[y : y + height, x : x + width] = value
        found = remeasure(found, before, image)
        assert same(found, measure(image))


def test_the_shape_must_stay() -> None:
    image = squares((2, 3))
    with pytest.raises(ValueError, match=r"\(64, 64\) and is \(3, 3\)"):
        remeasure(measure(image), image, np.zeros((3, 3), np.uint16))


def test_masks_agree_where_the_outline_is_sharp() -> None:
    sharp = np.ones((10, 10))
    ramp = np.tile(np.linspace(0, 1, 100), (4, 1))
    found = check_masks(soft(sharp, ramp, offsets=[(0, 0), (20, 0)]))
    assert found.agreement[0] == 1
    assert found.agreement[1] == pytest.approx(0.35 / 0.65, abs=0.03)
    assert found.overlap.tolist() == [0, 0]


def test_overlap_is_the_share_that_others_claim() -> None:
    mask = np.ones((10, 10))
    faint = np.full((10, 10), 0.4)
    instances = soft(mask, mask, faint, offsets=[(5, 5), (5, 13), (5, 5)])
    found = check_masks(instances)
    np.testing.assert_allclose(found.overlap, [0.2, 0.2, 0])


def test_no_masks_no_doubts() -> None:
    boxes_only = soft(np.ones((2, 2)), offsets=[(0, 0)])[:0]
    assert len(check_masks(boxes_only).agreement) == 0


def test_flags() -> None:
    label_image = squares((0, 3), (20, 20), (30, 30), (40, 40), (50, 5), (10, 40))
    label_image[label_image == 3] = 0
    label_image[30, 30] = 3
    label_image[60, 60] = 4
    found = measure(label_image)
    ramp = np.tile(np.linspace(0, 1, 100), (4, 1))
    mask = np.ones((8, 8))
    checks = check_masks(soft(mask, ramp, offsets=[(0, 3), (20, 0)]))
    flags, _ = judge(found, np.full(len(found), 0.9), checks)
    assert [Flag(int(f)) for f in flags] == [
        Flag.BORDER,
        Flag.OUTLINE,
        Flag.TINY,
        Flag.PARTS,
        Flag(0),
        Flag(0),
    ]
    names = ("border", "tiny", "parts", "outline", "overlap")
    assert flag_names(int(Flag.PARTS | Flag.BORDER), names) == ["border", "parts"]


def test_what_the_border_cuts_off_is_not_tiny() -> None:
    label_image = squares((20, 20), (30, 30), (40, 40), (50, 5))
    label_image[0, 0] = 9
    flags, _ = judge(measure(label_image), np.full(5, np.nan))
    assert Flag(int(flags[4])) == Flag.BORDER


def test_the_order_is_least_certain_first_and_hand_made_last() -> None:
    label_image = squares((5, 5), (20, 20), (30, 40), (40, 20), (50, 50), (10, 40))
    label_image[1, 1] = 2
    label_image[2, 60] = 4
    scores = [0.95, 0.95, 0.5, np.nan, np.nan, np.nan]
    found = measure(label_image)
    flags, certainty = judge(found, scores)
    assert flags[1] == flags[3] == Flag.PARTS
    order = found.ids[in_order(found.ids, certainty)]
    assert order.tolist() == [3, 4, 2, 1, 5, 6]
    assert certainty[4] == certainty[5] == 1


def test_an_unsure_outline_lowers_the_certainty() -> None:
    found = measure(squares((5, 5), (20, 20)))
    ramp = np.tile(np.linspace(0, 1, 100), (4, 1))
    checks = check_masks(soft(np.ones((8, 8)), ramp, offsets=[(5, 5), (20, 0)]))
    _, certainty = judge(found, [0.9, 0.9], checks)
    assert certainty[1] < 0.6 < certainty[0]
