"""The commands ``models``: what is listed, downloaded and added."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from weights_server import NAME, WeightsServer, tiny_catalogue

from napari_maskrcnn import cli_models
from napari_maskrcnn.core.catalogue import cache_folder, find_in_catalogue
from napari_maskrcnn.core.downloads import cached_path
from napari_maskrcnn.core.images import write_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightsServer]:
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(tmp_path / "models"))
    with tiny_catalogue(tmp_path / "served", monkeypatch) as server:
        yield server


def line(run: Run, name: str) -> str:
    code, text, _ = run("models", "list")
    assert code == 0
    (found,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
    return found


def test_the_real_catalogue_is_listed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(tmp_path))
    assert line(run, "maskrcnn_resnet50_fpn_v2").startswith(
        "maskrcnn_resnet50_fpn_v2  (torchvision; masks; 80 classes; box AP 47.4; "
        "mask AP 41.8; 186 MB; not downloaded)"
    )
    assert "keypoints; person; box AP 54.6" in line(run, "keypointrcnn_resnet50_fpn")
    code, text, _ = run("models", "show", "fasterrcnn_resnet50_fpn")
    first, _, config = text.partition("\n")
    assert code == 0
    assert first.startswith("Not downloaded: http://127.0.0.1:9/fasterrcnn")
    assert json.loads(config)["class_names"].count("N/A") == 10


def test_a_model_is_downloaded_and_used(
    server: WeightsServer, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "not downloaded" in line(run, NAME)
    image = tmp_path / "a.png"
    write_array(image, np.zeros((8, 8), np.uint8))
    code, _, errors = run("segment", image, "--out", tmp_path / "x", "--model", NAME)
    assert code == 1
    assert f"napari-maskrcnn models download {NAME}" in errors
    assert server.asked == []
    said: list[str] = []
    monkeypatch.setattr(cli_models, "progress_line", said.append)
    code, text, _ = run("models", "download", NAME)
    assert (code, text) == (0, f"{NAME} is in {cached_path(NAME)}\n")
    assert any(words.startswith(f"Downloading {NAME}: ") for words in said)
    assert said[-1] == ""
    assert "not downloaded" not in line(run, NAME)
    code, text, _ = run("models", "show", NAME)
    assert text.startswith(str(cached_path(NAME)))


def test_ctrl_c_leaves_nothing(server: WeightsServer, run: Run) -> None:
    server.mode = "stall"
    # A shell starts what runs in the background deaf to Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press() -> None:
        # Once the answer has begun.
        while not server.asked:
            server.go_on.wait(0.05)
        server.go_on.wait(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    try:
        assert run("models", "download", NAME)[0] == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert os.listdir(cache_folder()) == []


def test_a_failure_is_one_line(server: WeightsServer, run: Run) -> None:
    server.mode = "missing"
    code, text, errors = run("models", "download", NAME)
    assert (code, text) == (1, "")
    (words,) = errors.splitlines()
    assert words.startswith("napari-maskrcnn: the server has no http://127.0.0.1")


def test_weights_are_added_with_their_classes(
    server: WeightsServer, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / find_in_catalogue(NAME).file_name
    file.write_bytes(server.content)
    code, text, errors = run("models", "add", file)
    assert code == 0, errors
    assert text.splitlines() == [
        f"Added {cached_path(NAME)}",
        "It is a small_fpn: disc, ring",
    ]
    code, _, errors = run("models", "add", file, "--name", "x", "--classes", "a,b,c")
    assert code == 1
    assert "fits none of the networks" in errors
