"""Boxes and keypoints: a COCO file as layers, corrected, and a file again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from drawn_samples import persons
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest
from person_file import person_file
from viewer_samples import outcome

from napari_maskrcnn.core.images import write_array
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.viewer.layers import Plane, unwrap

if TYPE_CHECKING:
    from napari_maskrcnn.viewer.session import Session

NAME = "napari-maskrcnn"
PERSON = (
    Path(__file__).parents[2].parent
    / "shared/data/coco_keypoints/person_keypoints_1.json"
)
OURS = {"label_id", "source", "layer"}


@pytest.fixture
def viewer(make_napari_viewer_proxy: Any, npe2pm: Any) -> Any:
    for name in (NAME, "napari"):
        npe2pm.register(PluginManifest.from_distribution(name))
    notification_manager.records.clear()
    return unwrap(make_napari_viewer_proxy())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_array(tmp_path / "p.png", np.zeros((40, 60), np.uint8))
    path = tmp_path / "p.coco.json"
    path.write_text(json.dumps(person_file()))
    return path


def save(viewer: Any, path: Path) -> dict[str, Any]:
    viewer.layers.save(str(path), plugin=NAME)
    written: dict[str, Any] = json.loads(path.read_text())
    return written


def rows_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(
        ({k: v for k, v in row.items() if k not in OURS}
         for row in document["annotations"]),
        key=lambda row: row["id"],
    )  # fmt: skip


def test_each_kind_of_object_gets_its_layer(viewer: Any, file: Path) -> None:
    viewer.open(str(file), plugin=NAME)
    assert [(x.name, type(x).__name__) for x in viewer.layers] == [
        ("p", "Image"),
        ("p instances", "Labels"),
        ("p boxes", "Shapes"),
        ("p skeleton", "Shapes"),
        ("p keypoints", "Points"),
    ]
    assert notification_manager.records == []
    assert np.unique(viewer.layers["p instances"].data).tolist() == [0, 1]
    boxes, points = viewer.layers["p boxes"], viewer.layers["p keypoints"]
    assert boxes.features["class"].tolist() == ["person", "person", "dog"]
    assert boxes.text.values.tolist() == ["person", "person", "dog"]
    # The fourth of the first person is not labelled, but has a place.
    assert points.features["person"].tolist() == [1] * 4 + [2] * 4
    assert points.features["visible"].tolist() == [2, 2, 1, 0, 2, 2, 2, 1]
    assert points.shown.tolist() == [True] * 3 + [False] + [True] * 4
    assert points.data[4].tolist() == [8, 40.25]
    assert len(viewer.layers["p skeleton"].data) == 2 + 3
    assert not viewer.layers["p skeleton"].editable


def test_a_file_that_is_opened_and_saved_is_equal(
    viewer: Any, file: Path, tmp_path: Path
) -> None:
    viewer.open(str(file), plugin=NAME)
    written = save(viewer, tmp_path / "out.coco.json")
    assert rows_of(written) == rows_of(person_file())
    assert written["categories"] == person_file()["categories"]


def test_the_person_of_coco_is_equal(viewer: Any, tmp_path: Path) -> None:
    if not PERSON.exists():
        pytest.skip(f"needs {PERSON.name}, which is not part of the project")
    viewer.open(str(PERSON), plugin=NAME)
    assert len(viewer.layers["000000000785 keypoints"].data) == 17
    assert len(viewer.layers["000000000785 skeleton"].data) == 19
    given = json.loads(PERSON.read_text())
    written = save(viewer, tmp_path / "out.coco.json")
    assert rows_of(written) == rows_of(given)
    assert written["categories"] == given["categories"]


def test_what_a_person_corrects_is_what_is_saved(
    viewer: Any, file: Path, tmp_path: Path
) -> None:
    viewer.open(str(file), plugin=NAME)
    boxes, points = viewer.layers["p boxes"], viewer.layers["p keypoints"]
    points._move([0], points.data[0])
    points._move([0], points.data[0] + [1, 2])  # the first person's head
    boxes.selected_data = {2}
    boxes.remove_selected()  # the dog
    boxes.add_rectangles(np.array([[9.5, 9.5], [19.5, 29.5]]))
    boxes.add_polygons(np.array([[29.5, 0.5], [29.5, 8.5], [37.5, 0.5]]))
    rows = rows_of(save(viewer, tmp_path / "out.coco.json"))
    before = rows_of(person_file())
    assert rows[0]["keypoints"] == [12, 6, *before[0]["keypoints"][2:]]
    assert rows[0]["segmentation"] == before[0]["segmentation"]
    assert rows[1:3] == before[1:3]
    box, polygon = rows[3:]
    assert 18 not in (box["category_id"], polygon["category_id"])
    assert box["bbox"] == [10, 10, 20, 10]
    assert box["segmentation"] == []
    assert "keypoints" not in box
    assert polygon["segmentation"] == [[1, 30, 9, 30, 1, 38]]
    assert polygon["area"] == 32


def test_boxes_alone_need_no_labels(viewer: Any, file: Path, tmp_path: Path) -> None:
    document = person_file()
    document["annotations"] = document["annotations"][3:]
    file.write_text(json.dumps(document))
    viewer.open(str(file), plugin=NAME)
    assert [x.name for x in viewer.layers] == ["p", "p boxes"]
    assert rows_of(save(viewer, tmp_path / "out.coco.json")) == document["annotations"]


def test_images_alone_are_not_ours(viewer: Any, tmp_path: Path) -> None:
    viewer.add_image(np.zeros((9, 9), np.uint8), name="only")
    assert viewer.layers.save(str(tmp_path / "a.coco.json"), plugin=NAME) == []


def test_planes_of_a_stack_come_back(viewer: Any, tmp_path: Path) -> None:
    from napari_maskrcnn.viewer.session import session_of

    session: Session = session_of(viewer)
    stack = viewer.add_image(np.zeros((4, 60, 80), np.uint8), name="film")
    for index, scores in ((0, [0.9, 0.8]), (2, [0.7])):
        plane = Plane((1, 2), (index,))
        session.take(stack, plane, outcome(persons(scores)), Recipe())
    layers = {x.name: x for x in viewer.layers}
    before = {name: layers[name].data for name in ("film boxes", "film keypoints")}
    path = tmp_path / "film.coco.json"
    written = save(viewer, path)
    assert len(written["images"]) == 4
    assert [row["score"] for row in written["annotations"]] == pytest.approx(
        [0.9, 0.8, 0.7]
    )
    assert written["annotations"][0]["num_keypoints"] == 4
    session.release()
    viewer.layers.clear()
    viewer.open(str(path), plugin=NAME)
    after = {x.name: x.data for x in viewer.layers}
    np.testing.assert_allclose(after["film boxes"], before["film boxes"], atol=0.01)
    np.testing.assert_allclose(
        after["film keypoints"], before["film keypoints"], atol=0.01
    )


def test_keypoints_without_the_other_layers_are_persons(
    viewer: Any, file: Path, tmp_path: Path
) -> None:
    viewer.open(str(file), plugin=NAME)
    viewer.layers.selection = {viewer.layers["p keypoints"]}
    path = tmp_path / "out.coco.json"
    viewer.layers.save(str(path), selected=True, plugin=NAME)
    rows = rows_of(json.loads(path.read_text()))
    assert [row["id"] for row in rows] == [11, 12, 13]
    assert [row["keypoints"] for row in rows] == [
        row["keypoints"] for row in person_file()["annotations"][:3]
    ]
    assert rows[0]["bbox"] == [4, 5, 7, 16]
