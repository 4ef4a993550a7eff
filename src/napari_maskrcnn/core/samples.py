"""Generated pictures with a known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

# Counts of photons and of a camera: what makes the picture look like a measured one.
_BRIGHT, _GROUND, _READ_NOISE, _OFFSET = 900.0, 50.0, 6.0, 100.0
_BLUR = 1.2


def nuclei_field(
    shape: tuple[int, int] = (512, 512), count: int = 110, *, seed: int = 7
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Make a picture of fluorescent nuclei with its ground truth.

    Nuclei are 10 to 40 pixels long, of uneven outline, brightness and texture; some
    lie in clusters and touch. The ground is uneven, the lens blurs, photons are few.

    Parameters
    ----------
    shape : tuple of int
        Height and width in pixels.
    count : int
        Nuclei wanted; a field that is full holds fewer.
    seed : int
        The same seed gives the same picture.

    Returns
    -------
    image : ndarray
        Shape (H, W), uint16.
    label_image : ndarray
        Shape (H, W), uint16, 0 = background, ids from 1 without gaps.
    """
    random = np.random.default_rng(seed)
    label_image = np.zeros(shape, np.uint16)
    light = np.zeros(shape, np.float64)
    placed = 0
    centre = random.uniform((0, 0), shape)
    for _ in range(20 * count):
        if placed == count:
            break
        # One in three lies close to the last one, so that clusters come about.
        near = random.normal(centre, 22) if random.random() < 1 / 3 else None
        centre = near if near is not None else random.uniform((0, 0), shape)
        if _place(random, centre, label_image, light, placed + 1):
            placed += 1
    return _photograph(random, light), label_image


def _place(
    random: Generator,
    centre: NDArray[np.float64],
    label_image: NDArray[np.uint16],
    light: NDArray[np.float64],
    index: int,
) -> bool:
    """Draw one nucleus in place unless it would cover another; say whether it fits."""
    length = np.exp(random.normal(np.log(21), 0.32)).clip(10, 40)
    rows, columns = _window(centre, length, label_image.shape)
    if rows.size == 0 or columns.size == 0:
        return False
    # The outline: an ellipse whose radius wavers with the angle.
    y, x = rows[:, None] - centre[0], columns[None, :] - centre[1]
    turn = random.uniform(0, np.pi)
    along = x * np.cos(turn) + y * np.sin(turn)
    across = (y * np.cos(turn) - x * np.sin(turn)) / random.uniform(0.6, 0.95)
    angle = np.arctan2(across, along)
    waver = sum(
        random.normal(0, 0.2 / k**2) * np.cos(k * angle + random.uniform(0, 2 * np.pi))
        for k in (2, 3, 4)
    )
    inside = np.hypot(along, across) <= length / 2 * (1 + waver)
    area = np.ix_(rows, columns)
    taken = label_image[area] > 0
    overlap = np.count_nonzero(inside & taken)
    wanted = np.count_nonzero(inside)
    # Touching is wanted, lying on top of each other is not.
    if wanted < 40 or overlap > 0.12 * wanted:
        return False
    body = inside & ~taken
    label_image[area] = np.where(body, index, label_image[area])
    texture = ndimage.gaussian_filter(random.normal(0, 1, inside.shape), 2.0)
    brightness = random.uniform(0.25, 1.0) * (1 + 0.9 * texture).clip(0.3, 1.8)
    light[area] = np.where(body, brightness, light[area])
    return True


def _window(
    centre: NDArray[np.float64], length: float, shape: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and columns that a nucleus may reach."""
    reach = 0.75 * length + 2
    rows, columns = (
        np.arange(max(0, int(c - reach)), min(n, int(c + reach) + 1))
        for c, n in zip(centre, shape, strict=True)
    )
    return rows, columns


def _photograph(random: Generator, light: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Add ground, blur, photon noise and the camera's own noise."""
    height, width = light.shape
    sigma = max(height, width) / 5
    ground = ndimage.gaussian_filter(random.normal(0, 1, light.shape), sigma)
    ground = (ground - ground.min()) / max(float(np.ptp(ground)), 1e-9)
    # Light from nuclei above and below the plane lies around them as a haze.
    haze = ndimage.gaussian_filter(light, 12)
    photons = _BRIGHT * (ndimage.gaussian_filter(light, _BLUR) + 0.15 * haze)
    photons += _GROUND * (1 + 3 * ground)
    counts = random.poisson(photons) + random.normal(_OFFSET, _READ_NOISE, light.shape)
    image: NDArray[np.uint16] = counts.round().clip(0, 65535).astype(np.uint16)
    return image
