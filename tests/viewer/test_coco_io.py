"""COCO files as layers and back, through napari's own open and save."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest
from viewer_samples import outcome

from napari_maskrcnn.core.coco import (
    Category,
    CocoImage,
    CocoObjects,
    plane_images,
    read_coco,
    write_coco,
    write_planes,
)
from napari_maskrcnn.core.images import write_array
from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.viewer import coco_layers, coco_sniff
from napari_maskrcnn.viewer.contributions import coco_reader
from napari_maskrcnn.viewer.layers import Plane, unwrap

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Labels

    from napari_maskrcnn.viewer.session import Session

NAME = "napari-maskrcnn"
COLUMNS = ["index", "class", "score", "area", "reviewed"]


@pytest.fixture
def viewer(make_napari_viewer_proxy: Any, npe2pm: Any) -> Any:
    for name in (NAME, "napari"):
        npe2pm.register(PluginManifest.from_distribution(name))
    notification_manager.records.clear()
    return unwrap(make_napari_viewer_proxy())


def label_image(shape: tuple[int, int] = (40, 50), count: int = 6) -> np.ndarray:
    """Return squares, ids with gaps; every third with a hole, the last on the edge."""
    image = np.zeros(shape, np.uint16)
    for number in range(count):
        row, column = divmod(number, 4)
        y, x = 1 + 12 * row, 1 + 12 * column
        image[y : y + 9, x : x + 9] = 3 * number + 2
        if number % 3 == 0:
            image[y + 3 : y + 6, x + 3 : x + 6] = 0
    image[-1, -1] = 999
    return image


def table(labels: Labels) -> pd.DataFrame:
    """Return the columns that a round trip has to keep, in one order."""
    features = labels.features.reindex(columns=[*COLUMNS, "plane"])
    features["reviewed"] = features["reviewed"].fillna(False).astype(bool)
    return features.sort_values(["plane", "index"]).reset_index(drop=True)


def assert_same(first: Labels, second: Labels) -> None:
    assert first.data.dtype == second.data.dtype
    np.testing.assert_array_equal(first.data, second.data)
    pd.testing.assert_frame_equal(
        table(first), table(second), check_dtype=False, check_index_type=False
    )


def features_of(data: np.ndarray, **columns: Any) -> pd.DataFrame:
    ids, areas = np.unique(data[data > 0], return_counts=True)
    features = {"index": ids, "class": "cell", "score": np.nan, "area": areas}
    return pd.DataFrame({**features, "reviewed": False, **columns})


def reopened(viewer: Any, path: Path) -> list[Any]:
    viewer.layers.clear()
    return list(viewer.open(path, plugin=NAME))


def messages() -> list[str]:
    return [str(record.message) for record in notification_manager.records]


# ---- which files


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '{"images": [],',
        '{"type": "FeatureCollection", "features": []}',
        '{"images": {}, "annotations": {}}',
        '{"data": {"images": [], "annotations": []}}',
        '[{"image_id": 1, "category_id": 1, "segmentation": [], "score": 1}]',
        '"images": [], "annotations": []',
        "\x00\x01",
    ],
)
def test_other_json_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    assert coco_reader(str(path)) is None


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    assert coco_reader(str(tmp_path / "none.json")) is None
    assert coco_reader(str(tmp_path)) is None
    assert coco_reader([str(tmp_path / "none.json")]) is None


def test_large_files_are_known_by_their_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    filler = '"x": "' + "y" * 3000 + '", '
    path.write_text('\ufeff { "images" :\n [], ' + filler + '"annotations": []}')
    assert coco_reader(str(path)) is not None
    monkeypatch.setattr(coco_sniff, "_PARSED", 100)
    monkeypatch.setattr(coco_sniff, "_CHUNK", 700)
    assert coco_reader(str(path)) is not None
    path.write_text('{"images": [], ' + filler + '"notes": []}')
    assert coco_reader(str(path)) is None


def test_napari_leaves_other_json_alone(viewer: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"features": []}')
    with pytest.raises(ValueError, match="Given reader 'napari' is not a compatible"):
        viewer.open(path)
    assert not viewer.layers


# ---- out and back


def test_an_image_goes_out_and_comes_back(viewer: Any, tmp_path: Path) -> None:
    data = label_image()
    write_array(tmp_path / "cells.tif", (data * 7).astype(np.uint16))
    (image,) = viewer.open(tmp_path / "cells.tif", plugin="napari")
    features = features_of(data, score=np.linspace(0.3, 0.9, 7))
    features["class"] = ["cell", "nucleus"] * 3 + ["cell"]
    features["reviewed"] = [True, False] * 3 + [True]
    first = viewer.add_labels(data, name="cells instances", features=features)
    path = tmp_path / "a.coco.json"
    assert viewer.layers.save(str(path), selected=False) == [str(path)] or path.exists()
    picture, second = reopened(viewer, path)
    assert picture.name == "cells"
    assert second.name == "cells instances"
    np.testing.assert_array_equal(picture.data, image.data)
    assert_same(first, second)
    assert messages() == []


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_labels_alone_keep_dtype_and_large_ids(
    viewer: Any, tmp_path: Path, dtype: str
) -> None:
    data = label_image().astype(dtype)
    if dtype != "uint8":
        data[data == 2] = 70_000
    first = viewer.add_labels(data, features=features_of(data))
    path = tmp_path / "a.coco.json"
    first.save(str(path), plugin=NAME)
    assert path.is_file()
    (second,) = reopened(viewer, path)
    assert_same(first, second)
    assert len(messages()) == 1  # the image is not there
    assert "read without its image" in messages()[0]


@pytest.mark.parametrize("axis", ["z", "t"])
def test_a_stack_goes_out_and_comes_back(
    viewer: Any, tmp_path: Path, axis: str
) -> None:
    data = np.stack([label_image(), np.zeros((40, 50), np.uint16), label_image()])
    data[2][data[2] > 0] += 100
    data[2][data[2] == 102] = 2  # one object through the planes
    features = pd.concat(
        [features_of(data[z], plane=z, score=0.1 * (z + 1)) for z in (0, 2)],
        ignore_index=True,
    )
    pixels = np.arange(data.size, dtype=np.uint16).reshape(data.shape)
    write_array(tmp_path / "film.tif", pixels)
    viewer.open(tmp_path / "film.tif", plugin="napari")
    first = viewer.add_labels(
        data,
        name="film instances",
        features=features,
        axis_labels=(axis, "y", "x"),
        metadata={NAME: {"regions": [{"plane": [1], "box": [0, 0, 40, 50]}]}},
    )
    path = tmp_path / "a.coco.json"
    first.save(str(path), plugin=NAME)
    names = [image.file_name for image in read_coco(path).images]
    assert names == [f"film_{axis}{z:04d}.png" for z in range(3)]
    picture, second = reopened(viewer, path)
    np.testing.assert_array_equal(picture.data, pixels)
    assert_same(first, second)
    regions = second.metadata[NAME]["regions"]
    assert regions == [{"plane": [1], "box": [0, 0, 40, 50]}]
    assert messages() == []
    # And once more, from the layer that was read.
    again = tmp_path / "b.coco.json"
    second.save(str(again), plugin=NAME)
    _, third = reopened(viewer, again)
    assert_same(first, third)
    assert third.metadata[NAME]["regions"] == regions


def overlapping(shape: tuple[int, int] = (40, 50)) -> Instances:
    """Return three squares that overlap, the middle one the surest."""
    masks = tuple(np.full((12, 12), 255, np.uint8) for _ in range(3))
    offsets = np.array([[2, 2], [8, 8], [14, 14]], np.int64)
    boxes = np.concatenate([offsets[:, ::-1], offsets[:, ::-1] + 12], axis=1)
    return Instances(
        shape,
        boxes.astype(np.float32),
        np.array([1, 2, 1]),
        np.array([0.7, 0.9, 0.8], np.float32),
        masks,
        offsets,
        np.array([1, 2, 3]),
        ("cell", "nucleus"),
    )


def take(session: Session, image: Any, position: tuple[int, ...] = ()) -> Labels:
    axes = (image.ndim - 2, image.ndim - 1)
    result = outcome(overlapping())
    session.take(image, Plane(axes, position), result, Recipe(score_threshold=0.75))
    labels = session.results.labels_of(image)
    assert labels is not None
    return labels


def areas(path: Path, plane: int = 0) -> dict[int, int]:
    objects = read_coco(path).images[plane].to_objects()
    return dict(zip(objects.ids.tolist(), objects.runs.areas().tolist(), strict=True))


def test_overlaps_of_a_prediction_survive(
    viewer: Any, session: Session, tmp_path: Path
) -> None:
    image = viewer.add_image(np.zeros((40, 50)), name="cells")
    first = take(session, image)
    assert np.count_nonzero(first.data == 3) == 108
    path = tmp_path / "a.coco.json"
    first.save(str(path), plugin=NAME)
    # Object 1 is below the threshold; 3 lies under 2 and is whole in the file.
    assert areas(path) == {2: 144, 3: 144}
    (second,) = reopened(viewer, path)
    assert_same(first, second)
    again = tmp_path / "b.coco.json"
    second.save(str(again), plugin=NAME)
    assert areas(again) == {2: 144, 3: 144}


def test_what_was_edited_is_written_as_it_is(
    viewer: Any, session: Session, tmp_path: Path
) -> None:
    image = viewer.add_image(np.zeros((40, 50)), name="cells")
    first = take(session, image)
    first.data_setitem((np.array([25]), np.array([25])), 0)  # of object 3
    path = tmp_path / "a.coco.json"
    first.save(str(path), plugin=NAME)
    assert areas(path) == {2: 144, 3: 107}
    (second,) = reopened(viewer, path)
    np.testing.assert_array_equal(first.data, second.data)


def test_overlaps_survive_in_every_plane_of_a_stack(
    viewer: Any, session: Session, tmp_path: Path
) -> None:
    image = viewer.add_image(np.zeros((3, 40, 50)), name="film")
    take(session, image, (2,))
    first = take(session, image, (0,))
    path = tmp_path / "a.coco.json"
    first.save(str(path), plugin=NAME)
    assert [sorted(areas(path, z).values()) for z in range(3)] == [
        [144, 144],
        [],
        [144, 144],
    ]
    (second,) = reopened(viewer, path)
    assert_same(first, second)


def test_several_layers_come_back(viewer: Any, tmp_path: Path) -> None:
    image = viewer.add_image(np.ones((40, 50), np.uint8), name="field")
    cells, nuclei = label_image(), np.roll(label_image(), 3)
    first = [
        viewer.add_labels(cells, name="cells", features=features_of(cells)),
        viewer.add_labels(
            nuclei,
            name="nuclei",
            features=features_of(nuclei, **{"class": "nucleus", "score": 0.5}),
        ),
    ]
    other = viewer.add_labels(np.zeros((9, 9), np.uint16), name="empty")
    path = tmp_path / "a.coco.json"
    viewer.layers.save(str(path), plugin=NAME)
    # Both belong to the only image of their shape, which was saved with them.
    dataset = read_coco(path)
    assert [str(i.file_name) for i in dataset.images] == ["field.png", "empty.png"]
    assert [len(i.to_objects()) for i in dataset.images] == [14, 0]
    assert dataset.faults[0].where == "image 2"  # its image is in no layer
    picture, *second, third = reopened(viewer, path)
    np.testing.assert_array_equal(picture.data, image.data)
    assert [layer.name for layer in second] == ["cells", "nuclei"]
    for before, after in zip(first, second, strict=True):
        assert_same(before, after)
    assert third.data.shape == other.data.shape


# ---- other people's files


def coco(tmp_path: Path, **changes: Any) -> Path:
    square = {"segmentation": [[1, 1, 6, 1, 6, 6, 1, 6]], "area": 25}
    first = {"id": 4, "image_id": 7, "category_id": 18, "iscrowd": 0, **square}
    document: dict[str, Any] = {
        "info": {"year": 2020},
        "images": [
            {"id": 7, "file_name": "a.png", "width": 10, "height": 8, "license": 3}
        ],
        "annotations": [
            {**first, "bbox": [1, 1, 5, 5], "note": "kept"},
            {
                **first,
                "id": 9,
                "iscrowd": 1,
                "segmentation": {"size": [8, 10], "counts": [40, 16, 24]},
                "bbox": [5, 0, 2, 8],
                "area": 16,
            },
            {**first, "id": 11, "category_id": 90, "segmentation": [], "area": 4,
             "bbox": [7, 5, 2, 2]},
        ],
        "categories": [
            {"id": 18, "name": "dog", "supercategory": "animal"},
            {"id": 90, "name": "brush", "colour": "red"},
        ],
    }  # fmt: skip
    document.update(changes)
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(document))
    return path


def test_nothing_of_a_file_is_lost(viewer: Any, tmp_path: Path) -> None:
    write_array(tmp_path / "a.png", np.zeros((8, 10), np.uint8))
    path = coco(tmp_path)
    _, labels, boxes = viewer.open(path, plugin=NAME)
    assert labels.features["class"].tolist() == ["dog"]
    assert boxes.features["class"].tolist() == ["brush"]
    assert "1 of 2 objects cannot be shown" in messages()[0]
    labels.data_setitem((np.array([0]), np.array([9])), 2)  # the crowd region's id
    again = tmp_path / "again.coco.json"
    viewer.layers.selection = {labels, boxes}
    viewer.layers.save(str(again), selected=True, plugin=NAME)
    before, after = json.loads(path.read_text()), json.loads(again.read_text())
    assert after["images"][0]["id"] == 7
    assert after["images"][0]["license"] == 3
    assert [c["id"] for c in after["categories"]][:2] == [18, 90]
    assert after["categories"][1]["colour"] == "red"
    rows = {row["id"]: row for row in after["annotations"]}
    assert set(rows) == {4, 9, 11, 12}
    assert rows[4]["note"] == "kept"
    assert rows[9]["iscrowd"] == 1
    assert rows[9]["area"] == 16
    assert rows[11]["bbox"] == before["annotations"][2]["bbox"]
    assert rows[11]["category_id"] == 90
    assert rows[12]["area"] == 1


def test_missing_images_leave_their_labels(viewer: Any, tmp_path: Path) -> None:
    labels, boxes = viewer.open(coco(tmp_path), plugin=NAME)
    assert type(labels).__name__ == "Labels"
    assert type(boxes).__name__ == "Shapes"
    assert labels.data.shape == (8, 10)
    (message,) = messages()
    assert "theirs.json" in message
    assert "read without its image" in message


def test_images_outside_the_folder_are_never_opened(
    viewer: Any, tmp_path: Path
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    write_array(tmp_path / "secret.png", np.full((8, 10), 200, np.uint8))
    (inner / "link.png").symlink_to(tmp_path / "secret.png")
    names = ["../secret.png", str(tmp_path / "secret.png"), "link.png"]
    images = [
        {"id": number, "file_name": name, "width": 10, "height": 8,
         "source": {"path": name, "axis": "z", "index": 0}}
        for number, name in enumerate(names, start=1)
    ]  # fmt: skip
    layers = viewer.open(coco(inner, images=images), plugin=NAME)
    assert [type(layer).__name__ for layer in layers] == ["Labels"] * 3


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([{"id": 7, "file_name": "a.png", "width": 65535, "height": 65535}], "8.6 GB"),
        (
            [
                {"id": i, "file_name": f"{i}.png", "width": 4, "height": 4,
                 "source": {"path": "a.tif", "axis": "z", "index": i * 10**9}}
                for i in (1, 2)
            ],
            "is not there",
        ),
        (
            [{"id": 7, "file_name": "a.png", "width": 9, "height": 8, "source":
              {"dtype": "object", "path": 3, "index": "x"},
              "reviewed_regions": [[0, "a"], [-5, -5, 1e30, 9], 7]}],
            r"size is \[8, 10\], not \[8, 9\]",
        ),
        ([{"id": 7, "file_name": "a.png"}], "skipped"),
        ([], "is no image"),
        ([None, 3, {}], "has no id"),
    ],
)  # fmt: skip
def test_hostile_files_end_in_one_message(
    viewer: Any, tmp_path: Path, images: list[Any], words: str
) -> None:
    viewer.open(coco(tmp_path, images=images), plugin=NAME)
    (message,) = messages()
    assert re.search(words, message)
    sizes = [sum(part.nbytes for part in layer.data) for layer in viewer.layers]
    assert all(size < 10_000 for size in sizes)


@pytest.mark.parametrize("text", ['{"images": [], "annotations": [,', "[" * 100_000])
def test_broken_files_end_in_one_sentence(
    viewer: Any, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "a.coco.json"
    path.write_text('{"images": [], "annotations": [' + text)
    assert viewer.open(path, plugin=NAME) == []
    (message,) = messages()
    assert message.startswith("a.coco.json was not opened: ")
    assert "\n" not in message


def test_an_image_of_another_size_is_opened_and_named(
    viewer: Any, tmp_path: Path
) -> None:
    write_array(tmp_path / "a.png", np.zeros((16, 20), np.uint8))
    picture, labels, _ = viewer.open(coco(tmp_path), plugin=NAME)
    assert picture.data.shape == (16, 20)
    assert labels.data.shape == (8, 10)
    assert "nothing was resized" in messages()[0]


def test_of_many_images_the_first_are_opened(
    viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco_layers, "MAX_IMAGES", 3)
    images = [CocoImage(f"{i}.png", label_image()) for i in range(2000)]
    path = tmp_path / "many.coco.json"
    write_coco(path, images, mode="rle")
    layers = viewer.open(path, plugin=NAME)
    assert [layer.name for layer in layers] == [f"{i} instances" for i in range(3)]
    assert "The first 3 of 2,000 images were opened" in messages()[0]


def test_the_frames_of_a_video_of_others_are_a_stack(
    viewer: Any, tmp_path: Path
) -> None:
    images = [
        {"id": 20 + i, "file_name": f"v/{i}.png", "width": 10, "height": 8,
         "video_id": 5, "frame_id": i}
        for i in (3, 1, 2)
    ]  # fmt: skip
    for i in (1, 2, 3):
        (tmp_path / "v").mkdir(exist_ok=True)
        write_array(tmp_path / "v" / f"{i}.png", np.full((8, 10), i, np.uint8))
    annotation = {
        "id": 1, "image_id": 22, "category_id": 1, "iscrowd": 0, "area": 25,
        "segmentation": [[1, 1, 6, 1, 6, 6, 1, 6]], "bbox": [1, 1, 5, 5],
    }  # fmt: skip
    path = coco(
        tmp_path,
        images=images,
        annotations=[annotation],
        categories=[{"id": 1, "name": "car"}],
        videos=[{"id": 5, "name": "drive.mp4"}],
    )
    picture, labels = viewer.open(path, plugin=NAME)
    assert picture.name == "drive"
    assert picture.data[:, 0, 0].tolist() == [1, 2, 3]
    assert [int(plane.max()) for plane in labels.data] == [0, 1, 0]
    assert labels.features["plane"].tolist() == [1]


def test_planes_that_are_files_make_the_stack(viewer: Any, tmp_path: Path) -> None:
    stack = np.stack([label_image()] * 3)
    images = plane_images("film.tif", stack)
    exhaust(write_planes(tmp_path, stack.astype(np.uint8), images))
    path = tmp_path / "a.coco.json"
    categories = [Category(5, "object")]
    write_coco(path, images, categories=categories)
    picture, labels = viewer.open(path, plugin=NAME)
    np.testing.assert_array_equal(picture.data, stack.astype(np.uint8))
    np.testing.assert_array_equal(labels.data, stack)
    again = tmp_path / "b.coco.json"
    labels.save(str(again), plugin=NAME)
    dataset = read_coco(again)
    assert [image.path for image in dataset.images] == [
        tmp_path / f"film_t{t:04d}.png" for t in range(3)
    ]
    assert [(c.id, c.name) for c in dataset.categories] == [(5, "object")]


def test_the_sample_is_a_coco_data_set(viewer: Any) -> None:
    layers = viewer.open_sample(NAME, "coco")
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["Image", "Labels"] * 2
    assert set(layers[1].features["class"]) == {"large nucleus", "small nucleus"}
    assert layers[1].features["reviewed"].all()
    assert not layers[3].features["reviewed"].any()


def test_objects_without_pixels_have_no_row() -> None:
    empty = CocoObjects.from_label_image(np.zeros((4, 5), np.uint16), class_names=())
    rows = coco_layers._rows(np.zeros((4, 5), np.uint16), empty)
    assert list(rows.columns) == COLUMNS
    assert not len(rows)
