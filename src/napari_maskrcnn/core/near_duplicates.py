"""Images that are in two sets: a set that judges must not hold what was learnt from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from skimage.transform import resize

from .images import image_files, image_plane, read_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

# Side of the thumbnails, in pixels. Smaller ones of different images look alike.
SIDE = 16
# Correlation of two thumbnails from which on they show the same. Copies that were
# rescaled, turned, made brighter or noisier stay above it; of 494 by 59 different
# images of nuclei (BBBC038) no two reach 0.65.
ALIKE = 0.9


def near_duplicates(first: Path, second: Path) -> list[tuple[str, str]]:
    """Find images of one folder that the other holds as well.

    An image counts as the same one if it was turned by right angles, mirrored,
    rescaled, or changed in brightness, contrast or sharpness. A part of an image is
    not found.

    Parameters
    ----------
    first, second : Path
        Folders of images.

    Returns
    -------
    list of (str, str)
        File names in the first and in the second folder.

    Raises
    ------
    ValueError
        When a folder is missing, or a file is not an image.
    """
    paths = [image_files(folder) for folder in (first, second)]
    if not all(paths):
        return []
    thumbnails = [[thumbnail(read_image(p)) for p in files] for files in paths]
    pairs = alike(*thumbnails)
    return [(paths[0][i].name, paths[1][j].name) for i, j in pairs]


def thumbnail(image: ArrayLike) -> NDArray[np.float32]:
    """Return (SIDE, SIDE), of mean 0 and norm 1; all 0 where nothing is to be seen."""
    grey = image_plane(image).mean(axis=2)
    small = resize(grey, (SIDE, SIDE), anti_aliasing=True).astype(np.float32)
    small -= small.mean()
    norm = float(np.linalg.norm(small))
    # An even image is like any other even one, and says nothing.
    found: NDArray[np.float32] = small / norm if norm > 1e-3 else np.zeros_like(small)
    return found


def alike(
    first: Sequence[NDArray[np.float32]], second: Sequence[NDArray[np.float32]]
) -> list[tuple[int, int]]:
    """Return the pairs of thumbnails that show the same, in any of 8 positions."""
    rows = np.stack([item.ravel() for item in first])
    best = np.full((len(first), len(second)), -1.0, np.float32)
    for mirrored in (False, True):
        for turns in range(4):
            turned = [
                np.rot90(item[:, ::-1] if mirrored else item, turns).ravel()
                for item in second
            ]
            np.maximum(best, rows @ np.stack(turned).T, out=best)
    return [(int(i), int(j)) for i, j in np.argwhere(best >= ALIKE)]
