"""Models that see whole images; and those of them that give boxes or keypoints."""

from __future__ import annotations

import csv
import importlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_maskrcnn.core.batch import segment_files
from napari_maskrcnn.core.checkpoint_config import checked_config
from napari_maskrcnn.core.checkpoints import Checkpoint
from napari_maskrcnn.core.coco import read_coco
from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.images import image_plane, read_image, write_array
from napari_maskrcnn.core.outlines import outlines
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from numpy.typing import NDArray

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIZE = (96, 160)


def colours(shape: tuple[int, int] = (60, 90), seed: int = 1) -> NDArray[np.uint8]:
    planes = [nuclei_field(shape, 15, seed=seed + k)[0] for k in range(3)]
    image = np.stack(planes, axis=2).astype(np.float64)
    return (20 + 150 * image / image.max()).astype(np.uint8)


def whole(name: str) -> Detector:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        script = importlib.import_module("same_as_torchvision")
    classes = ["person"] if name.startswith("keypoint") else ["disc", "ring"]
    checkpoint = script.random_checkpoint(name, classes, SIZE, colours())
    return Detector(checkpoint, "cpu", name=name, precision=torch.float32)


@pytest.fixture(scope="module")
def masks() -> Detector:
    return whole("maskrcnn_resnet18_fpn")


@pytest.fixture(scope="module")
def boxes() -> Detector:
    return whole("fasterrcnn_resnet50_fpn")


@pytest.fixture(scope="module")
def keypoints() -> Detector:
    return whole("keypointrcnn_resnet50_fpn")


# ------------------------------------------------------------------ the image


def test_8_bit_colours_are_left_as_they_are() -> None:
    image = colours()
    plane = image_plane(image, keep_8_bit=True)
    np.testing.assert_array_equal(plane, image.astype(np.float32) / 255)
    with_alpha = np.dstack([image, image[..., :1]])
    np.testing.assert_array_equal(image_plane(with_alpha, keep_8_bit=True), plane)
    for other in (image.astype(np.uint16), image[..., 0], image / 255):
        np.testing.assert_array_equal(
            image_plane(other, keep_8_bit=True), image_plane(other)
        )
    assert image_plane(image).max() > plane.max()


def test_an_image_is_one_window_of_the_size_that_the_model_wants(
    masks: Detector,
) -> None:
    encoding = masks.encode(colours((60, 90)))
    assert encoding.network_shape == (96, 144)
    assert len(encoding.plan) == 1
    assert encoding.object_size is None
    # The longer side has a limit.
    assert masks.encode(colours((40, 90))).network_shape == (71, 160)


def test_an_object_size_makes_no_difference(masks: Detector) -> None:
    image = colours()
    expected = masks.detect(image, max_detections=5)
    found = masks.detect(image, object_size=30, max_detections=5)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    assert "makes no difference" in found.warnings[0]
    assert found.warnings[1:] == expected.warnings
    assert not any("difference" in warning for warning in expected.warnings)


def test_a_window_that_was_not_kept_is_encoded_again(masks: Detector) -> None:
    image = colours()
    expected = masks.detect(image, max_detections=5)
    lean = replace(
        masks.encode(image), windows=(None,), pixels=torch.from_numpy(
            image_plane(image, keep_8_bit=True)).permute(2, 0, 1)
    )  # fmt: skip
    np.testing.assert_array_equal(
        masks.detect(lean, max_detections=5).boxes, expected.boxes
    )


def test_caps_are_the_networks_own_unless_one_is_asked_for(masks: Detector) -> None:
    encoding = masks.encode(colours())
    every = masks.detect(encoding)
    assert 3 < len(every) <= 100
    assert every.scores.min() > 0.05
    few = masks.detect(encoding, max_detections=3)
    np.testing.assert_array_equal(few.scores, every.scores[:3])
    assert masks.network.roi_heads.detections_per_img == 3
    next(masks.detect_steps(encoding))
    assert masks.network.roi_heads.detections_per_img == 100


def test_prompts_work_without_an_object_size(masks: Detector) -> None:
    encoding = masks.encode(colours())
    assert masks.prompt_box(encoding, (10, 10, 50, 40)).areas[0] > 0
    found = masks.prompt_point(encoding, (20.0, 30.0))
    assert len(found) == 1
    assert found.masks[0].max() >= 128


# ------------------------------------------------------------------ boxes, keypoints


