"""What runs in the worker's thread: load a model, fetch the pixels, segment.

torch is imported inside the generator, never before: see `viewer.torch_start`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core.progress import Progress
from napari_maskrcnn.viewer.torch_start import import_torch
from napari_maskrcnn.viewer.warm_up import warm_up_drawing

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_maskrcnn.core.instances import Instances
    from napari_maskrcnn.core.recipe import Recipe
    from napari_maskrcnn.viewer.layers import PlaneSource


@dataclass(slots=True)
class LoadedModel:
    """The detector that was used last.

    Parameters
    ----------
    key : tuple
        The checkpoint's path and time of change, and the device asked for.
    detector : Detector or None
        None before the first run.
    device_text : str
        The device in use, in words.
    """

    key: tuple[Any, ...] = ()
    detector: Any = None
    device_text: str = ""


@dataclass(frozen=True, slots=True)
class KeptEncoding:
    """An encoding of an earlier run, with what it depends on."""

    encoding: Any
    encoded_as: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of `segment_plane`: `instances` are unfiltered."""

    encoding: Any
    encoded_as: tuple[Any, ...]
    instances: Instances


def load_detector(
    loaded: LoadedModel, recipe: Recipe
) -> Generator[Progress, None, Any]:
    """Return the detector for a recipe, loading it unless it is loaded already."""
    from napari_maskrcnn.core.model_list import find_model

    path = find_model(recipe.model)
    key = (str(path), path.stat().st_mtime_ns, recipe.device)
    if loaded.key == key:
        return loaded.detector
    yield from import_torch()
    yield Progress(0, 0, "Loading the model")
    from napari_maskrcnn.core.detector import load_model
    from napari_maskrcnn.core.devices import describe_device

    detector = load_model(path, recipe.device)
    loaded.detector, loaded.key = detector, key
    loaded.device_text = describe_device(recipe.device)
    return detector


def segment_plane(
    loaded: LoadedModel,
    source: PlaneSource,
    recipe: Recipe,
    kept: KeptEncoding | None = None,
) -> Generator[Progress, None, Outcome]:
    """Segment one plane of a layer.

    Parameters
    ----------
    loaded : LoadedModel
        The model in use; replaced when the recipe asks for another.
    source : PlaneSource
        The pixels, not fetched yet.
    recipe : Recipe
        What to do; its thresholds play no part here.
    kept : KeptEncoding, optional
        The plane's encoding of an earlier run: where it still fits, only the heads
        run.

    Yields
    ------
    Progress
        At least twice a second while the network runs.
    """
    yield Progress(0, 0, "Reading the image")
    image = source.read()
    yield Progress(0, 0, "Reading the image")
    warm_up_drawing()
    yield Progress(0, 0, "Reading the image")
    detector = yield from load_detector(loaded, recipe)
    encoded_as = encoding_key(detector, recipe, image)
    if kept is not None and kept.encoded_as == encoded_as:
        instances = yield from detector.detect_steps(
            kept.encoding, max_detections=recipe.max_detections
        )
        return Outcome(kept.encoding, encoded_as, instances)
    encoding, instances = yield from detector.segment(image, recipe)
    return Outcome(encoding, encoded_as, instances)


def encoding_key(detector: Any, recipe: Recipe, image: NDArray[Any]) -> tuple[Any, ...]:
    """Return what an encoding depends on: the trunk first, the pixels last."""
    # Not the model's name: one whose heads were fine-tuned can use what is kept.
    return (
        detector.trunk_id,
        recipe.device,
        recipe.object_size,
        recipe.channel,
        _digest(image),
    )


def _digest(image: NDArray[Any]) -> str:
    """Return a hash of the pixels, which may have been changed in place."""
    digest = hashlib.blake2b(digest_size=16, usedforsecurity=False)
    digest.update(f"{image.shape} {image.dtype.str}".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()
