"""Pictures in which there is nothing, to learn that from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch

from .images import scale_intensity

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor

# Standard deviations of the smoothing, in pixels that the network sees: from grain to
# clouds several objects wide.
FINEST, COARSEST = 0.4, 16.0


def draw_nothing(size: int, rng: Generator) -> Tensor:
    """Draw smooth noise, as of an empty field out of focus, denoised or enlarged.

    Such noise has blobs of one width everywhere, as bright as they are dark, and a
    network that has only seen images of objects takes them for objects.

    Parameters
    ----------
    size : int
        Side of the picture in pixels.
    rng : numpy Generator
        All randomness comes from here.

    Returns
    -------
    Tensor
        Shape (3, size, size), float32 in [0, 1]; grey, or in a quarter of the cases
        with channels that do not know of each other.
    """
    channels = 3 if rng.random() < 0.25 else 1
    values = np.zeros((channels, size, size))
    for _ in range(rng.integers(1, 4)):
        sigma = np.exp(rng.uniform(np.log(FINEST), np.log(COARSEST)))
        values += rng.uniform(0.2, 1) * _smooth_noise(values.shape, sigma, rng)
    # As images are before a network sees them.
    stretched = torch.from_numpy(scale_intensity(values))
    return stretched.expand(3, -1, -1).contiguous()


def _smooth_noise(
    shape: tuple[int, ...], sigma: float, rng: Generator
) -> NDArray[np.float64]:
    """Return Gaussian noise smoothed by a Gaussian, with a standard deviation of 1."""
    rows, columns = np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2])
    frequency = rows[:, None] ** 2 + columns**2
    kernel = np.exp(-2 * (np.pi * sigma) ** 2 * frequency)
    kernel[0, 0] = 0
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) * kernel
    smooth = np.fft.irfft2(spectrum, shape[1:])
    unit: NDArray[np.float64] = smooth / smooth.std()
    return unit
