"""The recipe of a fine-tuning run; imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_maskrcnn.core.checks import (
    check_at_least_one,
    check_crop,
    check_fraction,
    check_minutes,
    check_not_negative,
    check_precision,
)

if TYPE_CHECKING:
    from napari_maskrcnn.core.augmentation import Augmentation

PARTS = {
    "heads": "box and mask heads",
    "rpn": "heads and region proposals",
    "fpn": "heads, region proposals and feature pyramid",
    "all": "the whole network",
}
"""What can be trained, each with its words for a person."""


class Rates(NamedTuple):
    """How fast a run learns: the highest rate of AdamW, and the trunk's part of it."""

    learning_rate: float
    trunk_rate: float


# On stained tissue, whose class the model knew, the heads gained more at 1e-4 than at
# 5e-4, and took 0.02 instead of 0.70 from the AP on fluorescence. With replayed images,
# which keep a model from forgetting, the whole network gained 0.19 at the second rates,
# and fluorescence 0.03. A trunk that was made for no more classes than are new has to
# learn what tells these apart: in as many steps, fruits came to an AP of 0.81 with the
# last rates and to 0.55 with those before. One that was made for many can tell already.
# See docs/benchmarks.md.
KNOWN_CLASSES = Rates(1e-4, 0.2)
KNOWN_CLASSES_REPLAYED = Rates(6e-4, 1.0)
SOME_NEW_CLASSES = Rates(5e-4, 0.2)
MOSTLY_NEW_CLASSES = Rates(2e-3, 1.0)


