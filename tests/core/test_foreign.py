"""Weights of other programs: recognised by their shapes, named, kept as checkpoints."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torchvision
from tiny_network import ARCHITECTURE, tiny_checkpoint

from napari_maskrcnn.core.architectures import build
from napari_maskrcnn.core.checkpoints import read_checkpoint, read_config
from napari_maskrcnn.core.class_names import names_from_text
from napari_maskrcnn.core.foreign import read_weights, recognise
from napari_maskrcnn.core.model_list import add_model, list_models

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = 4
FROZEN = {"norm": "frozen", "norm_eps": 0.0}


@cache
def shapes(name: str, classes: int = CLASSES, **arguments: Any) -> dict[str, Any]:
    """Return a network's state dict without memory behind it."""
    with torch.device("meta"):
        return dict(build(name, classes, arguments).state_dict())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("NAPARI_MASKRCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def faster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A boxes-only network with random weights, at 4 classes, in half precision."""
    state = {
        key: torch.rand(value.shape).to(torch.float16)
        if value.is_floating_point()
        else torch.zeros(value.shape, dtype=value.dtype)
        for key, value in shapes("fasterrcnn_resnet50_fpn").items()
    }
    path = tmp_path_factory.mktemp("foreign") / "cars.pth"
    torch.save({"model": state, "epoch": 3}, path)
    return path


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("maskrcnn_resnet18_fpn", {}),
        ("maskrcnn_resnet50_fpn", {}),
        ("maskrcnn_resnet50_fpn", FROZEN),
        ("maskrcnn_resnet50_fpn", {"norm": "group"}),
        ("maskrcnn_resnet101_fpn", FROZEN),
        ("maskrcnn_resnet50_fpn_v2", {}),
        ("maskrcnn_resnet50_c4", {}),
        ("fasterrcnn_resnet50_fpn", FROZEN),
        ("fasterrcnn_resnet50_fpn_v2", {}),
        ("keypointrcnn_resnet50_fpn", {**FROZEN, "num_keypoints": 17}),
        ("keypointrcnn_resnet50_fpn", {"num_keypoints": 5}),
    ],
)
def test_each_network_is_recognised(name: str, arguments: dict[str, Any]) -> None:
    found = recognise(shapes(name, **arguments))
    assert (found.architecture, found.num_classes) == (name, CLASSES)
    assert found.arguments == arguments
    assert found.keypoints == arguments.get("num_keypoints", 0)


@pytest.mark.parametrize(
    "name", ["maskrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2"]
)
def test_torchvisions_own_builder_is_recognised(name: str) -> None:
    with torch.device("meta"):
        network = torchvision.models.get_model(
            name, weights=None, weights_backbone=None, num_classes=7
        )
    found = recognise(network.state_dict())
    assert (found.architecture, found.num_classes) == (name, 7)


def test_names_of_older_versions_are_understood() -> None:
    """The files that torchvision publishes are so old."""
    state = dict(shapes("maskrcnn_resnet50_fpn", **FROZEN))
    old = {
        "backbone.fpn.inner_blocks.0.0.": "backbone.fpn.inner_blocks.0.",
        "rpn.head.conv.0.0.": "rpn.head.conv.",
        "roi_heads.mask_head.0.0.": "roi_heads.mask_head.mask_fcn1.",
    }
    for key in list(state):
        for now, then in old.items():
            if key.startswith(now):
                state[key.replace(now, then)] = state.pop(key)
    found = recognise(state)
    assert found.architecture == "maskrcnn_resnet50_fpn"
    assert found.state.keys() == shapes("maskrcnn_resnet50_fpn", **FROZEN).keys()


def test_what_fits_no_network_is_refused() -> None:
    state = dict(shapes("maskrcnn_resnet50_fpn"))
    del state["backbone.fpn.inner_blocks.0.0.weight"]
    words = r"cells\.pth fits none of .* 4 classes .* box_head, .*mask_head"
    with pytest.raises(ValueError, match=words):
        recognise(state, "cells.pth")
    trunk = {"conv1.weight": torch.zeros(64, 3, 7, 7)}
    with pytest.raises(ValueError, match="not the state dict of a detection network"):
        recognise(trunk)
    detectron = {"backbone.bottom_up.stem.conv1.weight": torch.zeros(64, 3, 7, 7)}
    with pytest.raises(ValueError, match="checkpoint of detectron2"):
        recognise(detectron)


@pytest.mark.parametrize("wrapper", ["", "model", "state_dict"])
def test_wrapped_weights_are_unwrapped(tmp_path: Path, wrapper: str) -> None:
    state = {"module.a": torch.ones(2)}
    torch.save({wrapper: state} if wrapper else state, tmp_path / "a.pth")
    assert read_weights(tmp_path / "a.pth").keys() == {"a"}


def test_a_foreign_model_is_added(faster: Path, folder: Path) -> None:
    path = add_model(faster, classes="car, bus,tram")
    config = read_config(path)
    assert path == folder / "cars.safetensors"
    assert config["class_names"] == ["car", "bus", "tram"]
    assert config["image_size"] == [800, 1333]
    assert config["architecture"]["arguments"] == {}
    entry = next(entry for entry in list_models() if entry.name == "cars")
    assert (entry.kind, entry.source, entry.image_size_model) == (
        "boxes",
        "yours",
        True,
    )
    given = read_weights(faster)
    kept = read_checkpoint(path).state
    assert all(torch.equal(kept[key], given[key]) for key in given)


def test_without_names_classes_have_numbers(faster: Path, folder: Path) -> None:
    config = read_config(add_model(faster))
    assert config["class_names"] == ["class 1", "class 2", "class 3"]


def test_names_that_do_not_fit_leave_nothing(faster: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"has 3 classes .* names 2"):
        add_model(faster, classes="car,bus")
    assert not folder.exists()


def test_names_come_from_files(tmp_path: Path) -> None:
    text = tmp_path / "names.txt"
    text.write_text("car\nbus\n\n")
    assert names_from_text(str(text), 2) == ("car", "bus")
    text.write_text("__background__\ncar\nbus\n")
    assert names_from_text(str(text), 2) == ("car", "bus")
    coco = tmp_path / "instances.json"
    rows = [{"id": 7, "name": "bus"}, {"id": 3, "name": "car"}]
    coco.write_text(json.dumps({"categories": rows}))
    assert names_from_text(str(coco), 2) == ("car", "bus")
    gaps = ("N/A", "N/A", "car", "N/A", "N/A", "N/A", "bus")
    assert names_from_text(str(coco), 7) == gaps
    with pytest.raises(ValueError, match=r"5 classes .*instances\.json names 2"):
        names_from_text(str(coco), 5)
    coco.write_text("{}")
    with pytest.raises(ValueError, match="not a COCO file with categories"):
        names_from_text(str(coco), 2)
    with pytest.raises(ValueError, match="cannot be read"):
        names_from_text(str(tmp_path / "none.txt"), 2)


def test_files_of_other_kinds_are_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match="is a pickle, which may run any code"):
        add_model(tmp_path / "model_final.pkl")
    with pytest.raises(FileNotFoundError, match="no such file"):
        add_model(tmp_path / "none.pth")
    with pytest.raises(ValueError, match="names its classes itself"):
        add_model(tmp_path / "own.safetensors", classes="a,b")


def test_only_the_default_starter_is_recognised() -> None:
    state = {k: v.to("meta") for k, v in tiny_checkpoint().state.items()}
    with pytest.raises(ValueError, match="fits none"):
        recognise(state)
    assert ARCHITECTURE["name"] == "small_fpn"
