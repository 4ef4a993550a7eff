"""The object size is found whatever it is; with the bundled model."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from napari_maskrcnn.core import sizing

import numpy as np
import pytest
import torch
from skimage import data
from skimage.transform import resize

from napari_maskrcnn.core.checkpoints import Checkpoint, read_checkpoint
from napari_maskrcnn.core.dataset import object_size
from napari_maskrcnn.core.detector import Detector, load_model
from napari_maskrcnn.core.model_list import find_model
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.core.sizing import _contrast


@cache
def starter() -> Detector:
    return load_model("nuclei", "cpu")


def found_size(image: np.ndarray) -> float:
    encoding, _ = exhaust(starter().segment(image))
    assert encoding.object_size is not None
    return encoding.object_size


def field(width: int) -> np.ndarray:
    """Return some twenty objects of that width."""
    image, label_image = nuclei_field((160, 200), 20)
    zoom = width / object_size(label_image.astype(np.int32))
    shape = [round(length * zoom) for length in image.shape]
    return resize(image, shape, preserve_range=True, anti_aliasing=zoom < 1)


@pytest.mark.parametrize("width", [6, 10, 16, 24, 40, 70, 150])
def test_objects_of_any_size_are_measured(width: int) -> None:
    assert found_size(field(width)) == pytest.approx(width, rel=0.4)


def test_one_large_object_on_an_empty_ground() -> None:
    """Magnified, the noise of the ground looks like many small ones."""
    assert found_size(data.cell()) == pytest.approx(128, rel=0.25)


def test_a_few_objects_between_two_sizes_that_are_assumed() -> None:
    """Four coins of 37 pixels: too few to look again, and neither 24 nor 60."""
    assert found_size(data.coins()[:128, :128]) == pytest.approx(37, rel=0.2)


def used_to(usual_size: float) -> Detector:
    checkpoint = read_checkpoint(find_model("nuclei"))
    return Detector(
        Checkpoint({**checkpoint.config, "usual_size": usual_size}, checkpoint.state),
        "cpu",
    )


def test_the_size_that_a_model_learnt_from_comes_first() -> None:
    """Small objects are there, too, as the wrinkles of a date are."""
    image, small = field(100), field(20)
    image[: len(small), : 2 * small.shape[1]] = np.tile(small, 2)
    assert found_size(image) == pytest.approx(20, rel=0.25)
    assert used_to(100).encode(image).object_size == pytest.approx(100, rel=0.25)


@pytest.mark.parametrize("usual_size", [12.0, 48.0, 140.0])
def test_a_usual_size_that_is_wrong_does_no_harm(usual_size: float) -> None:
    encoding = used_to(usual_size).encode(field(24))
    assert encoding.object_size == pytest.approx(24, rel=0.4)


@pytest.mark.parametrize("shape", [(1, 300), (300, 1)])
def test_a_line_of_noise_comes_to_an_end(shape: tuple[int, int]) -> None:
    """Its boxes are as thin as it is: smaller than any size that is assumed."""
    image = np.random.default_rng(0).random(shape)
    assert starter().encode(image).image_shape == shape


def test_nearly_the_same_size_is_not_assumed_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scales: list[float] = []

    def blind(_network: Any, _plane: Any, scale: float, *_: Any) -> Any:
        scales.append(scale)
        yield
        return sizing._Pass(*np.zeros((3, 0)), None)

    monkeypatch.setattr(sizing, "_look", blind)
    for usual_size, expected in ((130.0, 4), (38.0, 5)):
        scales.clear()
        used_to(usual_size).encode(field(24)[:64, :64])
        assert len(scales) == expected
        assert scales[0] == 33 / usual_size


def test_boxes_that_the_search_found_are_not_looked_for_again() -> None:
    """But they are with the heads of another network, and under another cap."""
    image = field(24)
    detector, other = starter(), load_model("nuclei", "cpu")
    encoding = detector.encode(image)
    (window,) = encoding.windows
    assert window is not None
    assert window.found is not None
    looks: list[str] = []
    for name, one in (("its own", detector), ("other", other)):
        head = one.network.roi_heads.box_head
        head.register_forward_hook(lambda *_, name=name: looks.append(name))
    found = detector.detect(encoding)
    assert looks == []
    fresh = replace(encoding, windows=(replace(window, found=None),))
    again = detector.detect(fresh)
    assert looks == ["its own"]
    np.testing.assert_array_equal(found.boxes, again.boxes)
    np.testing.assert_array_equal(found.to_label_image(), again.to_label_image())
    other.detect(encoding)
    assert looks == ["its own", "other"]
    assert len(detector.detect(encoding, max_detections=3)) == 3
    assert looks == ["its own", "other", "its own"]


def test_a_cap_for_one_image_does_not_change_the_size_of_the_next() -> None:
    image = field(12)
    detector = load_model("nuclei", "cpu")
    size = detector.encode(image).object_size
    detector.detect(image, max_detections=3)
    assert detector.encode(image).object_size == size


@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 50, 3)])
def test_an_even_ground_is_not_looked_at(shape: tuple[int, ...]) -> None:
    plane = np.full(shape, 0.3, np.float32)
    # There is no network that could be asked.
    work = sizing.estimate_object_size(None, plane, 33.0, torch.float32)  # type: ignore[arg-type]
    assert exhaust(work) == sizing.SizeEstimate(24.0, 24.0)


def test_contrast_in_and_around_a_box() -> None:
    grey = np.zeros((40, 60), np.float32)
    grey[10:20, 10:20] = 1
    boxes = np.array([[10, 10, 20, 20], [40, 20, 50, 30], [58, 38, 70, 50.0]])
    found = _contrast(grey, boxes)
    assert found[0] > 0.3
    # The last lies beyond the image.
    assert found[1:].tolist() == [0, 0]
