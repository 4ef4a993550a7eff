"""What the scripts that make screenshots share: a fresh napari, a docked widget.

Import it before anything of napari: it sets where settings, unsaved corrections and
models are looked for, so that the pictures show the defaults and nothing of a person.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
os.environ["NAPARI_MASKRCNN_STATE"] = tempfile.mkdtemp()

from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip

import napari
from PIL import Image
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtTest import QTest

SIZE, DOCK_WIDTH = (1280, 860), 320
IMAGES = Path(__file__).parent / "images"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the option that all scripts have: --out."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--out", type=Path, default=IMAGES)
    return found


def rest(milliseconds: int) -> None:
    """Let the window do its work."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def click(button: Any) -> None:
    """Click a button as a person does."""
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def wait_for(runner: Any) -> None:
    """Wait until no job runs any more."""
    while runner.running:
        rest(100)


def new_viewer(size: tuple[int, int] = SIZE) -> Any:
    """Open a viewer of a size, width and height in pixels."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*size)
    return viewer


def dock(viewer: Any, name: str, width: int = DOCK_WIDTH) -> Any:
    """Open one of the plugin's widgets in a dock of a width, and return it."""
    made, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", name)
    widget.window().resizeDocks([made], [width], Qt.Orientation.Horizontal)
    rest(1500)
    return widget


def take(viewer: Any, path: Path) -> None:
    """Write one picture of the whole window."""
    path.parent.mkdir(parents=True, exist_ok=True)
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    # Without the alpha channel, which says nothing.
    Image.open(path).convert("RGB").save(path, optimize=True)
    print(path, flush=True)  # noqa: T201
