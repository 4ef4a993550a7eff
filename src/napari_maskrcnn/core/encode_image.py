"""From a plane to its encoding, at the scale that the network is made for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch

from .encoding import (
    EncodedWindow,
    EncodeSettings,
    Encoding,
    encode_plane,
    encode_whole,
    rescale,
)
from .progress import Progress, relay
from .scaling import network_scale, network_shape
from .sizing import SizeEstimate, estimate_object_size

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torchvision.models.detection import FasterRCNN

# An image is not enlarged beyond this many network pixels a side for each of its own:
# "1 pixel" as the object size of a large image would ask for terabytes.
MAX_SCALE = 16.0
MAX_NETWORK_PIXELS = 1 << 31


def encode_image(
    network: FasterRCNN,
    plane: NDArray[np.float32],
    native_size: float | None,
    object_size: float | None,
    settings: EncodeSettings,
    usual_size: float | None = None,
) -> Generator[Progress, None, Encoding]:
    """Encode a plane.

    Parameters
    ----------
    network : FasterRCNN
        In evaluation mode, on its device.
    plane : ndarray
        Shape (H, W, 3), float32 in [0, 1].
    native_size : float or None
        Object size in network pixels; None for a network that resizes whole images.
    object_size : float, optional
        In pixels of the image; by default it is found.
    settings : EncodeSettings
        See there.
    usual_size : float, optional
        Where the search for the object size begins; see `sizing.estimate_object_size`.

    Yields
    ------
    Progress
        After each part of the work.

    Raises
    ------
    ValueError
        When the image would have to be enlarged beyond all measure.
    """
    if native_size is None:
        pixels = torch.from_numpy(np.ascontiguousarray(plane)).permute(2, 0, 1)
        return (yield from encode_whole(network, pixels.contiguous(), settings))
    estimate = SizeEstimate(object_size or 0.0, object_size or 0.0)
    if object_size is None:
        estimate = yield from relay(
            estimate_object_size(
                network, plane, native_size, settings.precision, usual_size
            ),
            lambda: Progress(0, 0, "Measuring the objects"),
        )
    if estimate.encoded is not None and settings.budget:
        return _reused(plane, estimate, estimate.encoded, settings)
    shape = _network_shape(plane, native_size, estimate.object_size)
    return (
        yield from encode_plane(
            network,
            rescale(plane, shape),
            (plane.shape[0], plane.shape[1]),
            estimate.object_size,
            settings,
        )
    )


def _reused(
    plane: NDArray[np.float32],
    estimate: SizeEstimate,
    encoded: EncodedWindow,
    settings: EncodeSettings,
) -> Encoding:
    """Take what the size was measured on for the encoding: it is one."""
    return Encoding(
        image_shape=(plane.shape[0], plane.shape[1]),
        network_shape=encoded.window.outer[2:],
        object_size=estimate.object_size,
        windows=(encoded,),
        plan=(encoded.window,),
        pixels=None,
        precision=settings.precision,
    )


def _network_shape(
    plane: NDArray[np.float32], native_size: float, size: float
) -> tuple[int, int]:
    shape = network_shape(
        plane.shape[:2], min(MAX_SCALE, network_scale(size, native_size))
    )
    if shape[0] * shape[1] > MAX_NETWORK_PIXELS:
        raise ValueError(
            f"with an object size of {size:g} pixels this image of "
            f"{plane.shape[1]} x {plane.shape[0]} would have to be enlarged to "
            f"{shape[1]} x {shape[0]}; set a larger object size or crop the image"
        )
    return shape
