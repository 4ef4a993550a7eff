"""The parts of a fine-tuning run, in the order in which they are called."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import torch

from napari_maskrcnn.core.checkpoint_config import SCORE_THRESHOLD
from napari_maskrcnn.core.checkpoints import Checkpoint
from napari_maskrcnn.core.devices import (
    choose_device,
    inference_precision,
    memory_format,
)
from napari_maskrcnn.core.training_config import learning_rate

from .advice import Recommendation, recommend
from .class_rows import with_classes
from .frozen_part import CutNetwork
from .judging import SCORE_THRESHOLD_KEY
from .measuring import PROPOSED, Measuring, on_held_out, on_replay
from .record import identity, record
from .state import LOG_EVERY, VIEWS_NAME, FineTuneRun, initial_state
from .sure_ground import with_sure_ground
from .views import Views

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_maskrcnn.core.dataset import AnnotatedImage

    from .config import FineTuneConfig
    from .frozen_part import FrozenOutput
    from .planning import FineTunePlan
    from .team import Team

    Replay = tuple[Sequence[AnnotatedImage], Sequence[AnnotatedImage]]


class FineTuneJob:
    """One run: what it is made of, and its steps.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model to start from.
    chosen : FineTunePlan
        The images.
    replay : tuple
        Replay images to learn from, and to measure with.
    config : FineTuneConfig
        With its augmentation spelt out.
    device, folder, parent, team
        See `tune.fine_tune`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        chosen: FineTunePlan,
        replay: Replay,
        config: FineTuneConfig,
        device: str,
        folder: Path | None,
        parent: str,
        team: Team,
    ) -> None:
        self._parent, self.team = parent, team
        folder = folder if team.leads else None
        self.plan, self.config = chosen, config
        self._started = time.monotonic()
        self._old = checkpoint
        self._start = with_classes(checkpoint, chosen.class_names)
        self.device = choose_device(device)
        self.run = FineTuneRun(folder, identity(checkpoint, chosen, replay, config))
        self.cut = CutNetwork(
            self._start.build().to(
                self.device, memory_format=memory_format(self.device)
            ),
            config.train,
            _precision(config.precision, self.device),
        )
        self.state = initial_state(self.cut.parameters(), config)
        self.run.restore(self.state, self.device)
        if team.size > 1:
            self.state.restore(team.share(self.state.to_dict()))
        self._seconds_before = self.state.seconds
        self.fraction = 0.0
        self.synchronise()
        self.views = Views(
            self.cut,
            chosen.training,
            replay[0] if config.replay_share else (),
            config,
            checkpoint.object_size,
            checkpoint.image_size,
            folder / VIEWS_NAME if folder else None,
        )
        # Of several processes one measures for all.
        judged = (chosen.judging, replay[1]) if team.leads else ((), ())
        self.measuring = Measuring(
            checkpoint, self._start, *judged, str(self.device), config
        )
        self.last_validation: dict[str, float] = {}

    # How far it is.

    @property
    def seconds(self) -> float:
        """Time spent, earlier sessions counted in."""
        return self._seconds_before + time.monotonic() - self._started

    def synchronise(self) -> None:
        """Agree on how far the run is: of the steps, or of the time."""
        done = self.state.step / self.config.steps
        if self.config.minutes is not None:
            done = self.seconds / 60 / self.config.minutes
        self.fraction = self.team.share(min(1.0, done))

    @property
    def ended(self) -> str:
        """Why the run is over; empty while it is not."""
        config, state = self.config, self.state
        if config.patience and state.without_gain >= config.patience:
            return f"no better AP in {config.patience} validations"
        if self.fraction < 1 or state.validated != state.step:
            return ""
        if config.minutes is not None:
            return "the time was up"
        return "all steps were done"

    @property
    def validation_due(self) -> bool:
        """Whether to measure before the next step."""
        step = self.state.step
        if step == 0 or self.state.validated == step:
            return False
        return self.fraction >= 1 or step % self.config.validate_every == 0

    # Measuring.

    @property
    def before(self) -> dict[str, float]:
        """The old model's figures."""
        return on_held_out(self.state.before)

    @property
    def after(self) -> dict[str, float]:
        """The best model's figures."""
        return on_held_out(self.state.best_scores)

    @property
    def replay_before(self) -> dict[str, float]:
        """The old model's figures on the replay images."""
        return on_replay(self.state.before)

    @property
    def replay_after(self) -> dict[str, float]:
        """The best model's figures on the replay images."""
        return on_replay(self.state.best_scores)

    @property
    def recommendation(self) -> Recommendation:
        """What to train; see there."""
        return recommend(
            self.state.before[PROPOSED], self.after, trained=self.config.train
        )

    def look_at_ground(self) -> Generator[None, None, None]:
        """Ask the old model which unreviewed ground is background, if it is asked."""
        if not self.plan.sure_ground:
            return
        items = list(self.plan.training)
        if self.team.leads:
            items = yield from with_sure_ground(items, self._old, str(self.device))
        # One answer for all processes: they may round differently.
        grounds = self.team.share([item.label_image for item in items])
        self.views.use_labels(grounds)

    def measure_before(self) -> Generator[None, None, None]:
        """Measure the old model on all that is held out, once a run."""
        figures = yield from self.measuring.measure_old()
        if not self.state.before:
            self.state.before = self.team.share(figures)
            self.run.log(self.state, figures)
            self.save()
        self.synchronise()

    def validate(self) -> Generator[None, None, None]:
        """Measure the averaged weights; keep them if they are the best so far."""
        state = self.state
        found = self.team.share((yield from self.measuring.measure(state.average)))
        self.last_validation = found
        self.run.log(state, found)
        if not state.best or _merit(found) > _merit(state.best_scores):
            state.best = {key: value.clone() for key, value in state.average.items()}
            state.best_step, state.best_scores = state.step, found
            state.without_gain = 0
            self.run.keep_best(self.best_checkpoint())
        else:
            state.without_gain += 1
        state.validated = state.step
        self.synchronise()
        yield
        self.save()

    def measure_after(self) -> Generator[None, None, None]:
        """Segment what is held out with the best weights."""
        yield from self.measuring.find(self.state.best, self._score_threshold)
        self.save()

    # A step.

    def step(self) -> Generator[None, None, dict[str, float]]:
        """Run one optimiser step, with pauses; return its losses.

        The views are taken one by one and their gradients averaged: that bounds the
        memory, and several processes that share the views get the same.
        """
        state, config = self.state, self.config
        highest, _ = config.rates()
        rate = learning_rate(highest, config.warm_up, state.step, self.fraction)
        state.optimizer.zero_grad(set_to_none=True)
        sums: Counter[str] = Counter()
        views = self.views.picks(state.step)
        for place in self.team.places(len(views)):
            output, target = yield from self.views.get(views[place])
            yield
            # A loss over nothing would be no number.
            if len(target["labels"]) or "unreviewed" not in target:
                sums.update((yield from self._gradients(output, target, place)))
                yield
        losses = self.team.total(sums)
        if losses:
            self._optimise(rate)
        state.step += 1
        state.seconds = self.seconds
        self.synchronise()
        if losses and state.step % LOG_EVERY == 0:
            self.run.log(state, {"learning_rate": rate, **losses})
        if state.step % config.save_every == 0:
            yield
            self.save()
        return losses

    def _gradients(
        self, output: FrozenOutput, target: dict[str, Tensor], place: int
    ) -> Generator[None, None, dict[str, float]]:
        """Add a view's gradients; return its part of the step's losses."""
        config, step = self.config, self.state.step
        terms = yield from self.cut.losses_steps(
            output.to(self.device),
            (config.crop, config.crop),
            [{key: value.to(self.device) for key, value in target.items()}],
            seed=hash((config.seed, step, place)) % 2**63,
        )
        shares = {key: term.float() / config.batch_size for key, term in terms.items()}
        loss = torch.stack(list(shares.values())).sum()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ValueError(
                f"the loss is no longer finite at step {step}; "
                f"try a learning rate below {config.rates().learning_rate}"
            )
        yield
        loss.backward()
        return {"loss": value, **{k: float(v.detach()) for k, v in shares.items()}}

    def _optimise(self, rate: float) -> None:
        state = self.state
        self.team.sum_gradients(state.learning.values())
        for group in state.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        torch.nn.utils.clip_grad_norm_(
            state.learning.values(), self.config.max_gradient_norm
        )
        state.optimizer.step()
        self._update_average()

    def _update_average(self) -> None:
        # The first steps, on a high rate, are soon forgotten.
        step = self.state.step
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        for key, parameter in self.state.learning.items():
            self.state.average[key].lerp_(parameter.detach(), 1 - decay)

    # Keeping.

    def best_checkpoint(self) -> Checkpoint:
        """Return the best model so far, with its provenance.

        Tensors that did not learn are those of the old model, in its precision: see
        `Checkpoint.trunk_id`.
        """
        learnt = {k: v.detach().cpu().clone() for k, v in self.state.best.items()}
        # Of the old model, which knew and failed at other things.
        own = {k: v for k, v in self._start.config.items() if k != "card"}
        config = {
            **own,
            SCORE_THRESHOLD_KEY: self._score_threshold,
            **record(self._old, self._parent, self.plan, self.config, self.state),
        }
        return Checkpoint(config, {**self._start.state, **learnt})

    @property
    def _score_threshold(self) -> float:
        """The threshold at which the best model is best."""
        return self.state.best_scores.get(SCORE_THRESHOLD_KEY, SCORE_THRESHOLD)

    def save(self) -> None:
        """Write the state from which the run can go on."""
        self.state.seconds = self.seconds
        self.run.save(self.state)

    def close(self) -> None:
        """Leave nothing behind but what is kept on purpose."""
        self.views.close()


def _precision(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        found = inference_precision(device)
        # float16 would need its gradients scaled.
        return torch.float32 if found == torch.float16 else found
    return torch.float32 if name == "float32" else torch.bfloat16


def _merit(figures: dict[str, float]) -> float:
    """What the best model is chosen by."""
    return (figures["ap50"] + figures["ap75"]) / 2
