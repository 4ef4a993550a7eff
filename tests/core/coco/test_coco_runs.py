"""Runs and RLE: byte for byte what pycocotools writes, and back."""

from __future__ import annotations

import numpy as np
import pytest
from coco_examples import full_mask, label_images, overlapping
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_maskrcnn.core.coco import rle
from napari_maskrcnn.core.coco.extract import from_label_image, from_masks
from napari_maskrcnn.core.coco.runs import Runs, gathered

mask_utils = pytest.importorskip("pycocotools.mask")


def reference(mask: np.ndarray) -> str:
    return mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))[
        "counts"
    ].decode()


@given(label_images)
@settings(max_examples=300)
def test_strings_are_those_of_pycocotools(label_image: np.ndarray) -> None:
    ids, runs = from_label_image(label_image)
    assert ids.tolist() == sorted(set(label_image.ravel().tolist()) - {0})
    strings = rle.encode(runs)
    assert strings == [reference(label_image == i) for i in ids]
    decoded, faults = rle.decode(strings, runs.image_shape)
    assert not faults
    assert np.array_equal(decoded.to_label_image(ids, np.int32), label_image)


@given(label_images)
def test_areas_boxes_and_crops(label_image: np.ndarray) -> None:
    ids, runs = from_label_image(label_image)
    for i, area, box, crop in zip(
        ids, runs.areas(), runs.boxes(), runs.crops(), strict=True
    ):
        y, x = np.nonzero(label_image == i)
        assert area == len(y)
        assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        window = label_image[box[1] : box[3], box[0] : box[2]]
        assert np.array_equal(crop, np.where(window == i, 255, 0))


@given(arrays(bool, st.tuples(st.integers(0, 5), st.just(6), st.just(7))))
@settings(max_examples=200)
def test_masks_that_overlap(masks: np.ndarray) -> None:
    runs = from_masks(list(masks), np.zeros((len(masks), 2), int), (6, 7))
    assert rle.encode(runs) == [reference(mask) for mask in masks]
    assert runs.overlap() == (masks.sum(axis=0) > 1).sum()
    painted = np.zeros((6, 7), int)
    for value, mask in enumerate(masks, start=5):
        painted[mask] = value
    assert np.array_equal(
        runs.to_label_image(np.arange(len(masks)) + 5, np.uint8), painted
    )
    turned = runs[np.arange(len(masks))[::-1]]
    assert rle.encode(turned) == [reference(mask) for mask in masks[::-1]]
    parts = [(np.array([i]), runs[[i]]) for i in range(len(masks))[::-1]]
    joined = gathered((6, 7), len(masks), parts)
    assert rle.encode(joined) == rle.encode(runs)


def test_masks_of_instances() -> None:
    instances = overlapping()
    masks = [instances.mask(i) for i in range(len(instances))]
    runs = from_masks(masks, instances.offsets, instances.image_shape)
    assert rle.encode(runs) == [
        reference(full_mask(instances, i)) for i in range(len(instances))
    ]


def test_label_images_of_any_integer_dtype_and_order() -> None:
    label_image = np.arange(30).reshape(5, 6) % 4
    expected = rle.encode(from_label_image(label_image)[1])
    for dtype in ("u1", "i2", ">u2", "i4", "u4", "i8", "u8"):
        for image in (label_image.astype(dtype), label_image.astype(dtype, order="F")):
            assert rle.encode(from_label_image(image)[1]) == expected
    assert len(from_label_image(np.zeros((0, 4), int))[0]) == 0


def test_bad_label_images() -> None:
    with pytest.raises(TypeError, match="float64"):
        from_label_image(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="-2"):
        from_label_image(np.full((3, 3), -2))
    with pytest.raises(ValueError, match=r"\(3, 3, 3\)"):
        from_label_image(np.zeros((3, 3, 3), int))


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ("", "cover 0 pixels of 12"),
        ("4", "cover 4 pixels"),
        ("<", "cover 12 pixels"),
        ("é", "not RLE"),
        ("!!", "no compressed RLE"),
        ("P", "no compressed RLE"),
        ("PPPPPPPPPP0", "no compressed RLE"),
        ("N>", "negative run"),
    ],
)
def test_bad_strings_are_named_and_do_not_harm_the_others(
    counts: str, words: str
) -> None:
    good = reference(np.eye(3, 4))
    runs, faults = rle.decode([good, counts, good], (3, 4))
    if words == "cover 12 pixels":  # one run of the whole frame, which is background
        assert not faults
    else:
        assert list(faults) == [1]
        assert words in faults[1]
    assert runs.areas().tolist() == [3, 0, 3]


@given(
    st.lists(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=9))
)
def test_any_strings(strings: list[str]) -> None:
    runs, faults = rle.decode(strings, (5, 5))
    for number, text in enumerate(strings):
        if number not in faults:
            expected = mask_utils.decode({"size": [5, 5], "counts": text.encode()})
            assert runs.areas()[number] == expected.sum()


def test_zero_counts_join_runs() -> None:
    counts = np.array([2, 3, 0, 2, 5])
    runs, _ = rle.from_counts(counts, np.array([5]), (3, 4))
    assert (runs.starts.tolist(), runs.stops.tolist()) == ([2], [7])


def test_frames_too_large_for_coco() -> None:
    none = np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="70000 x 70000"):
        rle.encode(Runs((70_000, 70_000), 0, none, none, none))
    # The largest frame works; here with its last pixel set.
    last = np.array([65_535 * 65_535 - 1])
    runs = Runs((65_535, 65_535), 1, np.zeros(1, np.int64), last, last + 1)
    (text,) = rle.encode(runs)
    back, faults = rle.decode([text], (65_535, 65_535))
    assert not faults
    assert back.starts.tolist() == last.tolist()
    assert mask_utils.area({"size": [65_535, 65_535], "counts": text}) == 1
