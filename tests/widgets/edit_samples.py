"""Labels layers to edit, and what compares them before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from skimage.draw import disk

from napari_maskrcnn.viewer.features import update_features
from napari_maskrcnn.viewer.layers import Plane

if TYPE_CHECKING:
    from napari.layers import Labels

SHAPE = (80, 120)


def objects() -> np.ndarray:
    """Return a dumb-bell (1), a ring (2), two pieces (3), a frayed disc (4), a disc."""
    data = np.zeros(SHAPE, np.uint16)
    data[disk((20, 15), 9)] = 1
    data[disk((20, 29), 9)] = 1
    data[disk((20, 60), 10)] = 2
    data[disk((20, 60), 4)] = 0
    data[disk((55, 15), 8)] = 3
    data[50:53, 30:33] = 3
    data[disk((55, 60), 9)] = 4
    data[45:47, 58] = 4
    data[55, 69:73] = 4
    data[disk((55, 95), 9)] = 5
    return data


def add_objects(viewer: Any, *, planes: int = 0, at: int = 1) -> Labels:
    """Add the objects with a table; in a stack on plane `at` and, moved, on the next.

    The objects of the next plane have the ids from 11.
    """
    data, shown = objects(), Plane((0, 1))
    if planes:
        stack = np.zeros((planes, *SHAPE), np.uint16)
        stack[at] = data
        stack[at + 1] = np.where(data > 0, data + 10, 0)
        data, shown = stack, Plane((1, 2), (at,))
    layer: Labels = viewer.add_labels(data)
    update_features(layer, shown)
    if planes:
        viewer.dims.set_point(0, at)
        update_features(layer, Plane((1, 2), (at + 1,)))
    table = layer.features.copy()
    count = len(table)
    table["class"] = [f"kind {i % 3}" for i in range(count)]
    table["score"] = np.linspace(0.9, 0.5, count)
    table["reviewed"] = [i % 2 == 0 for i in range(count)]
    table["note"] = [f"note {i}" for i in range(count)]
    layer.features = table
    return layer


class Snapshot:
    """Pixels and table of a layer at a time."""

    def __init__(self, layer: Labels) -> None:
        self.data, self.table = layer.data.copy(), layer.features.copy()

    def check(self, layer: Labels) -> None:
        np.testing.assert_array_equal(layer.data, self.data)
        pd.testing.assert_frame_equal(layer.features, self.table)

    def differs(self, layer: Labels) -> bool:
        return not np.array_equal(layer.data, self.data)
