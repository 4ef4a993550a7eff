"""What is said of an image before it is segmented."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_maskrcnn.core.image_warnings import (
    NOISE_WARNING,
    image_warnings,
    is_plain_noise,
)
from napari_maskrcnn.core.images import image_plane
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_maskrcnn.core.detector import Detector


def noise(sigma: float, seed: int = 0) -> NDArray[np.float64]:
    values = np.random.default_rng(seed).normal(size=(256, 256))
    return np.asarray(gaussian_filter(values, sigma))


@pytest.mark.parametrize("sigma", [0, 0.7, 1, 2, 4])
def test_noise_of_any_width_is_told(sigma: float) -> None:
    assert is_plain_noise(image_plane(noise(sigma)))
    photons = np.random.default_rng(1).poisson(30, (256, 256)).astype(np.float64)
    assert is_plain_noise(image_plane(gaussian_filter(photons, sigma)))


@given(st.integers(0, 2**32), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_gain_and_offset_change_nothing(seed: int, gain: float, offset: float) -> None:
    values = noise(1, seed)
    plain = is_plain_noise(image_plane(values))
    assert is_plain_noise(image_plane(values * gain + offset)) == plain


@pytest.mark.parametrize(
    "name",
    ["coins", "cell", "camera", "grass", "gravel", "brick", "immunohistochemistry"],
)
def test_pictures_of_something_are_not_noise(name: str) -> None:
    assert not is_plain_noise(image_plane(getattr(data, name)()))


@pytest.mark.parametrize("count", [3, 20, 150])
def test_nuclei_are_not_noise(count: int) -> None:
    assert not is_plain_noise(image_plane(nuclei_field((256, 256), count)[0]))


def test_what_says_too_little_is_not_noise() -> None:
    assert not is_plain_noise(np.zeros((256, 256, 3), np.float32))
    assert not is_plain_noise(image_plane(noise(1)[:60, :60]))


def test_whole_images_and_sizes() -> None:
    plane = image_plane(noise(1))
    assert image_warnings(plane, 33.0, 12.0) == [NOISE_WARNING]
    # A network of photographs; and its size is not the person's to say.
    assert image_warnings(plane, None, None) == []
    (sentence,) = image_warnings(plane, None, 12.5)
    assert "the object size of 12.5 pixels makes no difference" in sentence


def test_the_result_tells(
    detector: Detector, field: tuple[NDArray[np.uint16], NDArray[np.uint16]]
) -> None:
    for image, warnings in ((noise(2), 1), (field[0], 0)):
        found = detector.detect(detector.encode(image, object_size=24))
        assert found.warnings.count(NOISE_WARNING) == warnings
