"""Draw what the bundled model finds on images that it has never seen.

    python docs/pictures_starter.py [--out docs/images] [--model nuclei]

The images come with scikit-image. Outlines are those of the label image at default
settings.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401  # before scikit-image's own

from skimage import data
from skimage.color import gray2rgb, rgb2hed
from skimage.io import imsave
from skimage.segmentation import find_boundaries
from skimage.util import img_as_ubyte

from napari_maskrcnn.core.detector import load_model
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

YELLOW = (255, 225, 0)


def whole(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image as it is."""
    return image


def haematoxylin(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how much of the blue stain there is."""
    blue: NDArray[np.float64] = rgb2hed(image)[..., 0]
    return blue


# What is shown, and what of it is segmented.
PICTURES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "coins": (data.coins, whole),
    "ihc": (data.immunohistochemistry, whole),
    "ihc-haematoxylin": (data.immunohistochemistry, haematoxylin),
    "cell": (data.cell, whole),
}


def outlined(
    image: NDArray[np.uint8], label_image: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return the image at twice its size, with a thin line around every object."""
    colour = image if image.ndim == 3 else gray2rgb(image)
    large = colour.repeat(2, axis=0).repeat(2, axis=1)
    labels = label_image.repeat(2, axis=0).repeat(2, axis=1)
    large[find_boundaries(labels, mode="inner")] = YELLOW
    return large


def main() -> None:
    """Write a picture for each image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--model", default="nuclei")
    options = parser.parse_args()
    detector = load_model(options.model, "cpu")
    for name, (load, part) in PICTURES.items():
        image = img_as_ubyte(load())
        _, found = exhaust(detector.segment(part(image)))
        kept = Recipe().apply(found)
        path = options.out / f"starter-{name}.png"
        imsave(path, outlined(image, kept.to_label_image()), check_contrast=False)


if __name__ == "__main__":
    main()
