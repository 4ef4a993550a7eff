"""Boxes and keypoints in a real viewer, from instances made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from drawn_samples import BONES, NAMES, boxes_only, persons
from viewer_samples import outcome, squares

from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.viewer.layers import Plane

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_maskrcnn.core.instances import Instances
    from napari_maskrcnn.viewer.session import Session

PLANE = Plane((0, 1))
ALL = Recipe(score_threshold=0.3)


@pytest.fixture
def image(viewer: Any) -> Image:
    layer: Image = viewer.add_image(
        np.zeros((60, 80)), name="street", scale=(2, 3), translate=(5, 7)
    )
    return layer


def take(
    session: Session,
    image: Image,
    instances: Instances,
    recipe: Recipe = ALL,
    plane: Plane = PLANE,
    **more: Any,
) -> None:
    session.take(image, plane, outcome(instances), recipe, **more)


def ids(viewer: Any, name: str = "street boxes") -> list[int]:
    return sorted(viewer.layers[name].features["index"])


def test_boxes_become_rectangles_over_the_image(
    viewer: Any, session: Session, image: Image
) -> None:
    take(session, image, boxes_only([0.9, 0.5]))
    layer = viewer.layers["street boxes"]
    assert [x.name for x in viewer.layers] == ["street", "street boxes"]
    assert layer.shape_type == ["rectangle"] * 2
    # Edges of pixels: half a pixel beside the middles at which napari counts.
    assert layer.data[0].min(axis=0).tolist() == [1.5, 2.5]
    assert layer.data[0].max(axis=0).tolist() == [11.5, 17.5]
    assert layer.scale.tolist() == [2, 3]
    assert layer.translate.tolist() == [5, 7]
    assert layer.features["index"].tolist() == [1, 2]
    assert layer.features["class"].tolist() == ["cat", "dog"]
    assert layer.features["score"].tolist() == pytest.approx([0.9, 0.5])
    assert layer.features["area"].tolist() == [150, 150]
    assert layer.text.values.tolist() == ["cat 0.90", "dog 0.50"]
    assert not np.array_equal(layer.edge_color[0], layer.edge_color[1])
    np.testing.assert_allclose(layer.text.color._values, layer.edge_color)
    assert session.count(image) == 2
    assert session.results.labels_of(image) is None


def test_keypoints_become_points_and_bones(
    viewer: Any, session: Session, image: Image
) -> None:
    take(session, image, persons([0.9, 0.6]))
    assert [x.name for x in viewer.layers] == [
        "street", "street boxes", "street skeleton", "street keypoints",
    ]  # fmt: skip
    points = viewer.layers["street keypoints"]
    table = points.features
    assert table["person"].tolist() == [1] * 4 + [2] * 4
    assert table["keypoint"].tolist() == list(NAMES) * 2
    assert table["visible"].tolist() == [2, 2, 2, 1] * 2
    assert table["score"].tolist() == [5, 5, 5, 1] * 2
    assert points.data[0].tolist() == [4, 6]  # y, x: as COCO counts them
    assert not np.array_equal(points.face_color[2], points.face_color[3])  # grey
    lines = viewer.layers["street skeleton"]
    assert len(lines.data) == 2 * len(BONES)
    assert not lines.editable
    assert lines.features["bone"].tolist()[0] == "head - neck"
    faint = [colour[3] < 0.5 for colour in lines.edge_color]
    assert faint == [False, False, True] * 2
    assert session.count(image) == 2


def test_sliders_filter_without_the_network(
    viewer: Any, session: Session, image: Image
) -> None:
    take(session, image, persons([0.9, 0.6, 0.4]))
    lines, points = viewer.layers["street skeleton"], viewer.layers["street keypoints"]
    for score, found in ((0.5, 2), (0.95, 0), (0.2, 3)):
        recipe = replace(ALL, score_threshold=score)
        assert session.repaint(image, recipe, keep_edited=True)
        assert len(ids(viewer)) == found
        assert len(points.data) == 4 * found
        assert len(lines.data) == len(BONES) * found
        assert session.count(image) == found
    session.commit()
    assert not session.sliding
    session.repaint(image, replace(ALL, min_area=200), keep_edited=True)
    assert ids(viewer) == []


def test_classes_and_overlap_filter_too(
    viewer: Any, session: Session, image: Image
) -> None:
    instances = boxes_only([0.9, 0.5, 0.8])
    instances.boxes[2] = instances.boxes[0] + 1
    instances.class_ids[2] = instances.class_ids[0]
    take(session, image, instances, replace(ALL, nms_threshold=1.0))
    assert ids(viewer) == [1, 2, 3]
    session.repaint(image, replace(ALL, nms_threshold=0.3), keep_edited=True)
    assert ids(viewer) == [1, 2]
    session.repaint(image, replace(ALL, classes=("dog",)), keep_edited=True)
    assert ids(viewer) == [2]


def test_what_a_person_made_stays(viewer: Any, session: Session, image: Image) -> None:
    take(session, image, boxes_only([0.9, 0.8, 0.7]))
    layer = viewer.layers["street boxes"]
    layer.selected_data = {1}
    layer.remove_selected()
    move(layer, 0, (3, 0))
    layer.add_rectangles(np.array([[40, 40], [50, 60]]))
    assert layer.features["score"].isna().tolist() == [True, False, True]
    assert layer.features["label"].tolist()[0] == "cat"
    moved = layer.data[0].copy()
    session.repaint(image, ALL, keep_edited=True)
    assert len(layer.data) == 3
    # A new run finds all three again, the first where it was, and one more.
    take(session, image, boxes_only([0.9, 0.8, 0.7, 0.6]))
    assert len(layer.data) == 4
    assert layer.features["score"].isna().sum() == 2
    assert any(np.array_equal(moved, one) for one in layer.data)
    assert session.count(image) == 4
    take(session, image, boxes_only([0.9, 0.8]), keep_edited=False)
    assert len(layer.data) == 2
    assert layer.features["score"].notna().all()


def test_a_kept_box_that_is_deleted_later_does_not_come_back(
    viewer: Any, session: Session, image: Image
) -> None:
    take(session, image, boxes_only([0.9, 0.8]))
    layer = viewer.layers["street boxes"]
    move(layer, 0, (20, 20))
    session.repaint(image, ALL, keep_edited=True)
    session.commit()
    kept = layer.features["score"].isna().to_numpy()
    layer.selected_data = set(np.flatnonzero(kept).tolist())
    layer.remove_selected()
    session.repaint(image, ALL, keep_edited=True)
    assert ids(viewer) == [2]


def test_another_class_makes_a_box_the_persons(
    viewer: Any, session: Session, image: Image
) -> None:
    take(session, image, boxes_only([0.9, 0.8]))
    layer = viewer.layers["street boxes"]
    table = layer.features.copy()
    table.loc[0, "class"] = "dog"
    layer.features = table
    take(session, image, boxes_only([0.9, 0.8]))
    assert layer.features["class"].tolist() == ["dog", "dog"]


def test_a_moved_keypoint_takes_its_person_along(
    viewer: Any, session: Session, image: Image
) -> None:
    take(session, image, persons([0.9, 0.6]))
    points, lines = viewer.layers["street keypoints"], viewer.layers["street skeleton"]
    points._move([3], points.data[3] + 2)
    points._move([3], points.data[3] + 2)
    assert np.isnan(points.features["score"][3])
    assert points.features["visible"][3] == 2  # the network had doubted it
    place = points.data[3].copy()
    assert any(np.array_equal(line[1], place) for line in lines.data)
    take(session, image, persons([0.9, 0.6]))
    assert any(np.array_equal(place, one) for one in points.data)
    assert session.count(image) == 2
    assert len(points.data) == 8


def test_deleting_a_box_deletes_its_keypoints_and_bones(
    viewer: Any, session: Session, image: Image
) -> None:
    take(session, image, persons([0.9, 0.6]))
    boxes, points = viewer.layers["street boxes"], viewer.layers["street keypoints"]
    boxes.selected_data = {0}
    boxes.remove_selected()
    assert set(points.features["person"]) == {2}
    assert len(viewer.layers["street skeleton"].data) == len(BONES)
    session.repaint(image, ALL, keep_edited=True)
    assert session.count(image) == 1


def test_new_keypoints_are_named_in_the_order_of_the_skeleton(
    viewer: Any, session: Session, image: Image
) -> None:
    take(session, image, persons([0.9]))
    points = viewer.layers["street keypoints"]
    points.selected_data = {1}
    points.remove_selected()
    for place in ([9, 9], [20, 20], [21, 21]):
        points.add(place)
    table = points.features
    assert table["person"].tolist() == [1, 1, 1, 1, 2, 2]
    assert table["keypoint"].tolist()[3:] == ["neck", "head", "neck"]
    assert table["score"].isna().tolist()[3:] == [True] * 3
    assert session.count(image) == 2


def test_planes_of_a_stack_have_rows_of_their_own(
    viewer: Any, session: Session
) -> None:
    stack = viewer.add_image(np.zeros((5, 60, 80)), name="street")
    for index, scores in ((1, [0.9, 0.8]), (3, [0.7])):
        viewer.dims.set_point(0, index)
        take(session, stack, persons(scores), plane=Plane((1, 2), (index,)))
        assert session.count(stack) == len(scores)
    layer, points = viewer.layers["street boxes"], viewer.layers["street keypoints"]
    assert [int(box[0, 0]) for box in layer.data] == [1, 1, 3]
    assert np.unique(points.data[:, 0]).tolist() == [1, 3]
    assert sorted(layer.features["index"]) == [1, 2, 3]
    session.repaint(stack, replace(ALL, score_threshold=0.75), keep_edited=True)
    assert [int(box[0, 0]) for box in layer.data] == [1, 1]


def test_masks_and_boxes_of_one_image_keep_their_own_layers(
    viewer: Any, session: Session, image: Image
) -> None:
    shape = (60, 80)
    take(session, image, squares([0.9, 0.8], shape))
    take(session, image, boxes_only([0.9, 0.8, 0.7]))
    assert session.count(image) == 3
    take(session, image, squares([0.9], shape))
    assert session.count(image) == 1
    assert [x.name for x in viewer.layers] == [
        "street", "street instances", "street boxes",
    ]  # fmt: skip


def test_a_boxes_layer_that_was_closed_is_made_again(
    viewer: Any, session: Session, image: Image
) -> None:
    take(session, image, boxes_only([0.9]))
    viewer.layers.remove("street boxes")
    assert session.count(image) is None
    assert not session.repaint(image, ALL, keep_edited=True)
    take(session, image, boxes_only([0.9, 0.8]))
    assert ids(viewer) == [1, 2]


def move(layer: Any, number: int, by: tuple[float, float]) -> None:
    """Move a shape as the mouse does, with napari's own event at the end."""
    from napari.layers.base import ActionType

    layer._data_view.shift(number, np.array(by, float))
    layer.events.data(
        value=layer.data,
        action=ActionType.CHANGED,
        data_indices=(number,),
        vertex_indices=((),),
    )
