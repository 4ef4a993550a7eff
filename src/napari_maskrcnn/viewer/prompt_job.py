"""A prompt in the worker's thread: encode if that was not done yet, then the heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.progress import Progress
from napari_maskrcnn.viewer.encodings import KeptEncoding, encoding_key
from napari_maskrcnn.viewer.jobs import load_detector

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_maskrcnn.core.instances import Instances
    from napari_maskrcnn.core.recipe import Recipe
    from napari_maskrcnn.viewer.jobs import LoadedModel
    from napari_maskrcnn.viewer.layers import PlaneSource

# Planes of up to so many bytes are looked at before each prompt, for pixels that were
# changed in place; that takes some ten milliseconds.
LOOKED_AT = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a person pointed at, in pixels of the plane.

    Parameters
    ----------
    box : tuple of float or None
        (x0, y0, x1, y1).
    point : tuple of float or None
        (y, x); one of both is given.
    class_name : str
        The class that the person chose; empty leaves it to the network.
    """

    box: tuple[float, float, float, float] | None = None
    point: tuple[float, float] | None = None
    class_name: str = ""


@dataclass(frozen=True, slots=True)
class PromptOutcome:
    """The object that belongs to a prompt.

    Parameters
    ----------
    instances : Instances
        With one object.
    encoded : KeptEncoding or None
        When the plane had to be encoded first.
    """

    instances: Instances
    encoded: KeptEncoding | None


def prompt_plane(
    loaded: LoadedModel,
    source: PlaneSource,
    recipe: Recipe,
    kept: KeptEncoding | None,
    prompt: Prompt,
) -> Generator[Progress, None, PromptOutcome]:
    """Return the object that belongs to a prompt on a plane of a layer.

    Parameters
    ----------
    loaded : LoadedModel
        The model in use; replaced when the recipe asks for another.
    source : PlaneSource
        The pixels.
    recipe : Recipe
        Model, device, object size and channel.
    kept : KeptEncoding, optional
        The plane's encoding; used where it is of this model and these pixels.
    prompt : Prompt
        What was pointed at.

    Raises
    ------
    ValueError
        When the model gives no masks.
    """
    detector = yield from load_detector(loaded, recipe)
    if detector.output_kind != "masks":
        raise ValueError(
            f"Prompts draw masks, and {recipe.model} gives {detector.output_kind}: "
            "choose a model that gives masks"
        )
    encoded = kept
    if encoded is None or not _fits(encoded, detector, source, recipe):
        yield Progress(0, 0, "Encoding the image first")
        image = source.read()
        encoding = yield from detector.encode_steps(image, recipe)
        encoded = KeptEncoding(encoding, encoding_key(detector, recipe, image))
    names = detector.class_names
    instances = yield from detector.prompt_steps(
        encoded.encoding,
        box=prompt.box,
        point=prompt.point,
        class_id=(
            names.index(prompt.class_name) + 1 if prompt.class_name in names else None
        ),
    )
    return PromptOutcome(instances, None if encoded is kept else encoded)


def _fits(
    kept: KeptEncoding, detector: Any, source: PlaneSource, recipe: Recipe
) -> bool:
    """Whether an encoding is of this model and, as far as that is quick, this image."""
    quick = _is_small(source)
    image = source.read() if quick else np.zeros(0)
    key = encoding_key(detector, recipe, image)
    return kept.fits_prompts(key, same_pixels=quick)


def _is_small(source: PlaneSource) -> bool:
    array = source.array
    return (
        isinstance(array, np.ndarray) and array[source.plane.index].nbytes <= LOOKED_AT
    )
