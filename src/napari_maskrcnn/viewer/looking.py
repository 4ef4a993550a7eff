"""The camera goes to an object; a click on an object tells which one it is."""

from __future__ import annotations

import weakref
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_maskrcnn.viewer.layers import Plane

# On the screen an object's longer side is to have at least so many pixels, at most
# this share of the canvas, and this share after the camera moved closer.
SMALLEST, LARGEST, WANTED = 16, 0.9, 0.2


def show_object(
    viewer: ViewerModel,
    layer: Labels,
    plane: Plane,
    box: Sequence[int],
    canvas: tuple[int, int],
) -> bool:
    """Move the camera to an object unless it can be seen well where it is.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer; in three dimensions its camera stays.
    layer : Labels
        The layer of the object.
    plane : Plane
        The plane that it is on.
    box : sequence of int
        Its extent in the plane, xyxy.
    canvas : tuple of int
        (height, width) of the canvas in pixels of the screen.

    Returns
    -------
    bool
        Whether the camera moved.
    """
    if viewer.dims.ndisplay != 2:
        return False
    low, high = _in_world(viewer, layer, plane, box)
    camera, size = viewer.scene.camera, np.asarray(canvas, float)
    view = size / camera.zoom
    centre = np.asarray(camera.center, float)[-2:]
    longer = float((high - low).max()) * camera.zoom
    too_small = longer < SMALLEST
    too_large = bool(((high - low) > LARGEST * view).any())
    outside = bool((low < centre - view / 2).any() or (high > centre + view / 2).any())
    if too_small or too_large:
        camera.zoom = WANTED * float(size.min()) / max(float((high - low).max()), 1e-9)
    if too_small or too_large or outside:
        camera.center = (0.0, *((low + high) / 2).tolist())
        return True
    return False


def _in_world(
    viewer: ViewerModel, layer: Labels, plane: Plane, box: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and highest corner of a box on the canvas, each (y, x)."""
    x0, y0, x1, y1 = (float(edge) for edge in box)
    corners = []
    # Pixels are centred at integers, so the edges lie half a pixel before.
    for y, x in product((y0 - 0.5, y1 - 0.5), (x0 - 0.5, x1 - 0.5)):
        position, inside = iter(plane.position), iter((y, x))
        point = [
            next(inside) if axis in plane.axes else next(position)
            for axis in range(layer.ndim)
        ]
        corners.append(layer.data_to_world(point))
    missing = viewer.dims.ndim - layer.ndim
    displayed = [axis - missing for axis in viewer.dims.displayed]
    points = np.asarray(corners, float)[:, displayed]
    return points.min(axis=0), points.max(axis=0)


class Clicks:
    """Tells which object of a layer was clicked while the camera mode is on.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer; held weakly.
    chosen : callable
        Returns the layer that is asked, or None.
    clicked : callable
        Called with the id of the object under a click; a bound method, held weakly.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        chosen: Callable[[], Labels | None],
        clicked: Callable[[int], None],
    ) -> None:
        self._viewer = weakref.ref(viewer)
        self._chosen = weakref.WeakMethod(chosen)
        self._clicked = weakref.WeakMethod(clicked)

    def listen(self) -> None:
        """Begin to listen; doing so twice is no harm."""
        viewer = self._viewer()
        if viewer is not None and self._on_drag not in viewer.mouse_drag_callbacks:
            viewer.mouse_drag_callbacks.append(self._on_drag)

    def stop(self) -> None:
        """Listen no more."""
        viewer = self._viewer()
        if viewer is not None and self._on_drag in viewer.mouse_drag_callbacks:
            viewer.mouse_drag_callbacks.remove(self._on_drag)

    def _on_drag(self, viewer: ViewerModel, event: Any) -> Iterator[None]:
        chosen, clicked = self._chosen(), self._clicked()
        layer = chosen() if chosen is not None else None
        active = viewer.layers.selection.active
        mode = str(getattr(active, "mode", "pan_zoom"))
        plain = event.button == 1 and not event.modifiers and mode == "pan_zoom"
        if layer is None or clicked is None or not plain or not layer.visible:
            return
        yield
        moved = False
        while event.type == "mouse_move":
            moved = True
            yield
        if not moved:
            value = layer.get_value(
                event.position,
                view_direction=event.view_direction,
                dims_displayed=event.dims_displayed,
                world=True,
            )
            if value is not None and int(value) > 0:
                clicked(int(value))
