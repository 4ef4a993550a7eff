"""The demonstration: the bundled sample, segmented."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .core.instances import Instances

SAMPLE_NAME = "ihc"


def sample_image() -> NDArray[Any]:
    """Return the demonstration's image: colon tissue in colour, (512, 512, 3) uint8.

    It ships with scikit-image (``skimage.data.immunohistochemistry``, by the Center for
    Microscopy and Molecular Imaging, CC0).
    """
    from skimage.data import immunohistochemistry

    return immunohistochemistry()


def has_display() -> bool:
    """Whether a window can be opened."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def run_demo(out: Path | None, device: str) -> Iterator[str]:
    """Segment the sample, then show or write it; yield lines for the terminal."""
    from .core.batch import segment_files
    from .core.detector import load_model
    from .core.images import write_array
    from .core.progress import exhaust
    from .core.recipe import Recipe

    image = sample_image()
    detector = load_model(device=device)
    if out is None and has_display():
        yield "Opening napari on the segmented sample"
        recipe = Recipe()
        _, kept = exhaust(detector.segment(image, recipe))
        _show(image, recipe.apply(kept))
        return
    out = out or Path(tempfile.mkdtemp(prefix="napari-maskrcnn-demo-"))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{SAMPLE_NAME}.png"
    write_array(path, image)
    (result,) = exhaust(segment_files(detector, [path], out, Recipe(device=device)))
    count = 0 if result.instances is None else len(result.instances)
    yield f"Found {count} objects in the sample. The files are here:"
    yield from (f"  {entry}" for entry in sorted(out.iterdir()))


def _show(image: NDArray[Any], instances: Instances) -> None:
    import napari
    import pandas as pd

    viewer = napari.Viewer(title="Mask R-CNN demo")
    viewer.add_image(image, name=SAMPLE_NAME)
    viewer.add_labels(
        instances.to_label_image(),
        name=f"{SAMPLE_NAME} instances",
        features=pd.DataFrame(instances.features()),
    )
    viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Segment")
    napari.run()
