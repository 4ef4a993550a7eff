"""The parts of a fine-tuning run, in the order in which they are called."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import torch

from .checkpoints import Checkpoint
from .class_rows import with_classes
from .devices import choose_device, inference_precision, memory_format
from .fine_tuning_record import identity, record
from .fine_tuning_state import LOG_EVERY, VIEWS_NAME, FineTuneRun, FineTuneState
from .frozen_part import CutNetwork, joined
from .judging import Judge, Recommendation, recommend, scores
from .training_config import learning_rate
from .views import Views

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from torch import Tensor

    from .dataset import AnnotatedImage
    from .fine_tuning_config import FineTuneConfig
    from .fine_tuning_plan import FineTunePlan
    from .frozen_part import FrozenOutput
    from .instances import Instances

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
    device, folder, parent
        See `fine_tuning.fine_tune`.
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
    ) -> None:
        self._parent = parent
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
        self.state = _initial_state(self.cut, config)
        self.run.restore(self.state, self.device)
        self._seconds_before = self.state.seconds
        self.views = Views(
            self.cut,
            chosen.training,
            replay[0] if config.replay_share else (),
            config,
            float(checkpoint.config["object_size"]),
            folder / VIEWS_NAME if folder else None,
        )
        self._judged = {"": chosen.judging, "replay_": replay[1]}
        self._judges: dict[str, Judge] = {}
        self._batch: list[tuple[FrozenOutput, dict[str, Tensor]]] = []
        self.last_validation: dict[str, float] = {}
        self.found_before: tuple[Instances, ...] = ()
        self.found_after: tuple[Instances, ...] = ()
        self.after: dict[str, float] = {}
        self.replay_after: dict[str, float] = {}

    # How far it is.

    @property
    def seconds(self) -> float:
        """Time spent, earlier sessions counted in."""
        return self._seconds_before + time.monotonic() - self._started

    @property
    def fraction(self) -> float:
        """Of the steps or of the time."""
        if self.config.minutes is not None:
            return min(1.0, self.seconds / 60 / self.config.minutes)
        return min(1.0, self.state.step / self.config.steps)

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

    # Before.

    @property
    def before(self) -> dict[str, float]:
        """The old model's figures."""
        return _without(self.state.before, ("replay_", "proposed"))

    @property
    def replay_before(self) -> dict[str, float]:
        """The old model's figures on the replay images."""
        return _only(self.state.before, "replay_")

    @property
    def recommendation(self) -> Recommendation:
        """What to train, by what the old model's proposals miss."""
        return recommend(self.state.before["proposed"])

    def measure_before(self) -> Generator[None, None, None]:
        """Measure the old model on all that is held out, once a run."""
        figures: dict[str, float] = {}
        frozen_trunk = self.config.train == "heads"
        for prefix, items in self._judged.items():
            if not items:
                continue
            old = Judge(
                self._old, items, str(self.device), budget=self.config.memory_budget
            )
            found = yield from old.instances()
            figures |= _prefixed(prefix, scores(items, found))
            if not prefix:
                self.found_before = tuple(found)
                figures["proposed"] = yield from old.proposed()
            self._judges[prefix] = Judge(
                self._start,
                items,
                str(self.device),
                encodings=old.encodings if frozen_trunk else None,
                budget=self.config.memory_budget,
            )
        if not self.state.before:
            self.state.before = figures
            self.run.log(self.state, figures)
            self.save()

    # A step.

    def prepare(self) -> Generator[None, None, None]:
        """Get the views of the next step, with a pause after each that is new."""
        self._batch = []
        for view in self.views.picks(self.state.step):
            output, target = self.views.get(view)
            # A loss over nothing would be no number.
            if len(target["labels"]) or "unreviewed" not in target:
                self._batch.append((output, target))
            yield

    def step(self) -> dict[str, float]:
        """Run one optimiser step over what was prepared; return its losses."""
        state, config = self.state, self.config
        rate = learning_rate(config, state.step, self.fraction)
        losses = self._optimise(rate) if self._batch else {}
        self._batch = []
        state.step += 1
        state.seconds = self.seconds
        if losses and state.step % LOG_EVERY == 0:
            self.run.log(state, {"learning_rate": rate, **losses})
        if state.step % config.save_every == 0:
            self.save()
        return losses

    def _optimise(self, rate: float) -> dict[str, float]:
        state, config = self.state, self.config
        for group in state.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        # torchvision's samplers draw from the global generator.
        torch.manual_seed(hash((config.seed, state.step)) % 2**63)
        batch = joined([output for output, _ in self._batch]).to(self.device)
        targets = [
            {key: value.to(self.device) for key, value in target.items()}
            for _, target in self._batch
        ]
        terms = self.cut.losses(batch, (config.crop, config.crop), targets)
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ValueError(
                f"the loss is no longer finite at step {state.step}; "
                f"try a learning rate below {config.learning_rate}"
            )
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(
            state.learning.values(), config.max_gradient_norm
        )
        state.optimizer.step()
        self._update_average()
        return {"loss": value, **{k: float(v.detach()) for k, v in terms.items()}}

    def _update_average(self) -> None:
        # The first steps, on a high rate, are soon forgotten.
        step = self.state.step
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        for key, parameter in self.state.learning.items():
            self.state.average[key].lerp_(parameter.detach(), 1 - decay)

    # Measuring.

    def validate(self) -> Generator[None, None, None]:
        """Measure the averaged weights; keep them if they are the best so far."""
        state = self.state
        found = yield from self._measure(state.average)
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
        self.save()

    def measure_after(self) -> Generator[None, None, None]:
        """Segment what is held out with the best weights."""
        self._load(self.state.best)
        self.found_after = tuple((yield from self._judges[""].instances()))
        self.after = _without(self.state.best_scores, ("replay_",))
        self.replay_after = _only(self.state.best_scores, "replay_")
        self.save()

    def _measure(
        self, weights: dict[str, Tensor]
    ) -> Generator[None, None, dict[str, float]]:
        self._load(weights)
        figures: dict[str, float] = {}
        for prefix, judge in self._judges.items():
            figures |= _prefixed(prefix, (yield from judge.scores()))
        return figures

    def _load(self, weights: dict[str, Tensor]) -> None:
        for judge in self._judges.values():
            judge.load(
                {**self._start.state, **weights},
                trunk_changed=self.config.train != "heads",
            )

    # Keeping.

    def best_checkpoint(self) -> Checkpoint:
        """Return the best model so far, with its provenance.

        Tensors that did not learn are those of the old model, in its precision: see
        `Checkpoint.trunk_id`.
        """
        learnt = {k: v.detach().cpu().clone() for k, v in self.state.best.items()}
        config = {
            **self._start.config,
            **record(self._old, self._parent, self.plan, self.config, self.state),
        }
        return Checkpoint(config, {**self._start.state, **learnt})

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