def test_boxes_come_without_masks(boxes: Detector) -> None:
    assert boxes.output_kind == "boxes"
    found = boxes.detect(colours())
    assert len(found) > 3
    assert not found.has_masks
    np.testing.assert_array_equal(found.offsets, np.floor(found.boxes[:, [1, 0]]))
    kept = Recipe(score_threshold=0.3, nms_threshold=0.2).apply(found)
    assert 0 < len(kept) < len(found)
    nothing = Recipe(score_threshold=1.0).apply(found)
    assert not nothing.has_masks


def test_keypoints_come_with_their_skeleton(keypoints: Detector) -> None:
    found = keypoints.detect(colours(), max_detections=5)
    assert not found.has_masks
    assert found.keypoints is not None
    assert found.keypoints.shape == (len(found), 17, 3)
    assert found.skeleton == keypoints.skeleton
    assert found.skeleton.names[0] == "nose"
    # Each in its object's box, but for a rounding.
    low, high = found.boxes[:, None, :2] - 1, found.boxes[:, None, 2:] + 1
    places = found.keypoints[..., :2]
    assert ((places >= low) & (places <= high)).all()


@pytest.mark.parametrize("kind", ["boxes", "keypoints"])
def test_prompts_need_masks(kind: str, request: pytest.FixtureRequest) -> None:
    detector = request.getfixturevalue(kind)
    encoding = detector.encode(colours())
    for prompt in (
        lambda: detector.prompt_box(encoding, (10, 10, 50, 40)),
        lambda: detector.prompt_point(encoding, (20.0, 30.0)),
    ):
        with pytest.raises(ValueError, match="this model gives boxes only"):
            prompt()


@pytest.mark.parametrize("kind", ["boxes", "keypoints"])
def test_files_are_written_without_label_images(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    detector = request.getfixturevalue(kind)
    path, out = tmp_path / "a.png", tmp_path / "out"
    write_array(path, colours())
    recipe = Recipe(score_threshold=0.2, max_detections=5)
    (result,) = exhaust(segment_files(detector, [path], out, recipe))
    assert sorted(entry.name for entry in out.iterdir()) == [
        "a_objects.csv", "a_overlay.png", "annotations.coco.json", "recipe.json",
    ]  # fmt: skip
    found = recipe.apply(detector.detect(colours(), max_detections=5))
    assert len(result.instances) == len(found) > 0
    with (out / "a_objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    corners = [[float(row[k]) for k in ("x_min", "y_min")] for row in rows]
    np.testing.assert_allclose(corners, found.boxes[:, :2], atol=0.01)
    if kind == "keypoints":
        nose = [[float(row[f"nose_{k}"]) for k in ("x", "y", "score")] for row in rows]
        np.testing.assert_allclose(nose, found.keypoints[:, 0], atol=0.01)
    drawn, plain = read_image(out / "a_overlay.png"), image_plane(colours())
    changed = np.abs(drawn / 255 - plain).max(axis=2) > 0.02
    np.testing.assert_array_equal(changed & (outlines(found) == 0), False)
    assert changed.any()
    (image,) = read_coco(out / "annotations.coco.json").images
    objects = image.to_objects()
    np.testing.assert_allclose(objects.boxes, found.boxes, atol=0.01)
    assert not objects.runs.areas().any()


# ------------------------------------------------------------------ configurations


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"object_size": 30.0}, "has both object_size and image_size"),
        ({"image_size": None}, "image_size .* must be the shorter side"),
        ({"image_size": [800]}, "image_size .* got \\[800\\]"),
        ({"image_size": [800, 600]}, "image_size"),
        ({"image_size": [0.5, 600]}, "image_size"),
        ({"keypoints": {"names": ["a"], "bones": [[0, 1]]}}, "bones as pairs"),
        ({"keypoints": {"bones": []}}, "keypoints .* must be names"),
    ],
)
def test_a_configuration_that_makes_no_sense(
    change: dict[str, Any], message: str
) -> None:
    config = {
        "architecture": {"name": "maskrcnn_resnet50_fpn", "arguments": {}},
        "class_names": ["a"],
        "image_size": [800, 1333],
    }
    assert checked_config(config, "x") is config
    with pytest.raises(ValueError, match=message):
        checked_config({**config, **change}, "x")


def test_a_keypoint_model_must_name_them(keypoints: Detector) -> None:
    config = {k: v for k, v in keypoints.config.items() if k != "keypoints"}
    with pytest.raises(ValueError, match="of x lacks 'keypoints'"):
        checked_config(config, "x")


def test_models_of_another_image_size_need_other_encodings(masks: Detector) -> None:
    state = masks.network.state_dict()
    ids = {
        Checkpoint({**masks.config, "image_size": size}, state).trunk_id
        for size in ([96, 160], [96, 192])
    }
    assert len(ids) == 2
    assert masks.trunk_id in ids
