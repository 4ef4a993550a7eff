"""Random changes of geometry and intensity, for training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How strongly the training images are changed; probabilities are in [0, 1].

    Parameters
    ----------
    scale_jitter : float
        Objects are scaled by up to this factor, either way, log-uniformly.
    invert, blur, noise, illumination, tint, to_grey : float
        Probability of inverting the contrast, blurring, adding noise, an uneven
        illumination, colouring a grey image, taking the colour off another.
    gamma : float
        Standard deviation of the logarithm of the exponent.
    colour : float
        Strength of hue, saturation and contrast jitter on colour images (stain).
    empty : float
        Probability of seeing nothing at all, see `core.nothing`, instead of an image.
    upright : bool
        Mirror images left to right, but do not turn them: photographs have an up.
    """

    scale_jitter: float = 2.0
    invert: float = 0.2
    blur: float = 0.25
    noise: float = 0.35
    illumination: float = 0.2
    tint: float = 0.15
    to_grey: float = 0.15
    gamma: float = 0.35
    colour: float = 0.15
    empty: float = 0.0
    upright: bool = False

    def draw_scale(self, rng: Generator) -> float:
        """Draw one factor from 1 / scale_jitter to scale_jitter."""
        limit = np.log(self.scale_jitter)
        return float(np.exp(rng.uniform(-limit, limit)))

    def calmed(self, share: float = 0.5) -> Augmentation:
        """Return changes that are rarer and weaker by this share; scale by its root."""
        weaker = {
            name: getattr(self, name) * share
            for name in (
                "invert", "blur", "noise", "illumination", "tint", "to_grey",
                "gamma", "colour",
            )
        }  # fmt: skip
        return replace(self, scale_jitter=self.scale_jitter**share, **weaker)


def view_grid(
    image_shape: tuple[int, ...],
    centre: tuple[float, float],
    scale: float,
    crop: int,
    rng: Generator,
    *,
    upright: bool = False,
) -> Tensor:
    """Return the sampling grid of a randomly rotated, flipped, stretched square crop.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W) of the image that is sampled.
    centre : tuple of float
        (y, x) in its pixels, about which the crop is placed with some jitter.
    scale : float
        Crop pixels an image pixel.
    crop : int
        Side of the crop, in crop pixels.
    rng : numpy Generator
        Draws angle, flip, stretch and jitter.
    upright : bool
        Leave the angle at 0.

    Returns
    -------
    Tensor
        Shape (1, crop, crop, 2), for ``torch.nn.functional.grid_sample``.
    """
    height, width = image_shape
    # Right angles half of the time: they keep pixel edges crisp.
    angle = 0.0
    if not upright:
        turned = rng.random() < 0.5
        angle = rng.integers(4) * np.pi / 2 if turned else rng.uniform(0, 2 * np.pi)
    stretch = np.exp(rng.uniform(-0.12, 0.12))
    flip = rng.choice((-1.0, 1.0))
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]])
    # From crop pixels, centred, to image pixels, centred; axes x, y.
    matrix = rotation @ np.diag([flip * stretch, 1 / stretch]) / scale
    half = crop / scale / 2
    y, x = (
        _clamped(value + rng.uniform(-half, half), half, size)
        for value, size in zip(centre, image_shape, strict=True)
    )
    size = np.array([width, height])
    theta = np.zeros((2, 3), np.float32)
    theta[:, :2] = matrix * crop / size[:, None]
    theta[:, 2] = 2 * np.array([x, y]) / size - 1
    return functional.affine_grid(
        torch.from_numpy(theta)[None], [1, 1, crop, crop], align_corners=False
    )


def _clamped(value: float, half: float, size: int) -> float:
    """Keep the crop inside where it fits, centred where it does not."""
    return float(np.clip(value, half, size - half)) if size > 2 * half else size / 2


def augment_intensity(
    image: Tensor, rng: Generator, augmentation: Augmentation
) -> Tensor:
    """Change colours, contrast and sharpness of an image (3, H, W) in [0, 1]."""
    grey = bool((image[0] == image[1]).all() and (image[0] == image[2]).all())
    if not grey and rng.random() < augmentation.to_grey:
        image = transforms.rgb_to_grayscale(image, num_output_channels=3)
    elif not grey:
        image = _jitter_colour(image, rng, augmentation.colour)
    image = image ** float(np.exp(rng.normal(0, augmentation.gamma)))
    # The percentiles of a crop, of a patch or of a whole image differ.
    low, high = rng.uniform(-0.08, 0.12), rng.uniform(0.7, 1.25)
    image = (image - low) / (high - low)
    if rng.random() < augmentation.illumination:
        image = image * _illumination(image.shape[-1], rng)
    if grey and rng.random() < augmentation.tint:
        image = _tint(image.clamp(0, 1), rng)
    if rng.random() < augmentation.invert:
        image = 1 - image
    if rng.random() < augmentation.blur:
        sigma = rng.uniform(0.5, 2.0)
        image = transforms.gaussian_blur(image, [9, 9], [sigma, sigma])
    if rng.random() < augmentation.noise:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        if grey:
            noise[:] = noise[:1]
        image = image + float(rng.uniform(0.01, 0.1)) * torch.from_numpy(noise)
    return image.clamp(0, 1).contiguous()


def _jitter_colour(image: Tensor, rng: Generator, strength: float) -> Tensor:
    image = transforms.adjust_hue(image, float(rng.uniform(-0.5, 0.5) * strength))
    image = transforms.adjust_saturation(
        image, float(np.exp(rng.uniform(-4, 4) * strength))
    )
    contrast = float(np.exp(rng.uniform(-2, 2) * strength))
    adjusted: Tensor = transforms.adjust_contrast(image, contrast)
    return adjusted


def _illumination(size: int, rng: Generator) -> Tensor:
    """A smooth factor between about 0.5 and 1.5 over the image."""
    knots = torch.from_numpy(rng.uniform(0.5, 1.5, (1, 1, 3, 3)).astype(np.float32))
    return functional.interpolate(
        knots, (size, size), mode="bicubic", align_corners=True
    )[0]


def _tint(image: Tensor, rng: Generator) -> Tensor:
    """Colour a grey image: dark and bright become two random colours."""
    dark = torch.from_numpy(rng.uniform(0, 0.3, (3, 1, 1)).astype(np.float32))
    bright = torch.from_numpy(rng.uniform(0, 1, (3, 1, 1)).astype(np.float32))
    bright = bright / bright.max().clamp(min=0.2)
    return dark + (bright - dark) * image
