"""Mask R-CNN in napari: segment, correct by hand, retrain, segment better.

The public names are imported on first use: importing the package, which napari does
to read the manifest, costs next to nothing and brings neither numpy nor torch.
"""

from __future__ import annotations

TYPE_CHECKING = False  # known to type checkers; saves the import of typing
if TYPE_CHECKING:
    from napari_maskrcnn.core.coco import read_coco, write_coco
    from napari_maskrcnn.core.detector import Detector, load_model
    from napari_maskrcnn.core.fine_tuning import fine_tune
    from napari_maskrcnn.core.instances import Instances
    from napari_maskrcnn.core.metrics import evaluate

    __version__: str

__all__ = [
    "Detector",
    "Instances",
    "evaluate",
    "fine_tune",
    "load_model",
    "read_coco",
    "write_coco",
]

_HOMES = {
    "Detector": "napari_maskrcnn.core.detector",
    "Instances": "napari_maskrcnn.core.instances",
    "evaluate": "napari_maskrcnn.core.metrics",
    "fine_tune": "napari_maskrcnn.core.fine_tuning",
    "load_model": "napari_maskrcnn.core.detector",
    "read_coco": "napari_maskrcnn.core.coco",
    "write_coco": "napari_maskrcnn.core.coco",
}


def __getattr__(name: str) -> object:
    """Import a public name from its home when it is first asked for (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("napari-maskrcnn")
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name the public names too, imported or not."""
    return sorted({*globals(), *__all__, "__version__"})
