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

SAMPLE_NAME = "coins"


def sample_image() -> NDArray[Any]:
    """Return the demonstration's image: 24 Greek coins, (303, 384) uint8.

    It ships with scikit-image (``skimage.data.coins``, Brooklyn Museum Collection, no
    known copyright restrictions). The bundled model has never seen coins.
    """
    from skimage.data import coins

    return coins()


def has_display() -> bool:
    """Whether a window can be opened."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def run_demo(out: Path | None, device: str) -> Iterator[str]:
    """Segment the sample, then show or write it; yield lines for the terminal."""
    if out is None and has_display():
        yield "Opening napari on the sample, and segmenting it"
        _show(sample_image(), device)
        return
    from .core.batch import segment_files
    from .core.detector import load_model
    from .core.images import write_array
    from .core.progress import exhaust
    from .core.recipe import Recipe

    out = out or Path(tempfile.mkdtemp(prefix="napari-maskrcnn-demo-"))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{SAMPLE_NAME}.png"
    write_array(path, sample_image())
    work = segment_files(load_model(device=device), [path], out, Recipe(device=device))
    (result,) = exhaust(work)
    if result.instances is None:
        raise ValueError(result.error)
    yield f"Found {len(result.instances)} objects in the sample. The files are here:"
    yield from (f"  {entry}" for entry in sorted(out.iterdir()))


def _show(image: NDArray[Any], device: str) -> None:
    """Open napari and do what a person would: choose the image, press the button."""
    # Before Qt: on Windows its DLLs would shadow those that torch needs.
    from .core import preload  # noqa: F401, I001
    import napari

    from .core.recipe import Recipe
    from .viewer.session import session_of

    viewer = napari.Viewer(title="Mask R-CNN demo")
    layer = viewer.add_image(image, name=SAMPLE_NAME)
    viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Segment")
    session_of(viewer).segment(layer, Recipe(device=device), keep_edited=True)
    napari.run()
