"""Train a network from nothing, resumably and reproducibly."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .architectures import build
from .augmentation import Augmentation
from .checkpoints import Checkpoint
from .dataset import AnnotatedImage, random_view, sampling_weights
from .devices import choose_device, memory_format
from .progress import relay
from .training_state import Run, TrainingState

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor, nn

Batch = tuple[list["Tensor"], list[dict[str, "Tensor"]]]


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
        Weights are averaged exponentially; the average is what is saved.
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
        Threads that prepare crops while the network runs; 0 prepares them in between.
    augmentation : Augmentation
        See there.
    """

    architecture: str = "small_fpn"
    arguments: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ("object",)
    description: str = ""
    native_size: float = 40.0
    steps: int = 5000
    minutes: float | None = None
    batch_size: int = 4
    crop: int = 320
    learning_rate: float = 6e-4
    weight_decay: float = 0.05
    warm_up: int = 200
    max_gradient_norm: float = 5.0
    ema_decay: float = 0.998
    balance: float = 0.5
    validation_fraction: float = 0.05
    validate_every: int = 500
    save_every: int = 100
    seed: int = 0
    precision: str = "bfloat16"
    workers: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}"
                )
        if self.minutes is not None and self.minutes <= 0:
            raise ValueError(f"minutes must be positive, got {self.minutes}")
        if self.crop < 64 or self.crop % 32:
            raise ValueError(
                f"crop must be a multiple of 32 from 64 on, got {self.crop}"
            )
        if self.precision not in ("bfloat16", "float32"):
            raise ValueError(
                f"precision must be 'bfloat16' or 'float32', got {self.precision!r}"
            )
        if not self.class_names:
            raise ValueError("class_names must name at least one class")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Make a configuration from parsed JSON; ValueError for unknown keys."""
        values = dict(values)
        try:
            if "augmentation" in values:
                values["augmentation"] = Augmentation(**values["augmentation"])
            if "class_names" in values:
                values["class_names"] = tuple(values["class_names"])
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"wrong training configuration: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON-able values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """One step of training.

    Parameters
    ----------
    step : int
        Steps done.
    fraction : float
        Of the whole run, in [0, 1].
    seconds : float
        Time spent on the run so far, earlier sessions counted in.
    losses : dict of str to float
        torchvision's loss terms and their sum, "loss", of this step.
    validation : dict of str to float
        AP on the held-out images, after the steps that validated; else empty.
    """

    step: int
    fraction: float
    seconds: float
    losses: dict[str, float]
    validation: dict[str, float] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """Estimate of the time left; infinite before the first step."""
        return self.seconds * (1 / self.fraction - 1) if self.fraction else math.inf


def train(
    annotated: Sequence[AnnotatedImage],
    config: TrainConfig,
    *,
    device: str = "auto",
    run_folder: Path | None = None,
) -> Generator[TrainProgress, None, Checkpoint]:
    """Train a network from random weights.

    Parameters
    ----------
    annotated : sequence of AnnotatedImage
        All images; a part of them is held out for validation.
    config : TrainConfig
        The recipe.
    device : str
        See `core.devices.choose_device`.
    run_folder : Path, optional
        Where the state of the run and its history are kept. A run that was stopped goes
        on from there, and gives the same weights as one that never was.

    Yields
    ------
    TrainProgress
        After every step. To stop, close the generator: the last state is on disk.

    Returns
    -------
    Checkpoint
        The averaged weights, with their history and provenance.

    Raises
    ------
    ValueError
        When there is nothing to learn from, the folder belongs to another run, or the
        loss is no longer finite.
    """
    _check_images(annotated)
    training, held_out = split(annotated, config.validation_fraction, config.seed)
    run = Run(run_folder, config.to_dict(), [item.name for item in annotated])
    state = _start(config, choose_device(device))
    run.restore(state)
    weights = sampling_weights(training, config.balance)

    def make(step: int) -> Batch:
        return draw_batch(training, weights, config, step)

    before, started = state.seconds, time.monotonic()
    while (fraction := _fraction(state, config)) < 1:
        # Closing the pool with the generator leaves no thread behind.
        with ThreadPoolExecutor(max(1, config.workers)) as pool:
            stretch = _stretch(state, config)
            batches = _prefetch(pool if config.workers else None, make, stretch)
            for batch in batches:
                losses = _step(state, config, batch, fraction)
                state.step += 1
                state.seconds = before + time.monotonic() - started
                fraction = _fraction(state, config)
                if state.step % config.save_every == 0:
                    run.save(state)
                yield TrainProgress(state.step, fraction, state.seconds, losses)
                run.log(state, losses)
                if fraction >= 1:
                    break
        if _validation_due(state, config, fraction):
            validation = yield from _validate(state, config, held_out, fraction)
            run.log(state, {}, validation)
            run.save(state)
            yield TrainProgress(state.step, fraction, state.seconds, {}, validation)
    return _finished(state, config, annotated, held_out, run)


def _check_images(annotated: Sequence[AnnotatedImage]) -> None:
    if not annotated:
        raise ValueError("there are no annotated images to train on")
    if not any(item.label_image.any() for item in annotated):
        raise ValueError("none of the label images holds an object")


def split(
    annotated: Sequence[AnnotatedImage], fraction: float, seed: int
) -> tuple[list[AnnotatedImage], list[AnnotatedImage]]:
    """Hold out a fraction of each group of alike images, reproducibly.

    Returns
    -------
    training, held_out : list of AnnotatedImage
        A group gives at least one image when it has ten or more.
    """
    rng = np.random.default_rng(seed)
    held_out: set[int] = set()
    groups: dict[str, list[int]] = {}
    for index, item in enumerate(annotated):
        groups.setdefault(item.appearance, []).append(index)
    for _, members in sorted(groups.items()):
        count = round(fraction * len(members))
        if fraction and len(members) >= 10:
            count = max(1, count)
        held_out.update(int(i) for i in rng.permutation(members)[:count])
    return (
        [item for index, item in enumerate(annotated) if index not in held_out],
        [annotated[index] for index in sorted(held_out)],
    )


def draw_batch(
    annotated: Sequence[AnnotatedImage],
    weights: Sequence[float] | np.ndarray[Any, Any],
    config: TrainConfig,
    step: int,
) -> Batch:
    """Draw the batch of a step; it depends on the seed and the step alone."""
    rng = np.random.default_rng([config.seed, step])
    picks = rng.choice(len(annotated), config.batch_size, p=weights)
    views = [
        random_view(
            annotated[pick],
            rng,
            crop=config.crop,
            native_size=config.native_size,
            augmentation=config.augmentation,
        )
        for pick in picks
    ]
    return [image for image, _ in views], [target for _, target in views]


def _prefetch(
    pool: ThreadPoolExecutor | None, make: Any, steps: Sequence[int]
) -> Iterator[Batch]:
    """Make batches in order, some ahead of their use where there is a pool."""
    if pool is None:
        yield from map(make, steps)
        return
    waiting = iter(steps)
    ahead = [pool.submit(make, step) for step in islice(waiting, 2 * pool._max_workers)]
    try:
        while ahead:
            batch = ahead.pop(0).result()
            ahead.extend(pool.submit(make, step) for step in islice(waiting, 1))
            yield batch
    finally:
        for future in ahead:
            future.cancel()


def _start(config: TrainConfig, device: torch.device) -> TrainingState:
    torch.manual_seed(config.seed)
    network = build(config.architecture, len(config.class_names) + 1, config.arguments)
    network = network.to(device, memory_format=memory_format(device)).train()
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
    )
    average = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True
    )
    return TrainingState(network, average, optimizer, device)


def _fraction(state: TrainingState, config: TrainConfig) -> float:
    if config.minutes is not None:
        return min(1.0, state.seconds / 60 / config.minutes)
    return min(1.0, state.step / config.steps)


def _stretch(state: TrainingState, config: TrainConfig) -> range:
    """Steps up to the next validation, or to the end."""
    end = config.steps if config.minutes is None else 2**62
    if config.validate_every:
        due = (state.step // config.validate_every + 1) * config.validate_every
        end = min(end, due)
    return range(state.step, end)


def _validation_due(state: TrainingState, config: TrainConfig, fraction: float) -> bool:
    every = config.validate_every
    return fraction >= 1 or bool(every and state.step % every == 0)


def learning_rate(config: TrainConfig, step: int, fraction: float) -> float:
    """Return the rate of a step: linear warm-up, then a cosine down to a hundredth."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))
    warm_up = min(1.0, (step + 1) / max(1, config.warm_up))
    return config.learning_rate * warm_up * (0.01 + 0.99 * cosine)


