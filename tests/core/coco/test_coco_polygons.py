"""Polygons along pixel edges, against pycocotools' rasteriser."""

from __future__ import annotations

import numpy as np
import pytest
from coco_examples import label_images
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_maskrcnn.core.coco import polygons, rle
from napari_maskrcnn.core.coco.extract import from_label_image

mask_utils = pytest.importorskip("pycocotools.mask")
ANY_NEIGHBOUR = np.ones((3, 3), dtype=bool)


def drawn(parts: list[list[int]], shape: tuple[int, int]) -> np.ndarray:
    return mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects(parts, *shape)))


@given(label_images)
@settings(max_examples=300)
def test_outlines_are_exact(label_image: np.ndarray) -> None:
    ids, runs = from_label_image(label_image)
    outlines = polygons.trace(runs)
    for i, parts, holes in zip(ids, outlines.parts, outlines.holes, strict=True):
        mask = label_image == i
        outside = np.pad(~mask, 1, constant_values=True)
        assert holes == ndimage.label(outside, ANY_NEIGHBOUR)[1] - 1
        assert len(parts) == ndimage.label(mask)[1]
        filled = ndimage.binary_fill_holes(mask, ANY_NEIGHBOUR)
        assert np.array_equal(drawn(parts, mask.shape), filled)
        for part in parts:
            assert len(part) >= 8


@given(label_images)
def test_polygons_are_simple_and_clockwise(label_image: np.ndarray) -> None:
    _, runs = from_label_image(label_image)
    for parts in polygons.trace(runs).parts:
        for part in parts:
            points = np.array(part).reshape(-1, 2)
            following = np.roll(points, -1, axis=0)
            steps = following - points
            assert ((steps == 0).sum(axis=1) == 1).all()  # along x or y, never both
            assert ((steps[:, 0] == 0) != np.roll(steps[:, 0] == 0, 1)).all()
            area = (
                points[:, 0] * following[:, 1] - points[:, 1] * following[:, 0]
            ).sum()
            assert area > 0  # the object is on the right, with y down


def test_a_single_pixel_is_a_unit_square() -> None:
    label_image = np.zeros((4, 5), np.uint8)
    label_image[2, 3] = 1
    outlines = polygons.trace(from_label_image(label_image)[1])
    assert outlines.parts == [[[3, 2, 4, 2, 4, 3, 3, 3]]]


def test_no_objects() -> None:
    outlines = polygons.trace(from_label_image(np.zeros((4, 5), np.uint8))[1])
    assert outlines.parts == []
    assert len(polygons.rasterise([], (4, 5))) == 0


coordinates = st.floats(-10, 40) | st.integers(-20, 80).map(lambda twice: twice / 2)
rings = st.lists(coordinates, min_size=6, max_size=16).filter(lambda r: len(r) % 2 == 0)


@given(
    objects=st.lists(st.lists(rings, min_size=1, max_size=3), min_size=1, max_size=3),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
@settings(max_examples=300)
def test_float_polygons_are_drawn_as_pycocotools_draws_them(
    objects: list[list[list[float]]], shape: tuple[int, int]
) -> None:
    pytest.importorskip("faster_coco_eval")
    strings = rle.encode(polygons.rasterise(objects, shape))
    for parts, counts in zip(objects, strings, strict=True):
        mask = mask_utils.decode({"size": list(shape), "counts": counts})
        assert np.array_equal(mask, drawn(parts, shape))
