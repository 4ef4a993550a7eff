"""The samples in File > Open Sample."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("key", "kinds"),
    [("nuclei", ["image", "labels"]), ("coins", ["image"]), ("ihc", ["image"])],
)
def test_napari_opens_every_sample(
    make_napari_viewer_proxy: Any, npe2pm: Any, key: str, kinds: list[str]
) -> None:
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_distribution("napari-maskrcnn"))
    viewer = make_napari_viewer_proxy()
    layers = viewer.open_sample("napari-maskrcnn", key)
    assert [type(layer).__name__.lower() for layer in viewer.layers] == kinds
    assert layers[0].data.ndim - layers[0].rgb == 2
