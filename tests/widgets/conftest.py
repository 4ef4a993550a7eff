"""A small network with random weights, and the Segment widget docked in a viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from widget_helpers import open_widget

from napari_maskrcnn.core.architectures import build
from napari_maskrcnn.core.checkpoints import Checkpoint, write_checkpoint
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.viewer.layers import unwrap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.widgets.segment import SegmentWidget

ARCHITECTURE = {
    "name": "small_fpn",
    "arguments": {"stages": 2, "channels": 16, "box_features": 16, "mask_layers": 1,
                  "anchor_sizes": [16, 32, 64]},
}  # fmt: skip


@pytest.fixture(scope="session")
def junk_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real checkpoint whose network has learnt nothing: it finds junk, quickly."""
    torch.manual_seed(1)
    network = build(ARCHITECTURE["name"], 2, ARCHITECTURE["arguments"])
    # Spread the outputs out, so that some candidates pass and scores differ.
    with torch.no_grad():
        network.rpn.head.cls_logits.weight *= 1000
        network.rpn.head.cls_logits.bias -= 4
        network.roi_heads.box_predictor.cls_score.weight *= 100
        network.roi_heads.box_predictor.cls_score.bias[1] += 2.5
        network.roi_heads.mask_predictor.mask_fcn_logits.bias += 2
    config: dict[str, Any] = {
        "architecture": ARCHITECTURE,
        "class_names": ["thing"],
        "object_size": 24.0,
        "description": "Random weights",
    }
    path = tmp_path_factory.mktemp("models") / "junk.safetensors"
    write_checkpoint(path, Checkpoint(config, network.state_dict()))
    return path


@pytest.fixture(autouse=True)
def models(junk_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(junk_model.parent))


@pytest.fixture(scope="session")
def field() -> NDArray[np.uint16]:
    return nuclei_field((160, 200), 20)[0]


@pytest.fixture
def viewer(make_napari_viewer_proxy: Any, npe2pm: Any) -> Any:
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_distribution("napari-maskrcnn"))
    return unwrap(make_napari_viewer_proxy(show=True))


@pytest.fixture
def widget(viewer: Any, qtbot: QtBot) -> Iterator[SegmentWidget]:
    _, widget = open_widget(viewer)
    session = widget.session
    yield widget
    session.cancel()
    qtbot.waitUntil(lambda: session.jobs._leaving is None, timeout=20_000)
    session.release()
