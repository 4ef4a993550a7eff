"""After a model has learnt from some images: the one to try it on next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.viewer.layers import current_plane, image_layers, spatial_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Image, Layer

    from napari_maskrcnn.viewer.layers import Plane


def next_image(
    viewer: ViewerModel, used: Sequence[tuple[Image, Plane]]
) -> tuple[Image, Plane] | None:
    """Return the image, or plane of a stack, that follows those that were used.

    Parameters
    ----------
    viewer : ViewerModel
        Its images are taken in the order in which they were opened.
    used : sequence of tuple
        Images with the planes that were learnt from.

    Returns
    -------
    tuple or None
        An image and the plane of it; None when there is none that was not used.
    """
    images = image_layers(viewer)[::-1]
    # Layers have their own idea of being equal.
    places = {id(image): place for place, image in enumerate(images)}
    last = max((places.get(id(image), -1) for image, _ in used), default=-1)
    # First those behind the last one used, its own planes included, then from the top.
    start = max(0, last)
    for image in images[start:] + images[:start]:
        planes = [plane for layer, plane in used if layer is image]
        if not planes:
            return image, current_plane(image, viewer)
        following = _following(image, planes)
        if following is not None:
            return image, following
    return None


def _following(image: Image, used: Sequence[Plane]) -> Plane | None:
    """Return the plane of a stack behind the last one used, along its last axis."""
    last = max(used, key=lambda plane: plane.position)
    if not last.position:
        return None
    along = [axis for axis in range(image.ndim) if axis not in last.axes][-1]
    following = last.position[-1] + 1
    if following >= spatial_shape(image)[along]:
        return None
    return type(last)(last.axes, (*last.position[:-1], following))


def show(
    viewer: ViewerModel, image: Image, plane: Plane, instead_of: Sequence[Layer] = ()
) -> None:
    """Show a plane of an image in the place of other images.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer.
    image : Image
        The layer that shall be seen.
    plane : Plane
        The plane of it.
    instead_of : sequence of Layer
        Layers that are hidden, as they may lie above it.
    """
    for other in instead_of:
        other.visible = other is image
    image.visible = True
    viewer.layers.selection.active = image
    if plane.position:
        position = iter(plane.position)
        point = [
            0 if axis in plane.axes else next(position) for axis in range(image.ndim)
        ]
        world = image.data_to_world(point)
        offset = viewer.dims.ndim - image.ndim
        for axis in range(image.ndim):
            if axis not in plane.axes:
                viewer.dims.set_point(axis + offset, world[axis])