def _step(
    state: TrainingState, config: TrainConfig, batch: Batch, fraction: float
) -> dict[str, float]:
    """Run one optimiser step and return its losses."""
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, state.step, fraction)
    # torchvision's samplers draw from the global generator.
    torch.manual_seed(hash((config.seed, state.step)) % 2**63)
    images = [image.to(state.device, non_blocking=True) for image in batch[0]]
    targets = [
        {key: value.to(state.device) for key, value in target.items()}
        for target in batch[1]
    ]
    state.network.train()
    with mixed_precision(state.device, config.precision):
        terms = state.network(images, targets)
        loss = torch.stack([term.float() for term in terms.values()]).sum()
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ValueError(
            f"the loss is no longer finite at step {state.step}; "
            f"try a learning rate below {config.learning_rate}"
        )
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), config.max_gradient_norm)
    state.optimizer.step()
    state.average.update_parameters(state.network)
    return {
        "loss": value,
        **{key: float(term.detach()) for key, term in terms.items()},
    }


def mixed_precision(device: torch.device, precision: str) -> Any:
    """Return the autocast context of a precision; none for float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _validate(
    state: TrainingState,
    config: TrainConfig,
    held_out: Sequence[AnnotatedImage],
    fraction: float,
) -> Generator[TrainProgress, None, dict[str, float]]:
    """Measure AP on the held-out images with the averaged weights."""
    from .validation import validation_scores

    if not held_out:
        return {}
    checkpoint = Checkpoint(_checkpoint_config(config), averaged_state(state.average))
    return (
        yield from relay(
            validation_scores(checkpoint, held_out, device=str(state.device)),
            lambda: TrainProgress(state.step, fraction, state.seconds, {}),
        )
    )


def averaged_state(average: AveragedModel) -> dict[str, Tensor]:
    """Return the averaged network's state dict."""
    network: nn.Module = average.module
    return dict(network.state_dict())


def _checkpoint_config(config: TrainConfig) -> dict[str, Any]:
    return {
        "architecture": {"name": config.architecture, "arguments": config.arguments},
        "class_names": list(config.class_names),
        "description": config.description,
        "object_size": config.native_size,
    }


def _finished(
    state: TrainingState,
    config: TrainConfig,
    annotated: Sequence[AnnotatedImage],
    held_out: Sequence[AnnotatedImage],
    run: Run,
) -> Checkpoint:
    from .provenance import provenance

    return Checkpoint(
        {
            **_checkpoint_config(config),
            "provenance": {
                **provenance(),
                "training": config.to_dict(),
                "images": len(annotated),
                "objects": int(
                    sum(np.unique(item.label_image).size - 1 for item in annotated)
                ),
                "held_out": [item.name for item in held_out],
                "steps": state.step,
                "seconds": round(state.seconds),
                "metrics": run.last_validation,
            },
        },
        averaged_state(state.average),
    )
