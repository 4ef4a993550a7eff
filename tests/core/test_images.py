"""From any array or file to the plane that a network sees."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from imageio import v3 as imageio

from napari_maskrcnn.core.images import (
    channel_count,
    image_plane,
    read_image,
    scale_intensity,
    write_array,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari_maskrcnn.core.detector import Detector

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (40, 50, 4), np.uint8)
READ_ONLY = NOISE[..., 0].copy()
READ_ONLY.flags.writeable = False
HOLED = NOISE[..., 0].astype(np.float32)
HOLED[3:6, 4:9] = [np.nan, np.inf, -np.inf, np.nan, np.inf]

GOOD = {
    "1 x 1": np.full((1, 1), 7, np.uint8),
    "1 x 60": NOISE[0, :, 0][None],
    "all NaN": np.full((40, 50), np.nan),
    "NaN and infinite pixels": HOLED,
    "constant": np.full((40, 50), 1000, np.uint16),
    "RGB": NOISE[..., :3],
    "RGBA": NOISE,
    "two channels": NOISE[..., :2],
    "channels first": np.moveaxis(NOISE[..., :3], 2, 0),
    "int32": NOISE[..., 0].astype(np.int32) - (2**31 - 1),
    "uint64": NOISE[..., 0].astype(np.uint64) + 2**40,
    "bool": NOISE[..., 0] > 128,
    "float16": NOISE[..., 0].astype(np.float16),
    "float64": NOISE[..., 0] * 1e300,
    "whole range of float64": (NOISE[..., 0] / 128 - 1) * 1.7e308,
    "big-endian": NOISE[..., 0].astype(">u2"),
    "read-only": READ_ONLY,
    "not contiguous": NOISE[::-1, ::-2, 1],
    "list": [[0, 1], [2, 3]],
}
BAD = {
    "empty": (np.zeros((0, 5)), r"empty: its shape is \(0, 5\)"),
    "complex": (np.zeros((40, 50), np.complex64), "real numbers, got dtype complex64"),
    "text": (np.full((4, 4), "a"), "real numbers"),
    "objects": (np.full((4, 4), None), "real numbers, got dtype object"),
    "1-D": (np.zeros(5), r"has 1: shape \(5,\)"),
    "5-D": (np.zeros((1, 2, 3, 40, 50)), "Choose one plane"),
    "a stack": (np.zeros((40, 50, 60)), "is a stack, not an image"),
}


@pytest.mark.parametrize("image", GOOD.values(), ids=list(GOOD))
def test_any_real_image_becomes_a_plane(image: Any) -> None:
    plane = image_plane(image)
    shape = np.shape(image)
    shape = shape[1:] if len(shape) == 3 and shape[0] == 3 else shape
    assert plane.shape == (*shape[:2], 3)
    assert plane.dtype == np.float32
    assert plane.min() >= 0
    assert plane.max() <= 1


@pytest.mark.parametrize("image", GOOD.values(), ids=list(GOOD))
def test_any_real_image_can_be_segmented(image: Any, detector: Detector) -> None:
    found = detector.detect(image, object_size=24)
    label_image = found.filter(score_threshold=0.5).to_label_image()
    assert label_image.shape == image_plane(image).shape[:2]
    automatic = detector.encode(image)
    assert math.isfinite(automatic.object_size)
    assert automatic.object_size > 0


@pytest.mark.parametrize(("image", "message"), BAD.values(), ids=list(BAD))
def test_what_is_no_image_gets_one_clear_line(
    image: Any, message: str, detector: Detector
) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        image_plane(image)
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=message):
        detector.detect(image)


@pytest.mark.parametrize("name", GOOD)
def test_contrast_is_used_where_there_is_some(name: str) -> None:
    flat = name in ("1 x 1", "all NaN", "constant", "whole range of float64")
    highest = image_plane(GOOD[name]).max()
    assert (highest == 0) if flat else (highest > 0.9)


def test_the_image_is_not_changed() -> None:
    before = HOLED.copy()
    image_plane(HOLED)
    np.testing.assert_array_equal(HOLED, before)


@given(
    arrays.arrays(
        np.float64,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(width=64) | st.sampled_from([0.0, 1.0]),
    )
)
def test_any_floats_are_scaled_into_the_unit_range(values: np.ndarray) -> None:
    scaled = scale_intensity(values)
    assert np.isfinite(scaled).all()
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    finite = np.isfinite(values)
    assert (scaled[~finite] == 0).all()
    # Brighter stays brighter, or becomes equal.
    order = np.argsort(values[finite], kind="stable")
    assert (np.diff(scaled[finite][order]) >= 0).all()


@given(
    st.sampled_from([np.uint8, np.uint16, np.int32, np.float32]),
    st.floats(0.1, 100),
    st.integers(0, 2**31),
)
def test_gain_and_offset_do_not_matter(dtype: Any, gain: float, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 100, (20, 30))
    plane = image_plane(image.astype(dtype))
    np.testing.assert_allclose(image_plane(image * gain - 40), plane, atol=1e-5)


def test_percentiles_become_zero_and_one() -> None:
    image = np.arange(100_000, dtype=np.float64).reshape(250, 400)
    plane = image_plane(image)[..., 0]
    assert plane.ravel()[1000] == pytest.approx(0, abs=1e-4)
    assert plane.ravel()[99_800] == pytest.approx(1, abs=1e-4)
    assert plane.ravel()[50_400] == pytest.approx(0.5, abs=1e-3)


def test_a_few_bright_pixels_on_an_even_ground_show() -> None:
    image = np.zeros((100, 100), np.uint16)
    image[50, 50] = 900
    assert image_plane(image)[50, 50].tolist() == [1, 1, 1]
    assert image_plane(image).sum() == 3


def test_colours_keep_their_hue_and_alpha_is_dropped() -> None:
    image = np.zeros((40, 50, 4), np.uint8)
    image[..., 0] = np.arange(50) * 2
    image[..., 1] = np.arange(50)
    image[..., 3] = 255
    plane = image_plane(image)
    assert plane[..., 0].max() == 1
    assert plane[..., 1].max() == pytest.approx(0.5, abs=0.02)
    assert (plane[..., 2] == 0).all()


def test_a_channel_can_be_chosen() -> None:
    for channel in range(4):
        np.testing.assert_array_equal(
            image_plane(NOISE, channel=channel), image_plane(NOISE[..., channel])
        )
    mean = image_plane(NOISE[..., :3], rgb=False)
    assert (mean[..., 0] == mean[..., 2]).all()
    with pytest.raises(ValueError, match=r"channel must be from 0 to 3 .* got 4"):
        image_plane(NOISE, channel=4)
    with pytest.raises(ValueError, match="got -1"):
        image_plane(NOISE, channel=-1)


def test_channels_are_counted() -> None:
    assert channel_count((40, 50)) == 1
    assert channel_count((40, 50, 4)) == 4
    assert channel_count((2, 40, 50)) == 2


# ------------------------------------------------------------------ files


@pytest.mark.parametrize(
    ("ending", "dtype"),
    [("png", np.uint8), ("png", np.uint16), ("tif", np.float32), ("tif", np.uint16),
     ("bmp", np.uint8), ("tiff", np.int32)],
)  # fmt: skip
def test_values_come_back_from_a_file(tmp_path: Path, ending: str, dtype: Any) -> None:
    image = (NOISE[..., 0] * (1 if dtype == np.uint8 else 200.0)).astype(dtype)
    path = tmp_path / f"image.{ending}"
    write_array(path, image)
    back = read_image(path)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, image)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_picture_in_a_gif_is_a_picture(tmp_path: Path) -> None:
    """Readers give even a lone picture an axis for its frames."""
    for name, image in (("grey", NOISE[..., 0]), ("colour", NOISE[..., :3])):
        imageio.imwrite(tmp_path / f"{name}.gif", image)
        plane = image_plane(read_image(tmp_path / f"{name}.gif"))
        assert plane.shape == (40, 50, 3)


def test_a_big_endian_tiff_can_be_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", NOISE[..., 0].astype(np.uint16), byteorder=">")
    back = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image_plane(back), image_plane(NOISE[..., 0]))


@pytest.mark.parametrize("ending", ["png", "tif", "jpg", "xyz"])
@pytest.mark.parametrize("content", [b"", b"This is a text\nof two lines", b"\x89PNG"])
def test_other_files_get_one_clear_line(
    tmp_path: Path, ending: str, content: bytes
) -> None:
    path = tmp_path / f"notes.{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"notes.{ending} could not be read") as error:
        read_image(path)
    assert "\n" not in str(error.value)
    if ending != "tif":
        assert str(error.value).endswith("its format is not known, or it is damaged")


def test_a_truncated_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    imageio.imwrite(path, NOISE[..., :3])
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"a\.png could not be .* file is truncated"):
        read_image(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such image file: .*missing\.png"):
        read_image(tmp_path / "missing.png")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_array(path, NOISE[..., 0])
    with pytest.raises((OSError, TypeError, ValueError)):
        write_array(path, NOISE[..., 0].astype(np.complex64))
    np.testing.assert_array_equal(read_image(path), NOISE[..., 0])
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
