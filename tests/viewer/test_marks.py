"""What was reviewed lives with the layer, and every mark is one undo step."""

from __future__ import annotations

import gc
import weakref

import dask.array as da
import numpy as np
import pytest
from napari.layers import Labels
from review_samples import SHAPE, squares

from napari_maskrcnn.viewer import marks
from napari_maskrcnn.viewer.history import history_of
from napari_maskrcnn.viewer.layers import Plane

PLANE = Plane((0, 1))


@pytest.fixture
def layer() -> Labels:
    layer = Labels(squares((10, 10), (40, 40), (70, 100)))
    history_of(layer)
    return layer


def reviewed(layer: Labels, plane: Plane = PLANE) -> list[int]:
    return marks.reviewed_of(layer, plane).ids.tolist()


def test_at_first_nothing_is_reviewed(layer: Labels) -> None:
    found = marks.reviewed_of(layer, PLANE)
    assert found.ids.size == 0
    assert found.region.shape == SHAPE
    assert not found.region.any()


def test_approving_is_one_step(layer: Labels) -> None:
    marks.set_reviewed(layer, PLANE, [3, 1])
    assert reviewed(layer) == [1, 3]
    assert layer.features["index"].tolist() == [1, 2, 3]
    after = layer.data.copy()
    marks.set_reviewed(layer, PLANE, [1], reviewed=False)
    assert reviewed(layer) == [3]
    layer.undo()
    assert reviewed(layer) == [1, 3]
    layer.undo()
    assert reviewed(layer) == []
    layer.redo()
    layer.redo()
    assert reviewed(layer) == [3]
    np.testing.assert_array_equal(layer.data, after)


def test_a_region_approves_what_lies_in_it_as_a_whole(layer: Labels) -> None:
    assert marks.add_region(layer, PLANE, (-5, 0, 45, 200)) == 1
    found = marks.reviewed_of(layer, PLANE)
    assert found.ids.tolist() == [1]
    assert found.region[:45].all()
    assert not found.region[45:].any()
    assert marks.regions_of(layer, PLANE) == [(0, 0, 45, 128)]
    assert layer.metadata["napari-maskrcnn"]["regions"] == [
        {"plane": [], "box": [0, 0, 45, 128]}
    ]
    layer.undo()
    assert reviewed(layer) == []
    assert marks.regions_of(layer, PLANE) == []
    layer.redo()
    assert reviewed(layer) == [1]
    assert marks.regions_of(layer, PLANE) == [(0, 0, 45, 128)]


def test_a_region_off_the_image_is_refused(layer: Labels) -> None:
    with pytest.raises(ValueError, match=r"no part of the box \(200, 0, 300, 10\)"):
        marks.add_region(layer, PLANE, (200, 0, 300, 10))
    assert not layer.metadata
    assert not history_of(layer).can_undo


def test_what_is_drawn_into_a_region_later_is_reviewed(layer: Labels) -> None:
    marks.add_region(layer, PLANE, (0, 0, 50, 60))
    layer.data_setitem((np.array([5]), np.array([50])), 9)
    assert reviewed(layer) == [1, 2, 9]


def test_the_whole_plane(layer: Labels) -> None:
    marks.add_region(layer, PLANE, (0, 0, 45, 128))
    assert marks.approve_plane(layer, PLANE) == 3
    assert marks.regions_of(layer, PLANE) == [(0, 0, *SHAPE)], "it covers the other"
    assert marks.reviewed_of(layer, PLANE).region.all()
    layer.undo()
    assert marks.regions_of(layer, PLANE) == [(0, 0, 45, 128)]
    assert reviewed(layer) == [1]


def test_what_is_taken_back_takes_its_region_off(layer: Labels) -> None:
    marks.add_region(layer, PLANE, (0, 0, 45, 128))
    marks.add_region(layer, PLANE, (60, 90, 96, 128))
    marks.set_reviewed(layer, PLANE, [1], reviewed=False)
    assert reviewed(layer) == [3]
    assert marks.regions_of(layer, PLANE) == [(60, 90, 96, 128)]
    layer.undo()
    assert reviewed(layer) == [1, 3]
    assert len(marks.regions_of(layer, PLANE)) == 2


def test_clearing_the_regions_leaves_the_objects_approved(layer: Labels) -> None:
    marks.approve_plane(layer, PLANE)
    marks.clear_regions(layer, PLANE)
    assert marks.regions_of(layer, PLANE) == []
    assert reviewed(layer) == [1, 2, 3]
    layer.undo()
    assert marks.reviewed_of(layer, PLANE).region.all()


def test_planes_of_a_stack_have_their_own_marks() -> None:
    stack = np.stack([squares((10, 10)), squares((10, 10), (40, 40)) * 10])
    layer = Labels(stack)
    first, second = Plane((1, 2), (0,)), Plane((1, 2), (1,))
    marks.approve_plane(layer, second)
    assert reviewed(layer, first) == []
    assert reviewed(layer, second) == [10, 20]
    assert marks.regions(layer) == [{"plane": [1], "box": [0, 0, *SHAPE]}]
    marks.set_reviewed(layer, first, [1])
    assert reviewed(layer, first) == [1]
    layer.undo()
    layer.undo()
    assert reviewed(layer, first) == reviewed(layer, second) == []


def test_a_lazy_layer_is_marked_without_undo() -> None:
    layer = Labels(da.from_array(squares((10, 10), (40, 40))))
    marks.set_reviewed(layer, PLANE, [2])
    marks.add_region(layer, PLANE, (0, 0, 30, 30))
    assert reviewed(layer) == [1, 2]


def test_columns_of_others_stay() -> None:
    layer = Labels(squares((10, 10)), features={"index": [1], "colour": ["red"]})
    marks.set_reviewed(layer, PLANE, [1])
    assert layer.features["colour"].tolist() == ["red"]
    assert reviewed(layer) == [1]


def test_regions_in_another_form_are_left_out() -> None:
    layer = Labels(
        squares((10, 10)),
        metadata={"napari-maskrcnn": {"regions": ["all", {"box": [1, 2]}]}},
    )
    assert marks.regions_of(layer, PLANE) == []


def test_marks_keep_no_layer_alive() -> None:
    layer = Labels(squares((10, 10)))
    marks.approve_plane(layer, PLANE)
    reference = weakref.ref(layer)
    del layer
    gc.collect()
    assert reference() is None
