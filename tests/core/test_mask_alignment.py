"""Masks are where the objects are, however torchvision cuts what is learnt from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.examples import make_target
from napari_maskrcnn.core.mask_alignment import LAG, aligned, lag
from napari_maskrcnn.core.pasting import paste_masks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_maskrcnn.core.checkpoints import Checkpoint

SIDE = 64


def target_with_disc(y: float, x: float, radius: float) -> dict[str, torch.Tensor]:
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    disc = np.hypot(rows - y, columns - x) < radius
    return make_target(disc.astype(np.int32), np.array([0, 1]))


def learnt(target: dict[str, torch.Tensor], box: torch.Tensor) -> torch.Tensor:
    """What a perfect mask head would draw over a box, (1, 28, 28)."""
    grid: torch.Tensor = project_masks_on_boxes(
        target["masks"], box, torch.tensor([0]), 28
    )
    return grid


def centre(masks: Any, offsets: Any) -> NDArray[np.float64]:
    """(y, x) of the only mask."""
    inside = np.array(ndimage.center_of_mass(masks[0].astype(float)))
    return inside + offsets[0] + 0.5


def errors(
    y: float, x: float, radius: float, scale: tuple[float, float]
) -> dict[str, NDArray[np.float64]]:
    """How far masks lie off, (y, x) in pixels that the network sees, by how they go.

    In an image of which it saw `scale` pixels a pixel.
    """
    target = target_with_disc(y, x, radius)
    true = np.array(ndimage.center_of_mass(target["masks"][0].numpy())) + 0.5
    reach = radius + 2
    box = torch.tensor([[x - reach, y - reach, x + reach, y + reach]])
    in_image = box / torch.tensor([scale[1], scale[0]] * 2)
    shape = (round(SIDE / scale[0]), round(SIDE / scale[1]))
    shift = (LAG / scale[0], LAG / scale[1])
    plain = learnt(target, box)
    found = {
        "plain": paste_masks(plain, in_image, shape),
        "moved": paste_masks(plain, in_image, shape, shift=shift),
        "aligned": paste_masks(learnt(aligned(target), box), in_image, shape),
    }
    return {how: centre(*pasted) * scale - true for how, pasted in found.items()}


@settings(max_examples=50)
@given(y=st.floats(22, 42), x=st.floats(22, 42), radius=st.floats(5, 15))
def test_what_is_learnt_lies_half_a_pixel_off_unless_it_is_aligned(
    y: float, x: float, radius: float
) -> None:
    off = errors(y, x, radius, (1.0, 1.0))
    np.testing.assert_allclose(off["plain"], -0.5, atol=0.1)
    np.testing.assert_allclose(off["moved"], -0.25, atol=0.1)
    np.testing.assert_allclose(off["aligned"], 0, atol=0.1)


@pytest.mark.parametrize("radius", [5.0, 8.0, 15.0])
def test_on_an_image_seen_larger_too(radius: float) -> None:
    off = errors(30.0, 33.0, radius, (2.0, 1.0))
    np.testing.assert_allclose(off["plain"], -0.5, atol=0.1)
    np.testing.assert_allclose(off["moved"], -0.25, atol=0.1)
    np.testing.assert_allclose(off["aligned"], 0, atol=0.1)


def test_an_object_at_the_edge_of_a_view_stays_whole() -> None:
    target = make_target(np.ones((16, 16), np.int32), np.array([0, 1]))
    assert (aligned(target)["masks"] == 1).all()


def test_nothing_else_of_a_target_changes() -> None:
    target = target_with_disc(30, 30, 8)
    moved = aligned(target)
    assert moved["masks"].shape == target["masks"].shape
    assert {key: value for key, value in moved.items() if key != "masks"} == {
        key: value for key, value in target.items() if key != "masks"
    }
    empty = make_target(np.zeros((16, 16), np.int32), np.array([0]))
    assert aligned(empty)["masks"].shape == (0, 16, 16)


def test_a_model_says_how_it_learnt(
    checkpoint: Checkpoint, field: tuple[NDArray[np.uint16], NDArray[np.uint16]]
) -> None:
    """The masks of one that learnt them where they are are not moved."""
    assert not checkpoint.aligned_masks
    other = replace(checkpoint, config={**checkpoint.config, "aligned_masks": True})
    networks = [one.build() for one in (checkpoint, other)]
    assert [lag(network) for network in networks] == [LAG, 0.0]
    found = [
        Detector(one, "cpu", precision=torch.float32).detect(field[0], object_size=20)
        for one in (checkpoint, other)
    ]
    assert len(found[0]) == len(found[1]) > 0
    np.testing.assert_array_equal(found[0].boxes, found[1].boxes)
    assert not all(
        np.array_equal(a, b)
        for a, b in zip(found[0].masks, found[1].masks, strict=True)
    )
