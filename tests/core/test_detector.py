"""The detector against torchvision's own forward, with windows and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core import detector as detector_module

import numpy as np
import pytest
import torch
from tiny_network import NATIVE_SIZE, tiny_checkpoint
from torchvision.ops import box_iou

from napari_maskrcnn.core.detector import Detector, load_model
from napari_maskrcnn.core.encoding import rescale
from napari_maskrcnn.core.images import image_plane
from napari_maskrcnn.core.progress import Progress, exhaust
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_maskrcnn.core.checkpoints import Checkpoint
    from napari_maskrcnn.core.instances import Instances

    Sample = tuple[NDArray[np.uint16], NDArray[np.uint16]]


def torchvision_result(
    detector: Detector, image: NDArray[np.uint16]
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.uint16]]:
    """What `MaskRCNN.forward` finds with the same network, and its label image."""
    network = detector.network
    height, width = image.shape[:2]
    # Without resizing.
    network.transform.min_size = (min(height, width),)
    network.transform.max_size = max(height, width)
    pixels = torch.from_numpy(image_plane(image)).permute(2, 0, 1)
    with torch.no_grad():
        (found,) = network([pixels])
    arrays = {key: value.numpy() for key, value in found.items()}
    label_image = np.zeros((height, width), np.uint16)
    # Rising, so that the higher score has the shared pixel.
    for index in np.argsort(arrays["scores"], kind="stable"):
        label_image[arrays["masks"][index, 0] >= 0.5] = index + 1
    return arrays, label_image


@pytest.mark.parametrize("spread", [True, False])
# Such that no side is rounded to whole strides.
@pytest.mark.parametrize("shape", [(96, 128), (85, 77), (39, 83), (20, 20)])
@pytest.mark.usefixtures("torchvisions_rounding")
def test_the_result_is_torchvisions(shape: tuple[int, int], spread: bool) -> None:
    detector = Detector(
        tiny_checkpoint(spread=spread),
        "cpu",
        precision=torch.float32,
        proposals_per_object=None,  # torchvision knows no such cap
    )
    # Random weights are sure of little.
    detector.network.rpn.score_thresh = 0.0
    detector.network.roi_heads.score_thresh = 0.02
    detector.network.roi_heads.nms_thresh = 0.6
    image = nuclei_field(shape, 20, seed=1)[0]
    found = detector.detect(image, object_size=NATIVE_SIZE, max_detections=100)
    expected, label_image = torchvision_result(detector, image)
    assert len(found) == len(expected["scores"]) > 2
    np.testing.assert_allclose(found.boxes, expected["boxes"], atol=1e-3)
    np.testing.assert_allclose(found.scores, expected["scores"], atol=1e-5)
    np.testing.assert_array_equal(found.class_ids, expected["labels"])
    np.testing.assert_array_equal(found.to_label_image(), label_image)
    assert label_image.any()


def test_each_step_can_be_had_alone(detector: Detector, field: Sample) -> None:
    encoding = detector.encode(field[0], object_size=24)
    direct = detector.detect(field[0], object_size=24)
    kept = detector.detect(encoding)
    _, through = exhaust(detector.segment(field[0], Recipe(object_size=24)))
    for other in (kept, through):
        np.testing.assert_array_equal(direct.boxes, other.boxes)
        np.testing.assert_array_equal(direct.scores, other.scores)
        np.testing.assert_array_equal(direct.to_label_image(), other.to_label_image())
    assert encoding.image_shape == field[0].shape
    assert encoding.nbytes > 0
    assert encoding.scale == (1, 1)
    with pytest.raises(ValueError, match="belong to the encoding"):
        detector.detect(encoding, object_size=30)


def test_detections_are_sorted_and_above_the_floor(
    detector: Detector, field: Sample
) -> None:
    found = detector.detect(field[0], object_size=24)
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores.min() >= 0.05
    assert found.ids.tolist() == list(range(1, len(found) + 1))
    assert found.class_names == ("disc", "ring")
    assert set(found.class_ids.tolist()) <= {1, 2}


def test_objects_come_back_in_pixels_of_the_image(
    detector: Detector, field: Sample
) -> None:
    """An image half as large with objects half as large: boxes half as large."""
    half = image_plane(field[0])[::2, ::2]
    image = rescale(half, field[0].shape).permute(1, 2, 0).numpy()
    assert detector.encode(half, object_size=12).network_shape == image.shape[:2]
    large = detector.detect(image, object_size=24)
    small = detector.detect(half, object_size=12)
    assert small.image_shape == half.shape[:2]
    best = small.boxes[0] * 2
    assert np.abs(large.boxes - best).max(axis=1).min() < 0.5


def test_large_objects_are_not_shrunk_more_than_need_be(detector: Detector) -> None:
    """The network's own size is 24 pixels: larger ones are seen as they are."""
    image = nuclei_field((160, 192), 5)[0]
    shapes = [detector.encode(image, object_size=d).network_shape for d in (24, 36, 72)]
    assert shapes == [(160, 192), (160, 192), (80, 96)]


def test_segmenting_says_how_far_it_is(detector: Detector, field: Sample) -> None:
    for size in (None, 24):
        events = list(detector.segment(field[0], Recipe(object_size=size)))
        assert all(isinstance(event, Progress) for event in events)
        assert [event.done for event in events[-1:]] == [events[-1].total]
        messages = list(dict.fromkeys(event.message for event in events))
        measuring = ["Measuring the objects"] if size is None else []
        assert messages == [
            "Preparing the image", *measuring, "Encoding", "Finding objects",
        ]  # fmt: skip