@dataclass(frozen=True, slots=True)
class FineTuneConfig:
    """Everything that decides a fine-tuning run, beside the model and the images.

    Parameters
    ----------
    train : str
        What learns, a key of ``PARTS``; the rest is frozen. Statistics of batch
        normalisation are frozen throughout: a few images are too few to measure them.
    drop_classes : tuple of str
        Classes of the model that the new one shall not have.
    steps : int
        Optimiser steps, when ``minutes`` is not given.
    minutes : float, optional
        Time budget instead, measuring the model before and after included; such runs
        differ with the speed of the machine.
    batch_size, crop : int
        Views a step, and their side in pixels that the network sees.
    learning_rate : float, optional
        Of AdamW; after ``warm_up`` steps it falls as a cosine to a hundredth. By
        default it goes by what is new to the model; see `rates_for`.
    weight_decay : float
        Of AdamW.
    trunk_rate : float, optional
        Part of the rate with which the trunk of the backbone learns, when it does; by
        default likewise.
    max_gradient_norm : float
        Gradients are clipped to it.
    ema_decay : float
        Weights are averaged over the last 1 / (1 - ema_decay) steps or so; the average
        is what is validated and kept.
    held_out : float
        Part of the images (or of a region, where there are few) for validation.
    validate_every : int
        Steps between two validations.
    patience : int
        Validations without a better AP after which the run ends; 0 for never.
    save_every : int
        Steps between two states from which a killed run goes on.
    cache_views : int
        Augmented views of an image for which the output of the frozen part is kept and
        used again and again; 0 draws a new view every time and keeps nothing.
    memory_budget, disk_budget : int
        Bytes for what is kept. What does not fit into memory goes to the run's folder,
        where it takes at most half of what is free; what does not fit there is computed
        again.
    sure_ground : bool
        Whether unreviewed ground in which the old model finds nothing counts as
        background; see `sure_ground.with_sure_ground`. It does not where classes are
        new.
    replay_share : float
        Part of the views that come from the replay images, if there are any.
    seed : int
        With the same seed, data, machine and thread count, a run of a number of steps
        on the CPU gives the same weights.
    precision : str
        "auto" (bfloat16 on GPUs that have it, else float32), "float32" or "bfloat16".
    description : str
        One line for the list of models.
    augmentation : Augmentation, optional
        By default milder than for training from nothing.
    """

    train: str = "heads"
    drop_classes: tuple[str, ...] = ()
    steps: int = 300
    minutes: float | None = None
    batch_size: int = 2
    crop: int = 256
    learning_rate: float | None = None
    weight_decay: float = 0.01
    trunk_rate: float | None = None
    warm_up: int = 20
    max_gradient_norm: float = 5.0
    ema_decay: float = 0.97
    held_out: float = 0.2
    validate_every: int = 50
    patience: int = 8
    save_every: int = 25
    cache_views: int = 16
    memory_budget: int = 1 << 30
    disk_budget: int = 4 << 30
    sure_ground: bool = True
    replay_share: float = 0.25
    seed: int = 0
    precision: str = "auto"
    description: str = ""
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        if self.train not in PARTS:
            raise ValueError(
                f"train must be one of {', '.join(PARTS)}, got {self.train!r}"
            )
        check_at_least_one(self, "steps", "batch_size", "save_every", "validate_every")
        check_not_negative(
            self, "patience", "cache_views", "memory_budget", "disk_budget"
        )
        check_minutes(self.minutes)
        if not 0 < self.held_out < 1:
            raise ValueError(
                f"held_out must be between 0 and 1, both excluded, got {self.held_out}"
            )
        check_fraction("replay_share", self.replay_share)
        check_crop(self.crop)
        check_precision(self.precision, ("auto", "bfloat16", "float32"))

    def rates(self, default: Rates = SOME_NEW_CLASSES) -> Rates:
        """Return the rates that were set, and `default` for what was not."""
        rate, share = self.learning_rate, self.trunk_rate
        return Rates(
            default.learning_rate if rate is None else rate,
            default.trunk_rate if share is None else share,
        )

    def filled(self, default: Rates = SOME_NEW_CLASSES) -> FineTuneConfig:
        """Return the configuration with what it leaves to the package spelt out.

        Parameters
        ----------
        default : Rates
            For what is not set; see `rates_for`.
        """
        from napari_maskrcnn.core.augmentation import Augmentation

        mild = Augmentation(
            scale_jitter=1.5, invert=0.0, blur=0.1, noise=0.15, illumination=0.1,
            tint=0.0, to_grey=0.0, gamma=0.2, colour=0.05,
        )  # fmt: skip
        rate, share = self.rates(default)
        return replace(
            self,
            learning_rate=rate,
            trunk_rate=share,
            augmentation=self.augmentation or mild,
        )

    @property
    def keeps_views(self) -> bool:
        """Whether outputs of the frozen part are kept; pointless if nothing is."""
        return self.cache_views > 0 and self.train != "all"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FineTuneConfig:
        """Make a configuration from parsed JSON; ValueError for unknown keys."""
        from napari_maskrcnn.core.augmentation import Augmentation

        values = dict(values)
        try:
            if values.get("augmentation") is not None:
                values["augmentation"] = Augmentation(**values["augmentation"])
            if "drop_classes" in values:
                values["drop_classes"] = tuple(values["drop_classes"])
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"wrong fine-tuning configuration: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON-able values."""
        return asdict(self)


def rates_for(
    known: int, new: int, *, replayed: bool = False, whole_images: bool = False
) -> Rates:
    """Return how fast to learn when nobody says it.

    Parameters
    ----------
    known, new : int
        How many classes the model knows, and how many it does not.
    replayed : bool
        Whether it sees images of what it knows again. Without them a higher rate than
        that of known classes makes it forget what its other images looked like.
    whole_images : bool
        Whether the model sees whole images. Such are torchvision's networks, ten times
        as large, on which the higher rates were not tried.
    """
    if not new:
        fast = replayed and not whole_images
        return KNOWN_CLASSES_REPLAYED if fast else KNOWN_CLASSES
    fast = new >= known and not whole_images
    return MOSTLY_NEW_CLASSES if fast else SOME_NEW_CLASSES
