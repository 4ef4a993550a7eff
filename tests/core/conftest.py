"""A tiny network for the tests of the core, and a models folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from tiny_network import tiny_checkpoint, write_tiny

from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.pasting import paste_masks
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_maskrcnn.core.checkpoints import Checkpoint


@pytest.fixture(scope="session")
def session_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(autouse=True)
def models(session_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The person's own models are neither read nor written."""
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(session_models))
    return session_models


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return tiny_checkpoint()


@pytest.fixture(scope="session")
def tiny_file(session_models: Path) -> Path:
    """The checkpoint as a file, known by the name "tiny"."""
    return write_tiny(session_models)


@pytest.fixture(scope="session")
def detector(checkpoint: Checkpoint) -> Detector:
    """Shared: a test that changes its detector makes one of its own."""
    return Detector(checkpoint, "cpu", name="tiny", precision=torch.float32)


@pytest.fixture
def torchvisions_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks as torchvision pastes them, for models of which ours are more exact."""

    def rounded(*arguments: Any, **_: Any) -> Any:
        return paste_masks(*arguments, as_torchvision=True)

    monkeypatch.setattr("napari_maskrcnn.core.heads.paste_masks", rounded)


@pytest.fixture(scope="session")
def field() -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Generated nuclei and their label image, (160, 192)."""
    return nuclei_field((160, 192), 20)
