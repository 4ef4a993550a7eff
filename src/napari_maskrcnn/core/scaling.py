"""At which scale a network sees an image whose objects have a certain size."""

from __future__ import annotations

from .tiling import STRIDE

# Objects up to this much larger than the network's own size are not shrunk: beside
# nuclei of 50 pixels lie some of 15. Figures: docs/training.md.
LARGER = 1.5
# Sizes within this factor are the same to a network: it learnt from objects up to about
# twice as large and half as large as its own size.
ALIKE = 1.5
# Sides change by at most this part for the sake of whole strides.
STRETCH = 0.125


def network_scale(object_size: float, native_size: float) -> float:
    """Return how many pixels the network sees for a pixel of the image.

    Small objects are enlarged to the network's own size. Large ones are not shrunk to
    it: the image is seen as it is, until its objects are ``LARGER`` times as large.

    Parameters
    ----------
    object_size : float
        Of the image's objects, in pixels.
    native_size : float
        The network's own object size, in the pixels that it sees.
    """
    scale = native_size / object_size
    return scale if scale > 1 else min(1.0, LARGER * scale)


def network_shape(image_shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    """Return the shape that an image is rescaled to.

    Sides are rounded to whole strides where that hardly changes the shape: the grey
    with which torchvision fills the rest of a stride looks like nothing in the image,
    and of 20 nuclei in an image of 300 pixels 3 were lost beside it.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W).
    scale : float
        See `network_scale`.
    """
    height, width = (_side(length * scale) for length in image_shape[:2])
    return height, width


def _side(length: float) -> int:
    whole = max(STRIDE, STRIDE * round(length / STRIDE))
    close = abs(whole - length) <= STRETCH * length
    return whole if close else max(1, round(length))


def alike(size: float, other: float, factor: float = ALIKE) -> bool:
    """Tell whether two sizes differ by no more than a factor, either way."""
    return bool(1 / factor <= size / other <= factor)
