"""The recipe: everything that decides the pixels of a result."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .atomic import replacing
from .checks import check_fraction
from .class_names import choosable

if TYPE_CHECKING:
    from .instances import Instances

# Detections are kept down to this score, and up to this overlap of their boxes, so that
# sliders can move without the network. Thresholds beyond them change nothing. Models
# that resize whole images have torchvision's instead: 0.05, 0.5 and 100.
SCORE_FLOOR = 0.1
NMS_CEILING = 0.5
MAX_DETECTIONS = 2000
# One object found as two classes: their masks are the same but for this. Not a setting,
# since a rider and a horse, or two cells one over the other, are far from it.
TWIN_THRESHOLD = 0.7
_Kinds = tuple[type, ...]
_NAME: tuple[_Kinds, str] = ((str,), "a name")
_NUMBER: tuple[_Kinds, str] = ((int, float), "a number")
_NUMBER_OR_NULL: tuple[_Kinds, str] = ((int, float, type(None)), "a number or null")
_WHOLE: tuple[_Kinds, str] = ((int,), "a whole number")
_WHOLE_OR_NULL: tuple[_Kinds, str] = ((int, type(None)), "a whole number or null")
_KINDS: dict[str, tuple[_Kinds, str]] = {
    "model": _NAME,
    "object_size": _NUMBER_OR_NULL,
    "channel": _WHOLE_OR_NULL,
    "score_threshold": _NUMBER_OR_NULL,
    "mask_threshold": _NUMBER,
    "nms_threshold": _NUMBER_OR_NULL,
    "min_area": _WHOLE,
    "classes": ((list,), "a list of names"),
    "max_detections": _WHOLE_OR_NULL,
    "device": _NAME,
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of a segmentation; the button, the command and scripts share them.

    Parameters
    ----------
    model : str
        Name of a model or path of a checkpoint.
    object_size : float, optional
        Typical object size in pixels of the image: the square root of its box area.
        By default it is found by a first quick pass. Models that resize every image to
        one size take no account of it, and warn.
    channel : int, optional
        The channel of a multichannel image; see `core.images.image_plane`.
    score_threshold : float, optional
        In [0, 1]; by default the one at which the model was best on images that it did
        not learn from, as its checkpoint says.
    mask_threshold : float
        In [0, 1]; see `Instances.filter`.
    nms_threshold : float, optional
        In [0, 1]; see `Instances.filter`. By default the model's own: 0.2 for models of
        cells, 0.5 for those of photographs.
    min_area : int
        Smallest area in pixels.
    classes : tuple of str
        Names of the classes to keep; empty keeps all.
    max_detections : int, optional
        The most objects that a window of the image may give; by default what suits the
        model: see `Detector.detect`.
    device : str
        See `core.devices.choose_device`.

    Raises
    ------
    ValueError
        When a value is out of range.
    """

    model: str = "nuclei"
    object_size: float | None = None
    channel: int | None = None
    score_threshold: float | None = None
    mask_threshold: float = 0.5
    nms_threshold: float | None = None
    min_area: int = 0
    classes: tuple[str, ...] = ()
    max_detections: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("score_threshold", "mask_threshold", "nms_threshold"):
            if getattr(self, name) is not None:
                check_fraction(name, getattr(self, name))
        if self.object_size is not None and not 1 <= self.object_size <= 10_000:
            raise ValueError(
                f"object_size must be from 1 to 10000 pixels, got {self.object_size}"
            )
        if self.channel is not None and self.channel < 0:
            raise ValueError(f"channel must not be negative, got {self.channel}")
        if self.min_area < 0:
            raise ValueError(f"min_area must not be negative, got {self.min_area}")
        if self.max_detections is not None and self.max_detections < 1:
            raise ValueError(
                f"max_detections must be at least 1, got {self.max_detections}"
            )

    def apply(self, instances: Instances) -> Instances:
        """Filter kept detections by these thresholds.

        Raises
        ------
        ValueError
            When a class name is not one of the model's.
        """
        return instances.filter(
            score_threshold=self.score_threshold_for(instances.score_threshold),
            mask_threshold=self.mask_threshold,
            nms_threshold=self.nms_threshold_for(instances.nms_threshold),
            twin_threshold=TWIN_THRESHOLD,
            min_area=self.min_area,
            class_ids=self._class_ids(instances.class_names),
        )

    def score_threshold_for(self, own: float) -> float:
        """Return the score threshold to use with a model, given the model's own."""
        return own if self.score_threshold is None else self.score_threshold

    def nms_threshold_for(self, own: float) -> float:
        """Return the overlap to use with a model, given the model's own."""
        return own if self.nms_threshold is None else self.nms_threshold

    def _class_ids(self, class_names: tuple[str, ...]) -> list[int] | None:
        unknown = sorted(set(self.classes) - set(class_names))
        if unknown:
            raise ValueError(
                f"the model does not know the class {unknown[0]!r}; "
                f"it knows {', '.join(choosable(class_names))}"
            )
        if not self.classes:
            return None
        return [class_names.index(name) + 1 for name in self.classes]

    def to_json(self) -> str:
        """Return the recipe as JSON text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read a recipe from JSON text; unknown keys and bad values are refused."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"the recipe is not valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise ValueError(f"a recipe must be a JSON object, got {text[:40]!r}")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(
                f"unknown key {unknown[0]!r} in the recipe; known are "
                f"{', '.join(sorted(known))}"
            )
        return cls(**_typed(values))

    def write(self, path: str | Path) -> None:
        """Write the recipe under a temporary name, then rename it into place."""
        with replacing(Path(path)) as temporary:
            temporary.write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a recipe from a file; errors as of `from_json`."""
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the recipe {path} could not be read: {error}") from error


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """Check the types that JSON gave; the ranges are checked by the recipe itself."""
    for key, value in values.items():
        kinds, words = _KINDS[key]
        # To Python, True is a whole number.
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise ValueError(f"{key} in a recipe must be {words}, got {value!r}")
    classes = values.get("classes", ())
    if not all(isinstance(name, str) for name in classes):
        raise ValueError(f"classes in a recipe must be a list of names, got {classes}")
    return {**values, "classes": tuple(classes)}
