"""Train a whole network, resumably and reproducibly."""

from __future__ import annotations

import math
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .checkpoint_config import SCORE_THRESHOLD
from .checkpoints import Checkpoint
from .dataset import AnnotatedImage, sampling_weights
from .devices import choose_device
from .kinds import output_kind
from .mask_alignment import aligned
from .progress import relay
from .training_batches import draw_batch, prefetched
from .training_config import TrainConfig, learning_rate
from .training_start import checkpoint_config, first_weights, start
from .training_state import Run, TrainingState

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from .training_batches import Batch


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
    """Train a whole network, from random weights or from those of a checkpoint.

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
        When there is nothing to learn from, the folder belongs to another run, the
        weights to begin with are another network's, or the loss is no longer finite.
    """
    _check_masks(config)
    _check_images(annotated)
    training, held_out = split(annotated, config.validation_fraction, config.seed)
    run = Run(run_folder, config.to_dict(), [item.name for item in annotated])
    first = first_weights(config)
    state = start(config, first, choose_device(device))
    run.restore(state)
    weights = sampling_weights(training, config.balance)
    make = partial(draw_batch, training, weights, config)

    before, started = state.seconds, time.monotonic()
    while (fraction := _fraction(state, config)) < 1:
        stretch = _stretch(state, config)
        # Closed with this generator, so that no process outlives it.
        with closing(prefetched(make, stretch, config.workers)) as batches:
            for batch in batches:
                losses = _step(state, config, batch, fraction)
                state.step += 1
                state.seconds = before + time.monotonic() - started
                fraction = _fraction(state, config)
                run.log(state, losses)
                # Where a validation is due the state is saved after it: a run that is
                # stopped in between shall not go on without it.
                due = _validation_due(state, config, fraction)
                if state.step % config.save_every == 0 and not due:
                    run.save(state)
                yield TrainProgress(state.step, fraction, state.seconds, losses)
                if fraction >= 1:
                    break
        if _validation_due(state, config, fraction):
            validation = yield from _validate(state, config, held_out, fraction)
            if validation:
                run.log(state, {}, validation)
            run.save(state)
            yield TrainProgress(state.step, fraction, state.seconds, {}, validation)
    return _finished(state, config, first, annotated, held_out, run)


def _check_masks(config: TrainConfig) -> None:
    if output_kind(config.architecture) != "masks":
        raise ValueError(
            f"only networks that give masks are trained from nothing, and "
            f"{config.architecture} gives {output_kind(config.architecture)} only"
        )


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
        # Something is left to learn from.
        count = min(round(fraction * len(members)), len(members) - 1)
        if fraction and len(members) >= 10:
            count = max(1, count)
        held_out.update(int(i) for i in rng.permutation(members)[:count])
    return (
        [item for index, item in enumerate(annotated) if index not in held_out],
        [annotated[index] for index in sorted(held_out)],
    )


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


def _step(
    state: TrainingState, config: TrainConfig, batch: Batch, fraction: float
) -> dict[str, float]:
    """Run one optimiser step and return its losses."""
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(
            config.learning_rate, config.warm_up, state.step, fraction
        )
    # torchvision's samplers draw from the global generator.
    torch.manual_seed(hash((config.seed, state.step)) % 2**63)
    images = [image.to(state.device, non_blocking=True) for image in batch[0]]
    targets = [
        aligned({key: value.to(state.device) for key, value in target.items()})
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
    # A young average must forget its random beginning first.
    decay = min(config.ema_decay, (1 + state.step) / (10 + state.step))
    state.average.multi_avg_fn = get_ema_multi_avg_fn(decay)
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
    checkpoint = Checkpoint(checkpoint_config(config), averaged_state(state.average))
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


def _finished(
    state: TrainingState,
    config: TrainConfig,
    first: Checkpoint | None,
    annotated: Sequence[AnnotatedImage],
    held_out: Sequence[AnnotatedImage],
    run: Run,
) -> Checkpoint:
    from .provenance import provenance

    metrics = dict(run.last_validation)
    score_threshold = metrics.pop("score_threshold", SCORE_THRESHOLD)
    return Checkpoint(
        {
            **checkpoint_config(config),
            "score_threshold": score_threshold,
            "provenance": {
                **provenance(),
                **({} if first is None else {"started_from": first.digest()}),
                "training": config.to_dict(),
                "images": len(annotated),
                "objects": int(
                    sum(np.unique(item.label_image).size - 1 for item in annotated)
                ),
                "held_out": [item.name for item in held_out],
                "steps": state.step,
                "seconds": round(state.seconds),
                "metrics": metrics,
            },
        },
        averaged_state(state.average),
    )
