"""Fine-tune a model on a person's corrections."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

from napari_maskrcnn.core.checkpoints import Checkpoint, read_checkpoint
from napari_maskrcnn.core.model_list import find_model
from napari_maskrcnn.core.progress import relay

from .advice import advise
from .config import FineTuneConfig, rates_for
from .job import FineTuneJob
from .planning import check_kind, plan, replay_plan
from .team import Team

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_maskrcnn.core.dataset import AnnotatedImage
    from napari_maskrcnn.core.instances import Instances

    from .advice import Recommendation
    from .planning import FineTunePlan

__all__ = [
    "FineTuneConfig",
    "FineTuneProgress",
    "FineTuneResult",
    "advise",
    "fine_tune",
    "plan",
]


@dataclass(frozen=True, slots=True)
class FineTuneProgress:
    """One moment of a run.

    Parameters
    ----------
    step : int
        Steps done.
    fraction : float
        Of the steps or of the time budget, in [0, 1].
    seconds : float
        Time spent on the run so far, earlier sessions counted in.
    message : str
        What is being done, for a person.
    losses : dict of str to float
        torchvision's loss terms and their sum, "loss", after a step; else empty.
    validation : dict of str to float
        AP on what is held out, after the steps that validated, and at step 0 that of
        the model as it was; else empty.
    best_step : int
        The step of the best model so far; 0 before the first validation.
    """

    step: int
    fraction: float
    seconds: float
    message: str
    losses: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    best_step: int = 0

    @property
    def seconds_left(self) -> float:
        """Estimate of the time left; infinite before the first step."""
        return self.seconds * (1 / self.fraction - 1) if self.fraction else math.inf


@dataclass(frozen=True, slots=True, eq=False)
class FineTuneResult:
    """A fine-tuned model, and how it compares with the one it was made from.

    Parameters
    ----------
    checkpoint : Checkpoint
        The best of the run, with its provenance. Nothing is overwritten with it.
    before, after : dict of str to float
        AP of the old and the new model on what was held out; see `judging.Judge`.
    replay_before, replay_after : dict of str to float
        The same on the replay images; empty without them.
    better : bool
        Whether the new model is better on what was held out.
    recommendation : Recommendation
        What to train with these objects.
    plan : FineTunePlan
        What was used for what.
    history : list of dict
        Rows of figures, as in the run's ``history.csv``.
    found_before, found_after : tuple of Instances
        What the two models find on each image of ``plan.judging``.
    steps, best_step : int
        Steps done, and the one that the checkpoint is of.
    seconds : float
        Time spent.
    ended : str
        Why it ended, in words.
    """

    checkpoint: Checkpoint
    before: dict[str, float]
    after: dict[str, float]
    replay_before: dict[str, float]
    replay_after: dict[str, float]
    better: bool
    recommendation: Recommendation
    plan: FineTunePlan
    history: list[dict[str, float]]
    found_before: tuple[Instances, ...]
    found_after: tuple[Instances, ...]
    steps: int
    best_step: int
    seconds: float
    ended: str


def fine_tune(
    checkpoint: Checkpoint | str | Path,
    annotated: Sequence[AnnotatedImage],
    config: FineTuneConfig | None = None,
    *,
    replay: Sequence[AnnotatedImage] = (),
    device: str = "auto",
    run_folder: Path | None = None,
    parent: str = "",
    team: Team | None = None,
) -> Generator[FineTuneProgress, None, FineTuneResult]:
    """Fine-tune a model on annotated images.

    Parameters
    ----------
    checkpoint : Checkpoint, str or Path
        The model to start from, or its name or file. It stays as it is.
    annotated : sequence of AnnotatedImage
        The person's images; a part of them is held out, see `plan`.
    config : FineTuneConfig, optional
        The recipe.
    replay : sequence of AnnotatedImage
        Images of what the model knows already: a part of the views comes from them,
        so that it is not forgotten, and another part measures whether it was.
    device : str
        See `core.devices.choose_device`.
    run_folder : Path, optional
        Where the state of the run, its history (``history.csv``) and the best model so
        far (``best.safetensors``) are kept. A run that was stopped or killed goes on
        from there and on the CPU gives the same weights as one that never was.
    parent : str
        Name of the model to start from, for the provenance; by default its file's.
    team : Team, optional
        The processes that share the work; see `team.assembled`. All of them return
        the same model, the first one measures and writes.

    Yields
    ------
    FineTuneProgress
        Several times a step. To cancel, close the generator: the best model so far is
        in the folder.

    Returns
    -------
    FineTuneResult

    Raises
    ------
    ValueError
        When there is nothing to learn from, classes do not agree, the folder belongs
        to another run, the model gives keypoints, or the loss is no longer finite.
    """
    if not isinstance(checkpoint, Checkpoint):
        path = find_model(checkpoint)
        parent = parent or path.stem
        checkpoint = read_checkpoint(path)
    check_kind(checkpoint)
    config = config or FineTuneConfig()
    known = checkpoint.config["class_names"]
    chosen = plan(known, annotated, config)
    rates = rates_for(
        len(known),
        len(chosen.new_classes),
        replayed=bool(replay),
        whole_images=checkpoint.image_size is not None,
    )
    config = config.filled(rates)
    again = replay_plan(chosen.class_names, replay, known, config)
    job = FineTuneJob(
        checkpoint, chosen, again, config, device, run_folder, parent, team or Team()
    )
    try:
        yield from relay(job.look_at_ground(), _moment(job, "Looking at the ground"))
        yield from relay(job.measure_before(), _moment(job, "Measuring the model"))
        yield _now(job, "Measured the model", validation=dict(job.before))
        yield from _learn(job)
        yield from relay(job.measure_after(), _moment(job, "Measuring the new model"))
    except GeneratorExit:
        job.save()
        raise
    finally:
        job.close()
    return _result(job)


def _learn(job: FineTuneJob) -> Generator[FineTuneProgress, None, None]:
    while True:
        if job.validation_due:
            yield from relay(job.validate(), _moment(job, "Validating"))
            yield _now(job, "Validated", validation=job.last_validation)
        if job.ended:
            return
        losses = yield from relay(job.step(), _moment(job, "Learning"))
        yield _now(job, "Learning", losses=losses)


def _now(
    job: FineTuneJob,
    message: str,
    *,
    losses: dict[str, float] | None = None,
    validation: dict[str, float] | None = None,
) -> FineTuneProgress:
    return FineTuneProgress(
        step=job.state.step,
        fraction=job.fraction,
        seconds=job.seconds,
        message=message,
        losses=losses or {},
        validation=validation or {},
        best_step=job.state.best_step,
    )


def _moment(job: FineTuneJob, message: str) -> partial[FineTuneProgress]:
    return partial(_now, job, message)


def _result(job: FineTuneJob) -> FineTuneResult:
    state = job.state
    better = (job.after["ap50"], job.after["ap75"]) > (
        job.before["ap50"],
        job.before["ap75"],
    )
    return FineTuneResult(
        checkpoint=job.best_checkpoint(),
        before=job.before,
        after=job.after,
        replay_before=job.replay_before,
        replay_after=job.replay_after,
        better=better,
        recommendation=job.recommendation,
        plan=job.plan,
        history=job.run.history,
        found_before=job.measuring.found_before,
        found_after=job.measuring.found_after,
        steps=state.step,
        best_step=state.best_step,
        seconds=state.seconds,
        ended=job.ended,
    )
