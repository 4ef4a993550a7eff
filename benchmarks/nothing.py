"""What a model finds where there is nothing: noise of every width, empty ground.

    python benchmarks/nothing.py [MODEL ...]

segments pictures without objects by default settings and prints how many objects each
model, a name or a file, finds in them, and whether a warning says that the image looks
like noise. The sum of a column should be 0.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_maskrcnn.core.detector import load_model
from napari_maskrcnn.core.image_warnings import NOISE_WARNING
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 512
# Standard deviations.
SIGMAS = (0.0, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)


def pictures() -> dict[str, NDArray[np.generic]]:
    """Return pictures in which nothing is to be found, by their names."""
    rng = np.random.default_rng(0)
    shape = (SIDE, SIDE)
    found: dict[str, NDArray[np.generic]] = {
        f"noise, smoothed by {sigma:g} px": gaussian_filter(
            rng.normal(size=shape), sigma
        )
        for sigma in SIGMAS
    }
    photons = rng.poisson(20, shape).astype(np.float64)
    ramp = np.linspace(100, 400, SIDE)[:, None]
    found |= {
        "photons": photons.astype(np.uint16),
        "photons, smoothed by 2 px": gaussian_filter(photons, 2),
        "photons, each pixel twice": photons[:256, :256].repeat(2, 0).repeat(2, 1),
        "noise on a ramp, smoothed by 2 px": ramp
        + gaussian_filter(rng.normal(0, 100, shape), 2),
        "coloured noise, smoothed by 2 px": gaussian_filter(
            rng.normal(size=(*shape, 3)), (2, 2, 0)
        ),
        "clouds": sum(
            width * gaussian_filter(rng.normal(size=shape), width)
            for width in (1, 2, 4, 8, 16, 32)
        ),
        "even": np.full(shape, 100, np.uint8),
    }
    return found


def main() -> None:
    """Print a line for each picture, a column for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["nuclei"])
    options = parser.parse_args()
    detectors = [load_model(name, "cpu") for name in options.models]
    total = np.zeros(len(detectors), int)
    for name, picture in pictures().items():
        counts = []
        for detector in detectors:
            _, found = exhaust(detector.segment(picture))
            counts.append(len(Recipe().apply(found)))
        total += counts
        told = "  warned" if NOISE_WARNING in found.warnings else ""
        columns = "".join(f"{count:7d}" for count in counts)
        print(f"{name:36s}{columns}{told}", flush=True)
    print(f"{'sum':36s}" + "".join(f"{count:7d}" for count in total))


if __name__ == "__main__":
    main()
