"""From layers to planes and back: geometry, stacks, lazy arrays, undo."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_maskrcnn.viewer.layers import (
    LabelsPlane,
    Plane,
    add_labels_for,
    current_plane,
    image_layers,
    is_usable,
    plane_source,
    unwrap,
    widen,
)


@pytest.fixture
def viewer(make_napari_viewer_proxy: Any) -> Any:
    return unwrap(make_napari_viewer_proxy())


def plane_of(viewer: Any, layer: Any) -> tuple[Plane, Any]:
    plane = current_plane(layer, viewer)
    return plane, plane_source(layer, plane).read()


def test_unwrap_gives_the_object_itself(make_napari_viewer_proxy: Any) -> None:
    proxy = make_napari_viewer_proxy()
    assert unwrap(proxy).layers is unwrap(proxy.layers)
    assert unwrap(unwrap(proxy)) is unwrap(proxy)


def test_a_plain_image_is_its_own_plane(viewer: Any) -> None:
    image = np.arange(12.0).reshape(3, 4)
    plane, pixels = plane_of(viewer, viewer.add_image(image))
    assert plane == Plane((0, 1))
    np.testing.assert_array_equal(pixels, image)


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_keeps_its_channels(viewer: Any, channels: int) -> None:
    image = np.zeros((5, 6, channels), np.uint8)
    plane, pixels = plane_of(viewer, viewer.add_image(image, rgb=True))
    assert plane == Plane((0, 1))
    assert pixels.shape == image.shape


def test_of_a_stack_the_plane_that_is_shown(viewer: Any) -> None:
    stack = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    layer = viewer.add_image(stack, scale=(10, 0.5, 2, 2), translate=(5, 1, 0, 0))
    viewer.dims.set_current_step((0, 1), (1, 2))
    plane, pixels = plane_of(viewer, layer)
    assert plane == Plane((2, 3), (1, 2))
    assert plane.label == "1, 2"
    np.testing.assert_array_equal(pixels, stack[1, 2])


def test_a_flat_image_beside_a_stack(viewer: Any) -> None:
    viewer.add_image(np.zeros((7, 4, 5)))
    flat = viewer.add_image(np.ones((4, 5)))
    viewer.dims.set_current_step(0, 6)
    assert current_plane(flat, viewer) == Plane((0, 1))


def test_transposed_and_three_dimensional_views(viewer: Any) -> None:
    layer = viewer.add_image(np.zeros((6, 7, 8)))
    viewer.dims.set_current_step((0, 1, 2), (3, 4, 5))
    viewer.dims.order = (1, 2, 0)
    assert current_plane(layer, viewer) == Plane((0, 2), (4,))
    viewer.dims.order = (0, 1, 2)
    viewer.dims.ndisplay = 3
    assert current_plane(layer, viewer) == Plane((1, 2), (3,))


def test_a_colour_stack(viewer: Any) -> None:
    layer = viewer.add_image(np.zeros((6, 7, 8, 3), np.uint8), rgb=True)
    viewer.dims.set_current_step(0, 2)
    plane, pixels = plane_of(viewer, layer)
    assert plane == Plane((1, 2), (2,))
    assert pixels.shape == (7, 8, 3)


def test_of_a_multiscale_layer_the_finest_level(viewer: Any) -> None:
    full = np.arange(64.0).reshape(8, 8)
    layer = viewer.add_image([full, full[::2, ::2]], multiscale=True)
    _, pixels = plane_of(viewer, layer)
    np.testing.assert_array_equal(pixels, full)
    assert add_labels_for(viewer, layer, np.uint16).data.shape == (8, 8)


def test_a_lazy_array_is_computed_for_one_plane_and_not_before(viewer: Any) -> None:
    read: list[int] = []

    def block(block_info: Any = None) -> Any:
        read.append(block_info[None]["chunk-location"][0])
        return np.ones((1, 4, 5))

    lazy = da.map_blocks(
        block, chunks=((1,) * 9, (4,), (5,)), dtype=float, meta=np.empty((0, 0, 0))
    )
    layer = viewer.add_image(lazy, contrast_limits=(0, 1))
    viewer.dims.set_current_step(0, 7)
    read.clear()
    source = plane_source(layer, current_plane(layer, viewer))
    assert read == []
    assert source.read().shape == (4, 5)
    assert read == [7]


def test_labels_take_the_geometry_of_the_image(viewer: Any) -> None:
    image = viewer.add_image(
        np.zeros((3, 20, 30)),
        scale=(2, 0.5, 0.5),
        translate=(1, 2, 3),
        rotate=(0, 0, 30),
        shear=(0.1, 0, 0.2),
        affine=np.diag([1, 2, 2, 1]),
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
        name="cells",
    )
    labels = add_labels_for(viewer, image, np.uint16)
    assert labels.name == "cells instances"
    assert labels.data.shape == (3, 20, 30)
    assert labels.data.dtype == np.uint16
    for name in ("scale", "translate", "rotate", "shear"):
        np.testing.assert_allclose(getattr(labels, name), getattr(image, name))
    np.testing.assert_allclose(labels.affine.affine_matrix, image.affine.affine_matrix)
    assert labels.units == image.units
    assert labels.axis_labels == image.axis_labels
    point = (1.0, 12.0, 17.0)
    np.testing.assert_allclose(labels.world_to_data(point), image.world_to_data(point))


def test_only_image_layers_are_offered(viewer: Any) -> None:
    first = viewer.add_image(np.zeros((4, 4)))
    viewer.add_labels(np.zeros((4, 4), int))
    second = viewer.add_image(np.zeros((4, 4)))
    assert image_layers(viewer) == [second, first]


@pytest.mark.parametrize(
    ("data", "usable"),
    [
        (np.zeros((4, 5), np.uint16), True),
        (np.zeros((4, 5), np.int32), True),
        (np.zeros((5, 4), np.uint16), False),
        (da.zeros((4, 5), dtype=np.uint16), False),
    ],
)
def test_what_can_be_written_in_place(data: Any, usable: bool) -> None:
    assert is_usable(Labels(data), Image(np.zeros((4, 5)))) is usable


def test_a_read_only_array_is_not_written_to() -> None:
    data = np.zeros((4, 5), np.uint16)
    data.flags.writeable = False
    assert not is_usable(Labels(data), Image(np.zeros((4, 5))))


@pytest.fixture
def target(viewer: Any) -> LabelsPlane:
    image = viewer.add_image(np.zeros((3, 16, 20)))
    viewer.dims.set_current_step(0, 1)
    return LabelsPlane(
        add_labels_for(viewer, image, np.uint16), current_plane(image, viewer)
    )


def test_a_commit_is_one_undo_step(target: LabelsPlane) -> None:
    layer = target.layer
    empty = target.pixels.copy()
    first, second = empty.copy(), empty.copy()
    first[2:6, 2:6] = 1
    second[4:9, 3:12] = 7
    assert target.commit(empty, first)
    assert target.commit(first, second)
    assert not target.commit(second, second)
    np.testing.assert_array_equal(layer.data[1], second)
    assert not layer.data[[0, 2]].any()
    layer.undo()
    np.testing.assert_array_equal(layer.data[1], first)
    layer.undo()
    assert not layer.data.any()
    layer.redo()
    layer.redo()
    np.testing.assert_array_equal(layer.data[1], second)


def test_shown_then_committed_is_undone_to_where_it_began(target: LabelsPlane) -> None:
    layer = target.layer
    before = target.pixels.copy()
    layer.data_setitem((np.array([1]), np.array([3]), np.array([3])), 5)
    painted = target.pixels.copy()
    for value in (1, 2, 3):
        picture = np.full_like(before, value)
        target.show(picture)
        np.testing.assert_array_equal(layer.data[1], picture)
    target.commit(painted, picture)
    layer.undo()
    np.testing.assert_array_equal(layer.data[1], painted)
    layer.undo()
    np.testing.assert_array_equal(layer.data[1], before)


def test_widening_keeps_the_pixels_and_empties_the_undo_list(
    target: LabelsPlane,
) -> None:
    layer = target.layer
    layer.mode = "paint"
    picture = np.full_like(target.pixels, 9)
    target.commit(target.pixels.copy(), picture)
    widen(layer)
    assert layer.data.dtype == np.int32
    assert layer.mode == "paint"
    layer.undo()
    np.testing.assert_array_equal(target.pixels, picture)
