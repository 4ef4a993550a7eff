"""Instances: out of a label image and back, filtering, painting."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torchvision.ops import batched_nms

from napari_maskrcnn.core.instances import FULL, Instances, empty_instances

if TYPE_CHECKING:
    from numpy.typing import NDArray

INTEGERS = (np.uint8, np.uint16, np.uint32, np.uint64, np.int8, np.int16, np.int32,
            np.int64, ">u2", ">i4")  # fmt: skip
MAGNITUDES = (255, 300, 65_535, 65_536, 2**24 + 1, 2**31 - 1, 2**31, 2**40, 2**63 - 1)


@st.composite
def label_images(draw: st.DrawFn) -> NDArray[Any]:
    """Any partition: objects in parts, with holes, gaps in the ids, up to the border.

    Values are few, so that neighbours often share one and objects get a shape.
    """
    dtype = np.dtype(draw(st.sampled_from(INTEGERS)))
    highest = min(int(np.iinfo(dtype).max), 2**63 - 1)
    value = (st.integers(1, 9) | st.sampled_from(MAGNITUDES)).map(
        lambda value: min(value, highest)
    )
    values = draw(st.lists(value, min_size=1, max_size=5))
    shape = draw(arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
    return draw(arrays.arrays(dtype, shape, elements=st.sampled_from([0, 0, *values])))


def squares(
    scores: list[float], *, step: int = 12, class_ids: list[int] | None = None
) -> Instances:
    """Exact squares of 8 x 8, ``step`` pixels apart: they overlap below 8."""
    count = len(scores)
    left = step * np.arange(count)
    boxes = np.stack([left, 0 * left, left + 8, 0 * left + 8], axis=1)
    return Instances(
        image_shape=(8, step * count + 8),
        boxes=boxes.astype(np.float32),
        class_ids=np.array(class_ids or [1] * count, np.int64),
        scores=np.array(scores, np.float32),
        masks=(np.full((8, 8), FULL, np.uint8),) * count,
        offsets=np.stack([0 * left, left], axis=1).astype(np.int64),
        ids=np.arange(1, count + 1, dtype=np.int64),
        class_names=("disc", "ring"),
    )


# ------------------------------------------------------------------ label images


@given(label_images())
def test_any_label_image_comes_back(label_image: NDArray[Any]) -> None:
    instances = Instances.from_label_image(label_image)
    back = instances.to_label_image()
    np.testing.assert_array_equal(back, label_image)
    assert back.shape == label_image.shape
    values, counts = np.unique(label_image[label_image > 0], return_counts=True)
    np.testing.assert_array_equal(instances.ids, values)
    np.testing.assert_array_equal(instances.areas, counts)


@given(label_images())
@example(np.array([[2**63 - 1]], np.uint64))
def test_boxes_are_tight_pixel_edges(label_image: NDArray[Any]) -> None:
    instances = Instances.from_label_image(label_image)
    for value, box in zip(instances.ids, instances.boxes, strict=True):
        ys, xs = np.nonzero(label_image == value)
        expected = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        np.testing.assert_array_equal(box, expected)


def test_the_label_image_is_as_small_as_its_ids_allow() -> None:
    for highest, dtype in ((65_535, np.uint16), (65_536, np.int32), (2**31, np.int64)):
        labels = np.array([[0, highest]], np.int64)
        assert Instances.from_label_image(labels).to_label_image().dtype == dtype
    wanted = Instances.from_label_image([[0, 3]]).to_label_image(np.uint8)
    assert wanted.dtype == np.uint8
    with pytest.raises(ValueError, match="300 does not fit into uint8"):
        Instances.from_label_image([[300]]).to_label_image(np.uint8)


def test_a_hole_stays_open_and_parts_stay_together() -> None:
    label_image = np.zeros((9, 12), np.uint16)
    label_image[1:6, 1:6] = 7
    label_image[3, 3] = 0
    label_image[8, 11] = 7
    instances = Instances.from_label_image(label_image)
    assert len(instances) == 1
    assert instances.areas == [25]
    np.testing.assert_array_equal(instances.to_label_image(), label_image)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (4, 4)])
def test_nothing_gives_no_instances(shape: tuple[int, int]) -> None:
    instances = Instances.from_label_image(np.zeros(shape, np.uint16))
    assert len(instances) == 0
    assert instances.to_label_image().shape == shape
    assert instances.features()["index"].size == 0
    assert len(instances.filter(nms_threshold=0.3, min_area=5)) == 0


def test_a_mask_is_the_object_one() -> None:
    instances = Instances.from_label_image(np.eye(3, dtype=bool))
    assert instances.ids.tolist() == [1]
    assert instances.areas.tolist() == [3]


@pytest.mark.parametrize(
    ("label_image", "message"),
    [
        (np.zeros((2, 2), np.float32), "integers, got dtype float32"),
        (np.zeros((2, 2, 2), np.uint8), r"two axes, got shape \(2, 2, 2\)"),
        (np.array([[0, -3]]), "not be negative, got -3"),
        (np.array([[0, 2**64 - 1]], np.uint64), "18446744073709551615"),
    ],
)
def test_other_arrays_are_refused(label_image: NDArray[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Instances.from_label_image(label_image)


def test_what_is_given_goes_in_the_order_of_the_labels() -> None:
    instances = Instances.from_label_image(
        [[5, 0, 2]], class_ids=[2, 1], scores=[0.25, 0.75], class_names=("disc", "ring")
    )
    assert instances.ids.tolist() == [2, 5]
    features = instances.features()
    assert features["index"].tolist() == [2, 5]
    assert features["class"].tolist() == ["ring", "disc"]
    assert features["score"].tolist() == [0.25, 0.75]
    assert features["area"].tolist() == [1, 1]
    with pytest.raises(ValueError, match="scores has 1 entries for 2 ids"):
        Instances.from_label_image([[5, 0, 2]], scores=[0.5])


# ------------------------------------------------------------------ filtering


@given(st.lists(st.floats(0, 1, width=32), max_size=12), st.floats(0, 1, width=32))
def test_scores_from_the_threshold_on_stay(
    scores: list[float], threshold: float
) -> None:
    instances = squares(scores)
    kept = instances.filter(score_threshold=threshold)
    expected = [i for i, score in enumerate(scores, start=1) if score >= threshold]
    assert kept.ids.tolist() == expected


@given(st.integers(0, FULL), st.integers(0, 2 * FULL))
def test_the_mask_threshold_is_kept_exactly(stored: int, half: int) -> None:
    """Thresholds whose 255-fold lies half-way between two integers, or on one."""
    threshold = half / (2 * FULL)
    instances = replace(squares([0.9]), masks=(np.full((8, 8), stored, np.uint8),))
    inside = instances.filter(mask_threshold=threshold).mask(0)
    assert inside.all() == (2 * stored >= half)
    assert inside.all() == inside.any()


@given(
    st.lists(
        st.tuples(
            st.floats(0, 50, width=32), st.floats(0, 50, width=32),
            st.floats(1, 40, width=32), st.floats(1, 40, width=32),
            st.floats(0, 1, width=32), st.integers(1, 2),
        ),
        max_size=15,
    ),
    st.floats(0, 0.99),
)  # fmt: skip
def test_suppression_is_torchvisions(
    objects: list[tuple[float, ...]], threshold: float
) -> None:
    instances = squares([o[4] for o in objects], class_ids=[int(o[5]) for o in objects])
    table = np.array(objects, np.float32).reshape(-1, 6)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    instances = replace(instances, boxes=boxes)
    kept = instances.filter(nms_threshold=threshold)
    expected = batched_nms(
        torch.from_numpy(boxes),
        torch.from_numpy(instances.scores),
        torch.from_numpy(instances.class_ids),
        threshold,
    )
    assert kept.ids.tolist() == sorted((expected + 1).tolist())


def test_of_two_that_overlap_the_higher_score_stays() -> None:
    # Boxes of 8 x 8 at a distance of 2: their IoU is 6 / 10.
    instances = squares([0.6, 0.9], step=2)
    assert instances.filter(nms_threshold=0.5).ids.tolist() == [2]
    assert instances.filter(nms_threshold=0.7).ids.tolist() == [1, 2]
    other = squares([0.6, 0.9], step=2, class_ids=[1, 2])
    assert other.filter(nms_threshold=0.5).ids.tolist() == [1, 2]


def test_areas_are_counted_at_the_new_mask_threshold() -> None:
    soft = np.full((8, 8), FULL, np.uint8)
    soft[4:] = 60
    instances = replace(squares([0.9]), masks=(soft,))
    assert instances.areas == [32]
    assert len(instances.filter(min_area=33)) == 0
    assert len(instances.filter(min_area=33, mask_threshold=0.2)) == 1
    assert instances.filter(mask_threshold=0.2).areas == [64]


def test_classes_can_be_chosen() -> None:
    instances = squares([0.5, 0.6, 0.7], class_ids=[1, 2, 1])
    assert instances.filter(class_ids=[1]).ids.tolist() == [1, 3]
    assert instances.filter(class_ids=[]).ids.tolist() == []
    assert instances.filter().ids.tolist() == [1, 2, 3]


def test_the_score_counts_before_the_overlap() -> None:
    """What the score threshold removes does not suppress what lies behind it."""
    instances = squares([0.6, 0.9], step=1, class_ids=[1, 1])
    assert len(instances.filter(nms_threshold=0.3)) == 1
    low = replace(instances, class_ids=np.array([1, 2]))
    assert low.filter(nms_threshold=0.3, class_ids=[1]).ids.tolist() == [1]


@pytest.mark.parametrize(
    "arguments",
    [
        {"score_threshold": 1.3},
        {"mask_threshold": -0.1},
        {"nms_threshold": float("nan")},
        {"min_area": -1},
    ],
)
def test_a_bad_threshold_is_named(arguments: dict[str, float]) -> None:
    (name,) = arguments
    with pytest.raises(ValueError, match=name):
        squares([0.5]).filter(**arguments)  # type: ignore[arg-type]


# ------------------------------------------------------------------ painting


@given(st.permutations([0.2, 0.4, 0.6, 0.8]), st.integers(1, 7))
def test_the_higher_score_has_the_shared_pixel(scores: list[float], step: int) -> None:
    instances = squares(scores, step=step)
    label_image = instances.to_label_image()
    for x in range(label_image.shape[1]):
        here = [
            i for i in range(4) if step * i <= x < step * i + 8
        ]  # squares over this column
        best = max(here, key=lambda i: scores[i]) + 1 if here else 0
        assert (label_image[:, x] == best).all()


def test_ids_stay_while_others_are_filtered_out() -> None:
    instances = squares([0.9, 0.3, 0.7])
    label_image = instances.filter(score_threshold=0.5).to_label_image()
    assert np.unique(label_image).tolist() == [0, 1, 3]
    whole = instances.to_label_image()
    np.testing.assert_array_equal(label_image, np.where(whole == 2, 0, whole))


# ------------------------------------------------------------------ selection


@pytest.mark.parametrize(
    ("index", "ids"),
    [
        (slice(1, None), [2, 3]),
        (slice(None, None, -1), [3, 2, 1]),
        (np.array([True, False, True]), [1, 3]),
        ([2, 0], [3, 1]),
        (1, [2]),
        (-1, [3]),
        ([], []),
        (np.zeros(3, bool), []),
    ],
)
def test_selecting(index: Any, ids: list[int]) -> None:
    instances = squares([0.5, 0.6, 0.7], class_ids=[1, 2, 1])
    selected = instances[index]
    assert selected.ids.tolist() == ids
    positions = [i - 1 for i in ids]
    np.testing.assert_array_equal(selected.boxes, instances.boxes[positions])
    np.testing.assert_array_equal(selected.offsets, instances.offsets[positions])
    np.testing.assert_array_equal(selected.scores, instances.scores[positions])
    assert selected.names == [instances.names[i] for i in positions]
    assert len(selected.masks) == len(ids)


def test_selecting_beyond_the_end_is_an_error() -> None:
    with pytest.raises(IndexError):
        squares([0.5])[3]


def test_empty_instances_have_all_fields() -> None:
    nothing = empty_instances((4, 6), ("disc",))
    assert nothing.to_label_image().shape == (4, 6)
    assert nothing[:0].boxes.shape == (0, 4)
    assert nothing.areas.dtype == np.int64
