"""What runs in the worker's thread: load a model, fetch the pixels, segment.

torch is imported inside the generator, never before: see `viewer.torch_start`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from threading import Semaphore
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core.progress import Progress, relay
from napari_maskrcnn.core.steady import Pace, SteadySize, frame_words
from napari_maskrcnn.core.words import one_line
from napari_maskrcnn.viewer.encodings import KeptEncoding, encoding_key
from napari_maskrcnn.viewer.layers import PlaneSource
from napari_maskrcnn.viewer.torch_start import import_torch
from napari_maskrcnn.viewer.warm_up import warm_up_drawing

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_maskrcnn.core.instances import Instances
    from napari_maskrcnn.core.recipe import Recipe
    from napari_maskrcnn.viewer.encodings import EncodingKey
    from napari_maskrcnn.viewer.layers import Plane
    from napari_maskrcnn.viewer.painting import PlaneRecord

# Planes that may wait to be painted: with more, a network that is faster than the
# window would fill the memory with encodings.
WAITING = 2
WAIT_SECONDS = 0.1


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
class Outcome:
    """The result of `segment_plane`: `instances` are unfiltered."""

    encoding: Any
    encoded_as: EncodingKey | None
    instances: Instances

    @property
    def object_size(self) -> float | None:
        """The size of the objects that was used, in pixels, if any was."""
        size: float | None = self.encoding.object_size
        return size

    @property
    def largest_area(self) -> int:
        """The pixels of the largest detection, 0 without any."""
        return int(self.instances.areas.max(initial=0))


@dataclass(frozen=True, slots=True)
class PlanesJob:
    """A run over several planes of a layer.

    Parameters
    ----------
    array : array-like
        The layer's array, which may be lazy.
    planes : tuple of Plane
        The planes, in the order in which they are to be done.
    word : str
        What a plane is called: "frame" or "plane".
    kept : dict
        What is kept of planes.  An entry is taken out when its plane's turn comes, so
        that no old encoding outlives its use; it may have been dropped before.
    room : Semaphore
        Whoever takes a result releases it once.
    """

    array: Any
    planes: tuple[Plane, ...]
    word: str = "frame"
    kept: dict[Plane, PlaneRecord] = field(default_factory=dict)
    room: Semaphore = field(default_factory=lambda: Semaphore(WAITING))


@dataclass(frozen=True, slots=True)
class PlaneDone:
    """A plane's result, which `segment_planes` yields beside its progress.

    Parameters
    ----------
    plane : Plane
        Which plane.
    outcome : Outcome or None
        None for a plane whose pixels could not be fetched.
    error : str
        Why they could not.
    """

    plane: Plane
    outcome: Outcome | None
    error: str = ""


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
    return (yield from _segmented(detector, image, recipe, kept))


def segment_planes(
    loaded: LoadedModel, job: PlanesJob, recipe: Recipe
) -> Generator[Progress | PlaneDone, None, None]:
    """Segment planes of a layer one after the other; one of them is in memory.

    An automatic object size is measured on the first planes and then kept; see
    `core.steady`.  A plane whose pixels cannot be fetched does not stop the others.

    Parameters
    ----------
    loaded : LoadedModel
        The model in use; replaced when the recipe asks for another.
    job : PlanesJob
        What to segment.
    recipe : Recipe
        What to do; its thresholds play no part here.

    Yields
    ------
    Progress or PlaneDone
        Progress at least twice a second while the network runs, and each result.
    """
    yield Progress(0, 0, "Reading the image")
    warm_up_drawing()
    yield Progress(0, 0, "Reading the image")
    detector = yield from load_detector(loaded, recipe)
    size = SteadySize(recipe, has_size=detector.native_size is not None)
    pace, total = Pace(), len(job.planes)
    for done, plane in enumerate(job.planes):
        words = frame_words(done, total, pace, job.word)
        now = partial(Progress, done, total, words)
        yield now()
        result = yield from relay(_plane_result(detector, job, plane, size), now)
        while not job.room.acquire(timeout=WAIT_SECONDS):
            yield now()
        yield result
        # The encoding in it is large, and the next plane makes another.
        del result
        pace.step()


def _plane_result(
    detector: Any, job: PlanesJob, plane: Plane, size: SteadySize
) -> Generator[Progress, None, PlaneDone]:
    try:
        image = _fetched(PlaneSource(job.array, plane))
    except UnreadableError as error:
        return PlaneDone(plane, None, str(error))
    record = job.kept.pop(plane, None)
    kept = None
    if record is not None:
        kept = KeptEncoding(record.encoding, record.encoded_as)
    outcome = yield from _segmented(detector, image, size.recipe, kept)
    size.saw(outcome.encoding.object_size, outcome.instances)
    return PlaneDone(plane, outcome)


class UnreadableError(ValueError):
    """The pixels of a plane could not be fetched."""


def _fetched(source: PlaneSource) -> NDArray[Any]:
    """Fetch the pixels; what a lazy array raises may be anything at all."""
    try:
        return source.read()
    except MemoryError:
        raise
    except Exception as error:
        text = one_line(error) or type(error).__name__
        raise UnreadableError(text) from error


def _segmented(
    detector: Any, image: NDArray[Any], recipe: Recipe, kept: KeptEncoding | None
) -> Generator[Progress, None, Outcome]:
    """Run the network; where a kept encoding still fits, only the heads."""
    encoded_as = encoding_key(detector, recipe, image)
    if kept is not None and kept.fits(encoded_as):
        instances = yield from detector.detect_steps(
            kept.encoding, max_detections=recipe.max_detections
        )
        return Outcome(kept.encoding, encoded_as, instances)
    encoding, instances = yield from detector.segment(image, recipe)
    return Outcome(encoding, encoded_as, instances)
