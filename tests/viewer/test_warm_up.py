"""The dash patterns are there before the first Labels layer asks for them."""

from __future__ import annotations

from napari_maskrcnn.viewer.warm_up import warm_up_drawing


def test_vispy_need_not_compute_its_patterns_again() -> None:
    from vispy.visuals.line import dash_atlas

    warm_up_drawing()
    before = dash_atlas._make_pattern.cache_info()
    dash_atlas.DashAtlas()
    after = dash_atlas._make_pattern.cache_info()
    assert after.misses == before.misses
    assert after.hits > before.hits