def _initial_state(cut: CutNetwork, config: FineTuneConfig) -> FineTuneState:
    learning = cut.parameters()
    groups: dict[tuple[float, bool], list[Any]] = {}
    for name, parameter in learning.items():
        share = config.trunk_rate if name.startswith("backbone.body.") else 1.0
        groups.setdefault((share, parameter.ndim > 1), []).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {
                "params": parameters,
                "share": share,
                "weight_decay": config.weight_decay if decayed else 0.0,
            }
            for (share, decayed), parameters in groups.items()
        ],
        lr=config.learning_rate,
    )
    average = {key: p.detach().clone() for key, p in learning.items()}
    return FineTuneState(learning, average, optimizer)


def _merit(figures: dict[str, float]) -> float:
    """What the best model is chosen by."""
    return (figures["ap50"] + figures["ap75"]) / 2


def _prefixed(prefix: str, figures: dict[str, float]) -> dict[str, float]:
    return {prefix + key: value for key, value in figures.items()}


def _only(figures: dict[str, float], prefix: str) -> dict[str, float]:
    return {
        key.removeprefix(prefix): value
        for key, value in figures.items()
        if key.startswith(prefix)
    }


def _without(figures: dict[str, float], prefixes: tuple[str, ...]) -> dict[str, float]:
    return {k: value for k, value in figures.items() if not k.startswith(prefixes)}
