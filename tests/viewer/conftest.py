"""A viewer and its session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from napari_maskrcnn.viewer.layers import unwrap
from napari_maskrcnn.viewer.session import Session, session_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def viewer(make_napari_viewer_proxy: Any) -> Any:
    return unwrap(make_napari_viewer_proxy())


@pytest.fixture
def session(viewer: Any) -> Iterator[Session]:
    session = session_of(viewer)
    yield session
    session.release()
