"""From any array or file to the plane that a network sees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .atomic import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Percentiles that become 0 and 1. Nuclei may cover a small part of a dark image, so
# the upper one stays close to the maximum.
LOW_PERCENTILE, HIGH_PERCENTILE = 1.0, 99.8
# An axis of up to this many entries is taken for channels rather than for space.
MAX_CHANNELS = 8
# Percentiles are read off about this many values at most: more no longer move them.
PERCENTILE_SAMPLES = 4_000_000
IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
TIFF_SUFFIXES = (".tif", ".tiff")
# What is added to an image's name for its label image.
LABELS_ENDING = "_labels"


def image_plane(
    array: Any,
    *,
    channel: int | None = None,
    rgb: bool | None = None,
    keep_8_bit: bool = False,
) -> NDArray[np.float32]:
    """Turn one image into the three-channel plane that the networks take.

    Parameters
    ----------
    array : array-like
        Shape (H, W), (H, W, 3), (H, W, 4), or multichannel (H, W, C) and (C, H, W) with
        up to 8 channels. Any real dtype; NaN and infinite pixels become background.
    channel : int, optional
        The channel to use; by default colour images are used as they are and other
        multichannel images as the mean of their scaled channels.
    rgb : bool, optional
        Whether the last axis is colour; by default it is when it has 3 or 4 entries.
    keep_8_bit : bool
        Divide 8-bit colours by 255 and leave it at that: networks trained on
        photographs expect it. Everything else is scaled.

    Returns
    -------
    ndarray
        Shape (H, W, 3), float32 in [0, 1], scaled between two percentiles; alpha is
        dropped. A constant image gives zeros.

    Raises
    ------
    ValueError
        When the array is no image: empty, complex, of another number of axes.
    """
    image = _checked(np.asarray(array))
    if image.ndim == 2:
        grey = scale_intensity(image)
    else:
        image = _channels_last(image)
        count = image.shape[2]
        if channel is not None:
            if not 0 <= channel < count:
                raise ValueError(
                    f"channel must be from 0 to {count - 1} for this image, "
                    f"got {channel}"
                )
            grey = scale_intensity(image[..., channel])
        elif count in (3, 4) and rgb is not False:
            if keep_8_bit and is_8_bit_colour(image):
                colours: NDArray[np.float32] = image[..., :3].astype(np.float32)
                colours /= 255
                return colours
            # One scale for all three: scaling each alone would change the hue.
            return scale_intensity(image[..., :3])
        else:
            scaled = [scale_intensity(image[..., index]) for index in range(count)]
            grey = np.mean(scaled, axis=0, dtype=np.float32)
    return np.repeat(grey[..., np.newaxis], 3, axis=2)


def is_8_bit_colour(image: NDArray[Any]) -> bool:
    """Whether an array is a photograph as files hold it: (H, W, 3 or 4), uint8."""
    return image.ndim == 3 and image.shape[2] in (3, 4) and image.dtype == np.uint8


def _checked(image: NDArray[Any]) -> NDArray[Any]:
    if image.dtype.kind not in "buif":
        raise ValueError(
            f"an image must hold real numbers, got dtype {image.dtype}"
            + ("; take its absolute value first" if image.dtype.kind == "c" else "")
        )
    if image.size == 0:
        raise ValueError(f"the image is empty: its shape is {image.shape}")
    if image.ndim not in (2, 3):
        raise ValueError(
            "an image must have the axes (H, W) or (H, W, channels); "
            f"this array has {image.ndim}: shape {image.shape}. Choose one plane of it"
        )
    return image


def _channels_last(image: NDArray[Any]) -> NDArray[Any]:
    if image.shape[2] <= MAX_CHANNELS:
        return image
    if image.shape[0] <= MAX_CHANNELS:
        return np.moveaxis(image, 0, 2)
    raise ValueError(
        f"an array of shape {image.shape} is a stack, not an image: neither its first "
        f"nor its last axis has {MAX_CHANNELS} channels or fewer. Choose one plane"
    )


def channel_count(shape: tuple[int, ...]) -> int:
    """Return how many channels an image of this shape has, 1 for (H, W)."""
    if len(shape) != 3:
        return 1
    return shape[2] if shape[2] <= MAX_CHANNELS else min(shape[0], MAX_CHANNELS)


def scale_intensity(image: NDArray[Any]) -> NDArray[np.float32]:
    """Scale an array linearly so that two of its percentiles become 0 and 1.

    Parameters
    ----------
    image : ndarray
        Any shape and real dtype. Values that are not finite do not count and become 0.

    Returns
    -------
    ndarray
        The same shape, float32, clipped to [0, 1]; zeros where all values are equal.
    """
    # float64 first: a large offset (int32, uint64) would eat float32's 24 bits.
    values = image.astype(np.float32 if image.dtype.itemsize <= 2 else np.float64)
    finite = np.isfinite(values)
    usable = values[finite] if not finite.all() else values.ravel()
    if usable.size == 0:
        return np.zeros(image.shape, np.float32)
    stride = max(1, usable.size // PERCENTILE_SAMPLES)
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = np.percentile(usable[::stride], (LOW_PERCENTILE, HIGH_PERCENTILE))
        if high <= low:
            # A few bright pixels on an even ground: the percentiles coincide.
            low, high = usable.min(), usable.max()
        # The range of float64 itself has no number in float64.
        if high <= low or not np.isfinite(high - low):
            return np.zeros(image.shape, np.float32)
    values = np.clip(np.where(finite, values, low), low, high)
    scaled: NDArray[np.float32] = ((values - low) / (high - low)).astype(np.float32)
    return scaled


def image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted by name.

    Raises
    ------
    ValueError
        When there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )


def read_image(path: str | Path) -> NDArray[Any]:
    """Read an image file as it is stored.

    Parameters
    ----------
    path : str or Path
        A TIFF (read by tifffile) or any other format that imageio knows.

    Returns
    -------
    ndarray
        The stored values and dtype; (H, W), (H, W, channels), or a stack for a TIFF of
        several pages.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is not an image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such image file: {path}")
    is_tiff = path.suffix.lower() in TIFF_SUFFIXES
    try:
        if is_tiff:
            import tifffile

            return np.asarray(tifffile.imread(path))
        from imageio import v3 as imageio

        image = np.asarray(imageio.imread(path))
    except MemoryError:
        raise
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        told = isinstance(error, OSError) and str(path) not in first_line
        if not is_tiff and not told:
            # imageio speaks of its backends, and these of how they unpack.
            first_line = "its format is not known, or it is damaged"
        raise ValueError(
            f"{path.name} could not be read as an image: {first_line}"
        ) from error
    # The lone picture of a GIF comes with an axis for its frames.
    return image[0] if image.ndim > 2 and len(image) == 1 else image


def write_array(path: str | Path, array: NDArray[Any]) -> None:
    """Write an image file under a temporary name, then rename it into place.

    Parameters
    ----------
    path : str or Path
        The ending chooses the format: TIFF keeps any dtype.
    array : ndarray
        Shape (H, W) or (H, W, 3).
    """
    path = Path(path)
    with replacing(path, keep_suffix=True) as temporary:
        if path.suffix.lower() in TIFF_SUFFIXES:
            import tifffile

            tifffile.imwrite(temporary, array, compression="zlib")
        else:
            from imageio import v3 as imageio

            imageio.imwrite(temporary, array)
