"""Make the screenshots of the model list and of a download by driving a real viewer.

    python docs/screenshots_models.py [--out docs/images]

No network is needed: a server on this computer serves bytes in the place of weights,
halts on the way, and the download is cancelled. Needs a display; without one put
``xvfb-run -a`` before it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# Before napari reads its settings: the pictures show the defaults.
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
os.environ["NAPARI_MASKRCNN_STATE"] = tempfile.mkdtemp()
os.environ["NAPARI_MASKRCNN_MODELS"] = tempfile.mkdtemp()
os.environ["NAPARI_MASKRCNN_CACHE"] = tempfile.mkdtemp()

from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip

import napari
from napari.qt import get_qapp
from PIL import Image
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtTest import QTest
from skimage import data

from napari_maskrcnn.core.catalogue import find_in_catalogue
from napari_maskrcnn.viewer.downloading import downloads_of

SIZE = (1400, 800)
MODEL = "maskrcnn_resnet50_fpn_v2"
SENT = 0.42
# Set once the picture is taken.
HALTED = threading.Event()


class HaltingHandler(BaseHTTPRequestHandler):
    """Says how many bytes a model has, sends some of them, and halts."""

    def do_GET(self) -> None:
        """Answer any name alike."""
        size = find_in_catalogue(MODEL).size
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(bytes(int(SENT * size)))
        HALTED.wait(60)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def rest(milliseconds: int) -> None:
    """Let the window do its work."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def click(button: Any) -> None:
    """Click a button as a person does."""
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def main() -> None:
    """Make both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), HaltingHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["NAPARI_MASKRCNN_WEIGHTS_URL"] = (
        f"http://127.0.0.1:{server.server_address[1]}"
    )
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    viewer.add_image(data.astronaut(), name="astronaut")

    def dock(title: str, width: int) -> Any:
        docked, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", title)
        window = widget.window()
        window.resizeDocks([docked], [width], Qt.Orientation.Horizontal)
        rest(800)
        return docked, widget

    def take(name: str) -> None:
        rest(500)
        path = out / f"models-{name}.png"
        viewer.screenshot(str(path), canvas_only=False, flash=False)
        # Without the alpha channel, which says nothing.
        Image.open(path).convert("RGB").save(path, optimize=True)
        print(path, flush=True)  # noqa: T201

    docked, segment = dock("Segment", 400)
    segment.model_box.choose(MODEL)
    click(segment.download_row.button)
    bar = segment.download_row.progress.bar
    while bar.maximum() <= 1 or bar.value() < 0.4 * bar.maximum():
        rest(100)
    take("download")
    click(segment.download_row.progress.cancel_button)
    jobs = downloads_of(segment.session).jobs
    while jobs.running:
        rest(100)
    HALTED.set()
    docked.hide()
    _, manager = dock("Manage models", 1010)
    manager.select(MODEL)
    take("list")
    viewer.close()
    server.shutdown()
    get_qapp().quit()


if __name__ == "__main__":
    main()
