"""What the tests of the widgets share."""

from __future__ import annotations

from typing import Any


def open_widget(viewer: Any) -> tuple[Any, Any]:
    """Dock the Segment widget, set to the network of random weights."""
    dock, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Segment")
    widget.model_box.setCurrentIndex(widget.model_box.findData("junk"))
    # What this network finds says nothing about the size of objects.
    widget.size_auto.setChecked(False)
    return dock, widget
