"""A web server on this computer that serves weights, well or badly."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import catalogue

import torch
from tiny_network import ARCHITECTURE, CLASS_NAMES, tiny_checkpoint

from napari_maskrcnn.core.catalogue import CatalogueModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

NAME = "tiny_coco"
PIECE = 1 << 14


class WeightsServer(ThreadingHTTPServer):
    """Serves one file under any name.

    Set ``mode`` to "well", "cut" (every answer ends half way), "cut once", "missing",
    "busy", "stall" (a piece, then silence), "slow", and ``ranges`` to False for a
    server that always begins at byte 0.
    """

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.mode = "well"
        self.ranges = True
        #: The byte at which each answer was asked to begin.
        self.asked: list[int] = []
        self.go_on = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: WeightsServer

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range") or "bytes=0-"
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
        server.asked.append(start)
        if server.mode in {"missing", "busy"}:
            self.send_error(404 if server.mode == "missing" else 503)
            return
        total = len(server.content)
        start = start if server.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        self._send(server.content[start:])

    def _send(self, content: bytes) -> None:
        server = self.server
        if server.mode in {"cut", "cut once"}:
            content = content[: len(content) // 2]
            if server.mode == "cut once":
                server.mode = "well"
        for place in range(0, len(content), PIECE):
            if server.mode == "stall" and place:
                server.go_on.wait(30)
                return
            if server.mode == "slow":
                server.go_on.wait(0.1)
            try:
                self.wfile.write(content[place : place + PIECE])
            except OSError:
                return

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(content: bytes) -> Iterator[WeightsServer]:
    """Serve these bytes meanwhile."""
    server = WeightsServer(content)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


def tiny_published(folder: Path) -> tuple[CatalogueModel, bytes]:
    """Return a catalogue model of the tiny network, and its published file."""
    path = folder / "weights.pth"
    torch.save(tiny_checkpoint().state, path)
    content = path.read_bytes()
    path.unlink()
    digits = hashlib.sha256(content).hexdigest()[:8]
    model = CatalogueModel(
        name=NAME,
        architecture=ARCHITECTURE["name"],
        class_names=(*CLASS_NAMES,),
        published={"box AP": 12.5, "mask AP": 10.0},
        url=f"https://example.invalid/models/{NAME}-{digits}.pth",
        size=len(content),
        recipe="https://example.invalid/recipe",
        arguments=ARCHITECTURE["arguments"],
    )
    return model, content


@contextmanager
def tiny_catalogue(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WeightsServer]:
    """Put the tiny network in the place of torchvision's, on a server of our own."""
    folder.mkdir(parents=True, exist_ok=True)
    model, content = tiny_published(folder)
    monkeypatch.setattr(catalogue, "_TORCHVISION", (model,))
    monkeypatch.setenv("NAPARI_MASKRCNN_CACHE", str(folder / "cache"))
    with serving(content) as server:
        monkeypatch.setenv("NAPARI_MASKRCNN_WEIGHTS_URL", server.url)
        yield server
