"""Masks on the image: at the centres of the pixels, or as torchvision rounds them."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torchvision.models.detection.roi_heads import (
    paste_masks_in_image,
)

from napari_maskrcnn.core.instances import FULL
from napari_maskrcnn.core.pasting import paste_masks

SHAPE = (37, 53)
coordinate = st.floats(-25, 80, width=32)
extent = st.sampled_from([0.0, 0.01, 0.4, 1.0]) | st.floats(0, 60, width=32)
# Most lie partly in the image, some wholly outside it, some have no area.
box = st.tuples(coordinate, coordinate, extent, extent).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)


def whole_masks(
    grids: torch.Tensor,
    boxes: torch.Tensor,
    shape: tuple[int, int],
    **how: Any,
) -> np.ndarray:
    """Our crops, (N, H, W) as probability x 255."""
    masks, offsets = paste_masks(grids, boxes, shape, **how)
    whole = np.zeros((len(grids), *shape), np.uint8)
    for image, mask, (y, x) in zip(whole, masks, offsets, strict=True):
        height, width = mask.shape
        # The crop lies inside the image, or the next line changes its shape.
        image[y : y + height, x : x + width] = mask
    return whole


def torchvision_masks(grids: torch.Tensor, boxes: torch.Tensor) -> np.ndarray:
    """The same from torchvision, which fails on a box wholly outside the image."""
    whole = np.zeros((len(grids), *SHAPE), np.float32)
    for image, grid, corners in zip(whole, grids, boxes, strict=True):
        with contextlib.suppress(RuntimeError):
            pasted = paste_masks_in_image(grid[None, None], corners[None], SHAPE)
            image[:] = pasted[0, 0].numpy()
    return whole


@pytest.mark.parametrize("side", [14, 28])
@settings(max_examples=100)
@given(boxes=st.lists(box, min_size=1, max_size=4), seed=st.integers(0, 2**31))
def test_the_pixels_are_torchvisions(
    side: int, boxes: list[list[float]], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    grids = torch.rand(len(boxes), side, side, generator=generator)
    corners = torch.tensor(boxes)
    expected = torchvision_masks(grids, corners)
    found = whole_masks(grids, corners, SHAPE, as_torchvision=True)
    np.testing.assert_array_equal(found >= 0.5 * FULL, expected >= 0.5)
    assert np.abs(found / FULL - expected).max() <= 0.5001 / FULL


def by_interpolation(grid: torch.Tensor, corners: list[float]) -> np.ndarray:
    """The grid at the centres of all pixels, by scipy, with zeros around it."""
    x0, y0, x1, y1 = corners
    side = grid.shape[0]
    rows = (np.arange(SHAPE[0]) + 0.5 - y0) / (y1 - y0) * side - 0.5
    columns = (np.arange(SHAPE[1]) + 0.5 - x0) / (x1 - x0) * side - 0.5
    places = np.meshgrid(rows, columns, indexing="ij")
    padded = np.pad(grid.double().numpy(), 1)
    shifted = [place + 1 for place in places]
    return ndimage.map_coordinates(padded, shifted, order=1, mode="constant")


@pytest.mark.parametrize("side", [14, 28])
@settings(max_examples=100)
@given(
    corner=st.tuples(coordinate, coordinate),
    size=st.tuples(st.floats(1, 60, width=32), st.floats(1, 60, width=32)),
    seed=st.integers(0, 2**31),
)
def test_each_pixel_takes_the_value_at_its_centre(
    side: int, corner: tuple[float, float], size: tuple[float, float], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    grids = torch.rand(1, side, side, generator=generator)
    corners = [*corner, corner[0] + size[0], corner[1] + size[1]]
    found = whole_masks(grids, torch.tensor([corners]), SHAPE)[0]
    expected = by_interpolation(grids[0], corners)
    assert np.abs(found / FULL - expected).max() <= 0.51 / FULL + 1e-3


@pytest.mark.parametrize("width", [3, 8, 12, 25])
def test_a_full_mask_is_as_large_as_its_box(width: int) -> None:
    """Torchvision makes it a pixel wider: much for a nucleus of a dozen pixels."""
    boxes = torch.tensor([[5.0, 4.0, 5.0 + width, 4.0 + width]])
    (mask,) = whole_masks(torch.ones(1, 28, 28), boxes, SHAPE)
    rows, columns = np.nonzero(mask >= 0.5 * FULL)
    assert (rows.min(), rows.max() + 1) == (4, 4 + width)
    assert (columns.min(), columns.max() + 1) == (5, 5 + width)


def test_boxes_without_area_or_outside_give_no_pixel() -> None:
    boxes = torch.tensor(
        [[5.0, 5, 5, 5], [-30, -30, -20, -20], [90, 2, 95, 9], [5, 60, 9, 70]]
    )
    masks, offsets = paste_masks(torch.ones(4, 28, 28), boxes, SHAPE)
    for mask, (y, x) in zip(masks, offsets, strict=True):
        assert not (mask >= 0.5 * FULL).any()
        assert 0 <= y <= SHAPE[0] - mask.shape[0]
        assert 0 <= x <= SHAPE[1] - mask.shape[1]


def test_a_probability_of_a_half_belongs_to_the_object() -> None:
    """And the next smaller number does not: storing in 8 bits loses nothing there."""
    below = np.nextafter(np.float32(0.5), np.float32(0))
    boxes = torch.tensor([[6.0, 6.0, 34.0, 34.0]])
    for value, inside in ((0.5, True), (float(below), False)):
        masks, _ = paste_masks(torch.full((1, 28, 28), value), boxes, (40, 40))
        grid = masks[0][2:-2, 2:-2] >= 0.5 * FULL
        assert grid.all() == grid.any() == inside


def test_nothing_gives_nothing() -> None:
    masks, offsets = paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), SHAPE)
    assert masks == ()
    assert offsets.shape == (0, 2)


def test_crops_are_as_small_as_their_boxes() -> None:
    boxes = torch.tensor([[1000.0, 2000.0, 1010.0, 2012.0]])
    masks, offsets = paste_masks(torch.ones(1, 28, 28), boxes, (4096, 4096))
    assert masks[0].size < 20 * 20
    assert np.abs(offsets[0] - (2000, 1000)).max() <= 2
