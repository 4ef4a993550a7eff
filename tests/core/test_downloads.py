"""Downloads from a web server on this computer: good ones, and all that goes wrong."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import downloads, fetching

import pytest
import torch
from tiny_network import tiny_checkpoint
from weights_server import NAME, WeightsServer, tiny_catalogue

from napari_maskrcnn.core.catalogue import (
    cache_folder,
    catalogue,
    find_in_catalogue,
)
from napari_maskrcnn.core.checkpoints import read_checkpoint
from napari_maskrcnn.core.downloads import cached_path, download_model
from napari_maskrcnn.core.model_list import add_model, find_model, list_models
from napari_maskrcnn.core.progress import exhaust

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightsServer]:
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(tmp_path / "models"))
    with tiny_catalogue(tmp_path / "served", monkeypatch) as server:
        yield server


def left() -> list[str]:
    folder = cache_folder()
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def entry() -> Any:
    return next(entry for entry in list_models() if entry.name == NAME)


def test_the_table_is_what_torchvision_says() -> None:
    detection = pytest.importorskip("torchvision.models.detection")
    enums = [
        detection.MaskRCNN_ResNet50_FPN_Weights,
        detection.MaskRCNN_ResNet50_FPN_V2_Weights,
        detection.FasterRCNN_ResNet50_FPN_Weights,
        detection.FasterRCNN_ResNet50_FPN_V2_Weights,
        detection.KeypointRCNN_ResNet50_FPN_Weights,
    ]
    figures = {"box AP": "box_map", "mask AP": "mask_map", "keypoint AP": "kp_map"}
    for model, enum in zip(catalogue(), enums, strict=True):
        weights = enum.DEFAULT
        meta = weights.meta
        assert enum.__name__.lower().removesuffix("_weights") == model.name
        assert model.url == weights.url
        assert model.class_names == tuple(meta["categories"][1:])
        published = meta["_metrics"]["COCO-val2017"]
        assert {figures[k]: v for k, v in model.published.items()} == published
        assert model.size == round(meta["_file_size"] * 2**20)
        assert model.recipe == meta["recipe"]
        assert len(model.sha256_prefix) == 8
        if model.skeleton is not None:
            assert list(model.skeleton.names) == meta["keypoint_names"]


def test_a_download_becomes_a_checkpoint(server: WeightsServer) -> None:
    assert not entry().downloaded
    steps = list(download_model(NAME))
    assert left() == [f"{NAME}.safetensors"]
    back = read_checkpoint(cached_path(NAME))
    expected = tiny_checkpoint().state
    assert back.state.keys() == expected.keys()
    assert all(torch.equal(back.state[key], expected[key]) for key in expected)
    assert back.config["image_size"] == [800, 1333]
    assert back.config["provenance"]["published"] == {"box AP": 12.5, "mask AP": 10.0}
    assert back.config["provenance"]["source"] == find_in_catalogue(NAME).url
    total = len(server.content)
    assert any(step.done == step.total == total for step in steps)
    assert any("MB" in step.message for step in steps)
    found = entry()
    assert found.downloaded
    assert (found.source, found.kind) == ("torchvision", "masks")
    assert found.image_size_model
    assert found.size == cached_path(NAME).stat().st_size
    assert find_model(NAME) == cached_path(NAME)
    back.build()


def test_the_second_time_nothing_is_fetched(server: WeightsServer) -> None:
    first = exhaust(download_model(NAME))
    assert exhaust(download_model(NAME)) == first
    assert len(server.asked) == 1


def test_a_cut_connection_is_taken_up_again(server: WeightsServer) -> None:
    server.mode = "cut once"
    exhaust(download_model(NAME))
    assert server.asked == [0, len(server.content) // 2]


def test_a_server_without_ranges_begins_anew(server: WeightsServer) -> None:
    server.mode, server.ranges = "cut once", False
    exhaust(download_model(NAME))
    assert left() == [f"{NAME}.safetensors"]


def test_a_connection_that_is_always_cut(server: WeightsServer) -> None:
    server.mode, server.ranges = "cut", False
    with pytest.raises(ValueError, match=r"broke off after .* MB .*; try again"):
        exhaust(download_model(NAME))
    assert len(server.asked) == downloads.ATTEMPTS
    assert left() == []


def test_a_wrong_hash(server: WeightsServer) -> None:
    changed = bytearray(server.content)
    changed[len(changed) // 2] ^= 1
    server.content = bytes(changed)
    with pytest.raises(ValueError, match="is not the file that was published"):
        exhaust(download_model(NAME))
    assert left() == []


def test_a_missing_file(server: WeightsServer) -> None:
    server.mode = "missing"
    with pytest.raises(ValueError, match=r"the server has no http://.*404"):
        exhaust(download_model(NAME))
    assert server.asked == [0]
    assert left() == []


def test_no_network(server: WeightsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_MASKRCNN_WEIGHTS_URL", "http://127.0.0.1:9")
    file = find_in_catalogue(NAME).file_name
    words = rf"http://127\.0\.0\.1:9/{file} cannot be reached .* models add {file}"
    with pytest.raises(ValueError, match=words):
        exhaust(download_model(NAME))
    assert left() == []


def test_an_address_of_another_kind(
    server: WeightsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_MASKRCNN_WEIGHTS_URL", "file:///etc")
    with pytest.raises(ValueError, match="must begin with http"):
        exhaust(download_model(NAME))


@pytest.mark.parametrize("mode", ["stall", "slow"])
def test_cancel_is_heard_at_once(server: WeightsServer, mode: str) -> None:
    server.mode = mode
    work = download_model(NAME)
    step = next(work)
    while not step.done:
        step = next(work)
    if mode == "stall":
        # The server says nothing more; the generator does, several times a second.
        start = time.monotonic()
        for _ in range(3):
            next(work)
        assert time.monotonic() - start < 2
    start = time.monotonic()
    work.close()
    assert time.monotonic() - start < 0.5
    assert left() == []


def test_a_server_that_says_nothing_any_more(
    server: WeightsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "STALL_SECONDS", 0.2)
    monkeypatch.setattr(downloads, "ATTEMPTS", 2)
    server.mode = "stall"
    with pytest.raises(ValueError, match=r"broke off .*no answer within 0\.2 s"):
        exhaust(download_model(NAME))
    assert left() == []


def test_a_full_disk(server: WeightsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(cache_folder().parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(ValueError, match=r"no room in .*NAPARI_MASKRCNN_CACHE"):
        exhaust(download_model(NAME))
    assert server.asked == []


def test_what_is_not_here_is_not_found_nor_fetched(server: WeightsServer) -> None:
    with pytest.raises(ValueError, match=f"napari-maskrcnn models download {NAME}"):
        find_model(NAME)
    with pytest.raises(ValueError, match="not a model that can be downloaded"):
        exhaust(download_model("nuclei"))
    assert server.asked == []


def test_the_published_file_can_be_added(server: WeightsServer, tmp_path: Path) -> None:
    file = tmp_path / "renamed.pth"
    file.write_bytes(server.content)
    assert add_model(file) == cached_path(NAME)
    assert entry().downloaded
    assert server.asked == []
    path = add_model(file, "another")
    assert path.parent == tmp_path / "models"
    assert read_checkpoint(path).config["class_names"] == ["disc", "ring"]
