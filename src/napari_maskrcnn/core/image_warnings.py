"""What a person should know of an image before they trust what is found in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE_WARNING = (
    "This model resizes every image to one size: the object size of {:g} pixels makes "
    "no difference"
)
NOISE_WARNING = (
    "The grey levels are distributed as in plain noise: "
    "perhaps there is nothing in this image"
)
# Skewness and excess kurtosis of normally distributed grey levels, which were stretched
# between two percentiles and cut there, are about 0.05 and -0.2.  Of 553 images of
# nuclei and 37 photographs none has both within these bounds.
MOST_SKEWNESS = 0.27
KURTOSIS = (-0.4, 0.1)
# Fewer pixels say too little, more say no more.
LEAST_PIXELS, ENOUGH_PIXELS = 4096, 100_000


def image_warnings(
    plane: NDArray[np.float32], native_size: float | None, object_size: float | None
) -> list[str]:
    """Return sentences on an image and the object size it is to be seen at.

    Parameters
    ----------
    plane : ndarray
        Shape (H, W, 3), float32 in [0, 1], as of `images.image_plane`.
    native_size : float or None
        The network's own object size; None for one that resizes whole images.
    object_size : float or None
        What the person said, in pixels of the image.
    """
    warnings = []
    if native_size is None and object_size is not None:
        warnings.append(SIZE_WARNING.format(object_size))
    if native_size is not None and is_plain_noise(plane):
        warnings.append(NOISE_WARNING)
    return warnings


def is_plain_noise(plane: NDArray[np.float32]) -> bool:
    """Say whether grey levels are normally distributed, as those of noise are.

    Smooth noise, out of focus, denoised or enlarged, has blobs that a network takes for
    objects.  Objects on a ground are brighter or darker than it, so that the grey
    levels lean to one side or have two heaps.
    """
    stride = max(1, int(np.sqrt(plane[..., 0].size / ENOUGH_PIXELS)))
    grey = plane[::stride, ::stride].mean(axis=2, dtype=np.float64)
    spread = grey.std()
    if grey.size < LEAST_PIXELS or not spread:
        return False
    levels = (grey - grey.mean()) / spread
    skewness, kurtosis = (levels**3).mean(), (levels**4).mean() - 3
    lowest, highest = KURTOSIS
    return bool(abs(skewness) < MOST_SKEWNESS and lowest < kurtosis < highest)
