"""The detector: a network with its checkpoint's configuration, on a device."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .checkpoints import Checkpoint, read_checkpoint
from .devices import choose_device, inference_precision, memory_format
from .encode_image import encode_image
from .encoding import EncodeSettings, Encoding
from .folding import fold_normalisations
from .heads import detect_in_encoding
from .image_warnings import image_warnings
from .images import image_plane
from .memory import SMALLEST_WINDOW, MemoryLadder
from .model_list import find_model
from .progress import Progress, exhaust
from .prompts import Prompter, WindowMemory
from .recipe import MAX_DETECTIONS, NMS_CEILING, SCORE_FLOOR, Recipe

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import ArrayLike

    from .instances import Instances

DEFAULT_BUDGET = 1024 * 2**20
# Candidates less likely than this, or that overlap more with a likelier one, are not
# worth the box head's time. With 0.05, 0.7 and 8 proposals an object a third more time
# goes by on held-out images of nuclei, and the AP is the same within 0.01.
PROPOSAL_FLOOR = 0.1
PROPOSAL_OVERLAP = 0.6
PROPOSALS_PER_OBJECT = 4.0
# Network pixels; GPUs like large windows, a processor's caches do not.
WINDOWS = {"cuda": 2048, "mps": 1536, "cpu": 1024}
HALO = 128


class Detector:
    """A network that finds the objects of images.

    A model with an object size sees images rescaled so that objects have that size, or
    up to half as large again (see `scaling.network_scale`), in windows where they are
    large. A model with an image size sees each image whole, as
    torchvision resizes it, and gives what torchvision's forward gives: its caps and
    thresholds are left as they are.

    Parameters
    ----------
    checkpoint : Checkpoint
        Configuration and weights.
    device : str
        See `core.devices.choose_device`.
    name : str
        For recipes and messages.
    budget : int
        Bytes of encoding kept for an image.
    precision : torch.dtype, optional
        Of the trunk and the mask head; by default what suits the device.
    proposals_per_object : float, optional
        Candidates looked at for each object of the usual size that would fit into a
        window; None leaves the network's own cap. Of no account with an image size.
    folded : bool
        See `core.folding`; not where other weights will be loaded.

    Raises
    ------
    ValueError
        When the device is not there, or the checkpoint makes no sense.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "auto",
        *,
        name: str = "",
        budget: int = DEFAULT_BUDGET,
        precision: torch.dtype | None = None,
        proposals_per_object: float | None = PROPOSALS_PER_OBJECT,
        folded: bool = True,
    ) -> None:
        self.config: dict[str, Any] = checkpoint.config
        self.class_names: tuple[str, ...] = tuple(checkpoint.config["class_names"])
        self.score_threshold = checkpoint.score_threshold
        self.nms_threshold = checkpoint.nms_threshold
        # One of the two is None.
        self.native_size = checkpoint.object_size
        self.image_size = checkpoint.image_size
        self.usual_size = checkpoint.usual_size
        self.output_kind, self.skeleton = checkpoint.output_kind, checkpoint.skeleton
        self.name = name
        # Encodings are valid for every model with the same frozen part.
        self.trunk_id = checkpoint.trunk_id
        self.device, self.network = choose_device(device), checkpoint.build()
        if folded and self.native_size is not None:
            fold_normalisations(self.network)
        self.network.requires_grad_(False)
        self._max_detections: int = self.network.roi_heads.detections_per_img
        if self.native_size is not None:
            self._widen(self.native_size, proposals_per_object)
        self.budget = budget
        self._ladder = MemoryLadder(
            # Where the image is one window, a smaller one is no way out.
            SMALLEST_WINDOW if self.image_size else WINDOWS[self.device.type],
            precision or inference_precision(self.device),
            self.device,
        )
        self._windows = WindowMemory()
        self._place()

    def _widen(self, native_size: float, proposals_per_object: float | None) -> None:
        """Set caps and floors so that sliders can move without the network."""
        self.network.rpn.score_thresh = PROPOSAL_FLOOR
        self.network.rpn.nms_thresh = PROPOSAL_OVERLAP
        if proposals_per_object is not None:
            density = proposals_per_object / native_size**2
            self.network.proposal_density = density
        self.network.roi_heads.score_thresh = SCORE_FLOOR
        self.network.roi_heads.nms_thresh = NMS_CEILING
        self._max_detections = MAX_DETECTIONS

    @property
    def precision(self) -> torch.dtype:
        """The precision of trunk and mask head, after any memory trouble."""
        return self._ladder.precision

    def _place(self) -> None:
        self.device = self._ladder.device
        layout = memory_format(self.device, small_trunk=self.native_size is not None)
        self.network.to(self.device, memory_format=layout)

    def encode(
        self,
        image: ArrayLike,
        *,
        object_size: float | None = None,
        channel: int | None = None,
    ) -> Encoding:
        """Encode an image: the expensive part, needed once.

        Parameters
        ----------
        image : array-like
            Shape (H, W), (H, W, 3|4) or (H, W, C); any real dtype.
        object_size : float, optional
            Typical object size in pixels; by default it is found. A model with an
            image size needs none, and warns.
        channel : int, optional
            The channel of a multichannel image.

        Raises
        ------
        ValueError
            When the array is no image; see `core.images.image_plane`.
        """
        recipe = Recipe(object_size=object_size, channel=channel)
        return exhaust(self.encode_steps(image, recipe))

    def detect(
        self,
        image: ArrayLike | Encoding,
        *,
        max_detections: int | None = None,
        **encode_arguments: Any,
    ) -> Instances:
        """Find the objects of an image or of its encoding.

        Parameters
        ----------
        image : array-like or Encoding
            As of `encode`.
        max_detections : int, optional
            The most objects a window may give; reaching it adds a warning. By default
            2000, and of a model with an image size what its network has: 100.
        **encode_arguments
            ``object_size`` and ``channel``, as of `encode`, when an image is given.

        Returns
        -------
        Instances
            Down to a low score and up to a high overlap: ``filter`` them. Of networks
            that give boxes only they have no masks; see `Instances.has_masks`.
        """
        if not isinstance(image, Encoding):
            image = self.encode(image, **encode_arguments)
        elif encode_arguments:
            raise ValueError("object_size and channel belong to the encoding")
        return exhaust(self.detect_steps(image, max_detections=max_detections))

    def segment(
        self, image: ArrayLike, recipe: Recipe | None = None
    ) -> Generator[Progress, None, tuple[Encoding, Instances]]:
        """Encode and detect, as a generator that can be stopped anywhere.

        Parameters
        ----------
        image : array-like
            As of `encode`.
        recipe : Recipe, optional
            Object size, channel and caps are used; its thresholds are for
            ``recipe.apply`` on the returned instances.

        Yields
        ------
        Progress
            Several times a second on a usual machine.
        """
        recipe = recipe or Recipe()
        encoding = yield from self.encode_steps(image, recipe)
        instances = yield from self.detect_steps(
            encoding, max_detections=recipe.max_detections
        )
        return encoding, instances

    def encode_steps(
        self, image: ArrayLike, recipe: Recipe
    ) -> Generator[Progress, None, Encoding]:
        """Encode as a generator; see `encode`."""
        plane = image_plane(
            image, channel=recipe.channel, keep_8_bit=self.image_size is not None
        )
        yield Progress(0, 0, "Preparing the image")
        # A cap for another image has no say in how large the objects are here.
        self.network.roi_heads.detections_per_img = self._max_detections
        warnings = image_warnings(plane, self.native_size, recipe.object_size)

        def attempt() -> Generator[Progress, None, Encoding]:
            return (
                yield from encode_image(
                    self.network,
                    plane,
                    self.native_size,
                    recipe.object_size,
                    EncodeSettings(
                        self._ladder.window, HALO, self._ladder.precision, self.budget
                    ),
                    self.usual_size,
                )
            )

        encoding = yield from self._ladder.climb_down(attempt, self._place, warnings)
        return replace(encoding, warnings=tuple(warnings))

    def detect_steps(
        self, encoding: Encoding, *, max_detections: int | None = None
    ) -> Generator[Progress, None, Instances]:
        """Run the heads as a generator; see `detect`."""
        most = self._max_detections if max_detections is None else max_detections
        self.network.roi_heads.detections_per_img = most
        warnings: list[str] = []

        def attempt() -> Generator[Progress, None, Instances]:
            return (
                yield from detect_in_encoding(
                    self.network,
                    self._ladder.moved(encoding),
                    self.class_names,
                    self.skeleton,
                )
            )

        instances = yield from self._ladder.climb_down(attempt, self._place, warnings)
        return replace(
            instances,
            score_threshold=self.score_threshold,
            nms_threshold=self.nms_threshold,
            warnings=(*encoding.warnings, *warnings, *instances.warnings),
        )

    def prompt_box(
        self, encoding: Encoding, box: Sequence[float], class_id: int | None = None
    ) -> Instances:
        """Return the one object inside a box; the backbone does not run.

        Parameters
        ----------
        encoding : Encoding
            The encoded image.
        box : sequence of float
            (x0, y0, x1, y1) in pixels of the image.
        class_id : int, optional
            The object's class; by default the network's best guess.

        Raises
        ------
        ValueError
            When the box is empty or outside of the image, or there is no such class.
        """
        return exhaust(self.prompt_steps(encoding, box=box, class_id=class_id))

    def prompt_point(
        self, encoding: Encoding, point: Sequence[float], class_id: int | None = None
    ) -> Instances:
        """Return the one object at a point, (y, x) in pixels; see `prompt_box`."""
        return exhaust(self.prompt_steps(encoding, point=point, class_id=class_id))

    def prompt_steps(
        self,
        encoding: Encoding,
        *,
        box: Sequence[float] | None = None,
        point: Sequence[float] | None = None,
        class_id: int | None = None,
    ) -> Generator[Progress, None, Instances]:
        """Run one prompt, a box or a point, as a generator."""

        def attempt() -> Generator[Progress, None, Instances]:
            prompter = Prompter(
                self.network,
                self._ladder.moved(encoding),
                self.class_names,
                self._windows,
            )
            if box is not None:
                return (yield from prompter.box(box, class_id))
            return (yield from prompter.point(point or (), class_id))

        return (yield from self._ladder.climb_down(attempt, self._place, []))


def load_model(
    name_or_path: str | Path = "nuclei", device: str = "auto", **arguments: Any
) -> Detector:
    """Load a model by name, or a checkpoint file.

    Parameters
    ----------
    name_or_path : str or Path
        A name of ``napari-maskrcnn models list``, or a ``.safetensors`` file.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    **arguments
        Further ones of `Detector`.

    Raises
    ------
    ValueError
        When there is no such model or device, or the file is damaged.
    """
    path = find_model(name_or_path)
    return Detector(read_checkpoint(path), device, name=path.stem, **arguments)
