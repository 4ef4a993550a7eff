"""What the first Labels layer of a process needs, computed beside the window.

napari gives every Labels layer an outline for drawing polygons, and vispy works out the
dash patterns of the first such line in pure Python: 0.15 s in which the window would
stand still just when the result is to appear. vispy keeps them, so computing them once
in the worker is enough.
"""

from __future__ import annotations

from functools import cache


@cache
def warm_up_drawing() -> None:
    """Let vispy compute its dash patterns; does nothing where it has none."""
    try:
        from vispy.visuals.line.dash_atlas import DashAtlas
    except ImportError:
        # A later vispy may have another place for them; nothing depends on it.
        return
    DashAtlas()
