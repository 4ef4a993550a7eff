"""Generated pictures: the same every time, and like measured ones."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label as components
from skimage.measure import regionprops

from napari_maskrcnn.core.samples import nuclei_field


def test_the_field_is_the_same_every_time() -> None:
    for first, second in zip(nuclei_field(), nuclei_field(), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(nuclei_field(seed=8)[0], nuclei_field()[0])


def test_the_field_is_realistic() -> None:
    image, label_image = nuclei_field()
    assert image.shape == label_image.shape == (512, 512)
    assert image.dtype == label_image.dtype == np.uint16
    np.testing.assert_array_equal(np.unique(label_image), np.arange(111))
    lengths = [region.axis_major_length for region in regionprops(label_image)]
    assert np.percentile(lengths, 5) > 9
    assert np.percentile(lengths, 95) < 45
    # Some touch, so fewer pieces than nuclei remain when the ids are not known.
    assert components(label_image > 0).max() < 105
    on, off = image[label_image > 0], image[label_image == 0]
    assert np.median(on) > 3 * np.median(off) - 200


@pytest.mark.parametrize("shape", [(64, 200), (1, 1), (30, 30)])
def test_the_field_has_any_shape(shape: tuple[int, int]) -> None:
    image, label_image = nuclei_field(shape, 5)
    assert image.shape == label_image.shape == shape