def test_stopping_leaves_no_mark(detector: Detector, field: Sample) -> None:
    """Wherever it is stopped: gradients and autocast belong to the thread."""
    steps = len(list(detector.segment(field[0], Recipe(object_size=24))))
    for stop in range(0, steps, max(1, steps // 4)):
        work = detector.segment(field[0], Recipe(object_size=24))
        for _ in range(stop + 1):
            next(work)
            assert torch.is_grad_enabled()
            assert not torch.is_autocast_enabled("cpu")
        work.close()
        assert torch.is_grad_enabled()


def test_the_same_image_gives_the_same_instances(
    detector: Detector, field: Sample
) -> None:
    first, second = (detector.detect(field[0]) for _ in range(2))
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.to_label_image(), second.to_label_image())


def test_a_cap_that_is_reached_is_said(detector: Detector, field: Sample) -> None:
    every = detector.detect(field[0], object_size=24)
    assert not any("cap" in warning for warning in every.warnings)
    few = detector.detect(field[0], object_size=24, max_detections=3)
    assert len(few) == 3
    assert any("cap of 3 objects" in warning for warning in few.warnings)
    np.testing.assert_array_equal(few.scores, every.scores[:3])


def test_an_object_size_that_asks_for_terabytes_is_refused(detector: Detector) -> None:
    image = np.broadcast_to(np.arange(100, dtype=np.uint8), (4000, 100))
    wide = np.broadcast_to(image[:, :1], (4000, 4000))
    with pytest.raises(ValueError, match="larger object size or crop"):
        detector.encode(wide, object_size=1)
    with pytest.raises(ValueError, match="object_size must be from 1"):
        detector.encode(image, object_size=0)


# ------------------------------------------------------------------ windows


@pytest.fixture
def small_windows(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> Detector:
    monkeypatch.setitem(detector_module.WINDOWS, "cpu", 160)
    monkeypatch.setattr(detector_module, "HALO", 48)
    return with_many_proposals(checkpoint)


def with_many_proposals(checkpoint: Checkpoint) -> Detector:
    """A detector that looks at many: which are best, random weights cannot tell."""
    detector = Detector(
        checkpoint, "cpu", precision=torch.float32, proposals_per_object=8.0
    )
    detector.network.rpn.score_thresh = 0.05
    detector.network.rpn.nms_thresh = 0.7
    return detector


@pytest.fixture(scope="module")
def wide_image() -> NDArray[np.uint16]:
    return nuclei_field((160, 352), 55, seed=4)[0]


def agreement(a: Instances, b: Instances) -> float:
    """Part of the objects of each that the other has too, the smaller of the two."""
    boxes = (
        torch.from_numpy(i.filter(score_threshold=0.5).boxes.copy()) for i in (a, b)
    )
    same = box_iou(*boxes) > 0.5
    return min(float(same.any(axis).float().mean()) for axis in (0, 1))


def test_windows_that_were_not_kept_are_encoded_again(
    small_windows: Detector, wide_image: NDArray[np.uint16]
) -> None:
    """From half-precision pixels: next to nothing changes."""
    kept = small_windows.encode(wide_image, object_size=24)
    assert len(kept.plan) > 3
    assert all(kept.windows)
    assert kept.pixels is None
    small_windows.budget = 0
    lost = small_windows.encode(wide_image, object_size=24)
    assert not any(lost.windows)
    assert lost.nbytes == 3 * 2 * wide_image.size
    small_windows.budget = kept.nbytes // 2
    half = small_windows.encode(wide_image, object_size=24)
    assert any(half.windows)
    assert not all(half.windows)
    assert half.nbytes <= small_windows.budget + lost.nbytes
    expected, *others = (
        small_windows.detect(encoding, max_detections=40)
        for encoding in (kept, lost, half)
    )
    for other in others:
        assert agreement(expected, other) > 0.95


def test_windows_cover_the_objects_of_the_whole(
    small_windows: Detector, wide_image: NDArray[np.uint16], checkpoint: Checkpoint
) -> None:
    """A random network sees far, so near the seams it differs a little."""
    whole = with_many_proposals(checkpoint).detect(
        wide_image, object_size=24, max_detections=160
    )
    windows = small_windows.detect(wide_image, object_size=24, max_detections=40)
    assert agreement(whole, windows) > 0.8
    assert windows.image_shape == wide_image.shape
    assert (np.diff(windows.scores) <= 0).all()


# ------------------------------------------------------------------ loading


def test_a_model_is_loaded_by_name_or_file(tiny_file: Path) -> None:
    by_name = load_model("tiny", "cpu", precision=torch.float32)
    by_file = load_model(tiny_file, "cpu", budget=7)
    assert by_name.name == by_file.name == "tiny"
    assert by_name.native_size == NATIVE_SIZE
    assert by_name.precision == torch.float32
    assert by_file.budget == 7
    assert not any(p.requires_grad for p in by_name.network.parameters())
    assert not by_name.network.training


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there_is_named(tiny_file: Path, device: str) -> None:
    with pytest.raises(ValueError, match=f"{device!r}"):
        load_model(tiny_file, device)


def test_nothing_is_found_where_nothing_is_to_be_seen() -> None:
    starter = load_model("nuclei", "cpu")
    for shape in [(1, 1), (40, 1), (64, 64), (90, 40, 3)]:
        for value in (0, 7, 255, np.nan):
            _, found = exhaust(starter.segment(np.full(shape, value)))
            assert len(found) == 0


def test_a_tiny_image_does_no_harm_to_the_next(
    checkpoint: Checkpoint, field: Sample
) -> None:
    """Torchvision's poolers take the strides from the first image that they see."""
    first, second = (Detector(checkpoint, "cpu") for _ in range(2))
    tiny = field[0][:1, :1]
    first.detect(tiny, object_size=24)
    found, expected = (d.detect(field[0], object_size=24) for d in (first, second))
    assert len(expected) > 0
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, expected.scores)
