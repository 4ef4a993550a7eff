"""The recipe of a training run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from .augmentation import Augmentation
from .checkpoint_config import is_card
from .checks import (
    check_at_least_one,
    check_crop,
    check_fraction,
    check_minutes,
    check_precision,
)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that decides a training run.

    Parameters
    ----------
    architecture : str
        A name of `core.architectures`.
    arguments : dict
        Keyword arguments of its builder.
    class_names : tuple of str
        Without the background.
    description : str
        One line for the list of models.
    native_size : float
        Object size in pixels that the network sees; images are rescaled to it.
    image_size : tuple of int, optional
        In place of an object size: shorter side, and limit of the longer, that every
        image is resized to, as torchvision's networks do.
    steps : int
        Optimiser steps, when ``minutes`` is not given.
    minutes : float, optional
        Time budget instead: the learning rate falls with the time that has passed, so
        two runs differ by the speed of the machine.
    batch_size, crop : int
        Crops a step, and their side in pixels that the network sees.
    learning_rate, weight_decay : float
        Of AdamW; after ``warm_up`` steps the rate falls as a cosine to a hundredth.
    max_gradient_norm : float
        Gradients are clipped to it.
    ema_decay : float
        Weights are averaged exponentially, over the last 1 / (1 - ema_decay) steps or
        so; the average is what is saved.
    balance : float
        See `core.dataset.sampling_weights`.
    validation_fraction : float
        Part of the images held out for the validation AP, per appearance.
    validate_every : int
        Steps between two validations, 0 for only one at the end.
    save_every : int
        Steps between two states from which a killed run goes on.
    seed : int
        With the same seed, data, machine and thread count, a run on the CPU gives the
        same weights.
    precision : str
        "bfloat16" or "float32".
    workers : int
        Processes that prepare crops while the network runs; 0 prepares them in between.
        A GPU wants three or four.
    augmentation : Augmentation
        See there.
    calm : float
        Last part of the steps, in [0, 1], in which the images are changed half as much:
        the network settles on images as they are (as YOLOX ends; Ge et al. 2021). Not
        with ``minutes``, since a batch depends on the seed and the step alone.
    card : dict of str to str
        The model card: what the model is for, where it fails, how good it is ..., a
        sentence under each heading. It goes into the checkpoint as it is.
    start_from : str, optional
        Name of a model, or path of a checkpoint, whose weights the run begins with; by
        default they are random. Its network and classes must be these here; its object
        size, and the number of proposals it learnt from, need not.
    """

    architecture: str = "small_fpn"
    arguments: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ("object",)
    description: str = ""
    native_size: float = 40.0
    image_size: tuple[int, int] | None = None
    steps: int = 5000
    minutes: float | None = None
    batch_size: int = 4
    crop: int = 320
    learning_rate: float = 6e-4
    weight_decay: float = 0.05
    warm_up: int = 200
    max_gradient_norm: float = 5.0
    ema_decay: float = 0.99
    balance: float = 0.5
    validation_fraction: float = 0.05
    validate_every: int = 500
    save_every: int = 100
    seed: int = 0
    precision: str = "bfloat16"
    workers: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    calm: float = 0.0
    card: dict[str, str] = field(default_factory=dict)
    start_from: str | None = None

    def __post_init__(self) -> None:
        check_at_least_one(self, "steps", "batch_size", "save_every")
        check_minutes(self.minutes)
        if self.image_size is not None and not (
            0 < self.image_size[0] <= self.image_size[1]
        ):
            raise ValueError(
                "image_size must be the shorter side and the most of the longer one, "
                f"got {self.image_size}"
            )
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must be in [0, 1), got {self.validation_fraction}"
            )
        check_fraction("calm", self.calm)
        if self.calm and self.minutes is not None:
            raise ValueError("calm is a part of the steps: set steps, not minutes")
        check_crop(self.crop)
        check_precision(self.precision, ("bfloat16", "float32"))
        if not is_card(self.card):
            raise ValueError(
                f"card must be sentences by their headings, got {self.card!r}"
            )
        if not self.class_names:
            raise ValueError("class_names must name at least one class")

    def augmentation_at(self, step: int) -> Augmentation:
        """Return how strongly the images of a step are changed."""
        if self.calm and step >= (1 - self.calm) * self.steps:
            return self.augmentation.calmed()
        return self.augmentation

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Make a configuration from parsed JSON; ValueError for unknown keys."""
        values = dict(values)
        try:
            if "augmentation" in values:
                values["augmentation"] = Augmentation(**values["augmentation"])
            if "class_names" in values:
                values["class_names"] = tuple(values["class_names"])
            if values.get("image_size") is not None:
                values["image_size"] = tuple(values["image_size"])
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"wrong training configuration: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON-able values."""
        return asdict(self)


def learning_rate(highest: float, warm_up: int, step: int, fraction: float) -> float:
    """Return the rate of a step: linear warm-up, then a cosine down to a hundredth.

    Parameters
    ----------
    highest : float
        The rate after the warm-up.
    warm_up : int
        Steps until then.
    step : int
        From 0.
    fraction : float
        Of the whole run that is done, in [0, 1].
    """
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))
    return highest * min(1.0, (step + 1) / max(1, warm_up)) * (0.01 + 0.99 * cosine)
