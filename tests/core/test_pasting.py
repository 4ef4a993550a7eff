"""Masks on the image: the pixels that torchvision gives, without its memory."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection.roi_heads import paste_masks_in_image

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
    grids: torch.Tensor, boxes: torch.Tensor, shape: tuple[int, int]
) -> np.ndarray:
    """Our crops, (N, H, W) as probability x 255."""
    masks, offsets = paste_masks(grids, boxes, shape)
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
    found = whole_masks(grids, corners, SHAPE)
    np.testing.assert_array_equal(found >= 0.5 * FULL, expected >= 0.5)
    assert np.abs(found / FULL - expected).max() <= 0.5001 / FULL


def test_a_probability_of_a_half_belongs_to_the_object() -> None:
    """And the next smaller number does not: storing in 8 bits loses nothing there."""
    below = np.nextafter(np.float32(0.5), np.float32(0))
    # A box that takes the grid, with its border, pixel by pixel: 30 x 30.
    boxes = torch.tensor([[6.25, 6.25, 33.75, 33.75]])
    for value, inside in ((0.5, True), (float(below), False)):
        masks, _ = paste_masks(torch.full((1, 28, 28), value), boxes, (40, 40))
        assert masks[0].shape == (30, 30)
        grid = masks[0][1:-1, 1:-1] >= 0.5 * FULL
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
