"""The figures of the old model and of the new one, on what neither learns from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .judging import SCORE_THRESHOLD_KEY, Judge

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from torch import Tensor

    from napari_maskrcnn.core.checkpoints import Checkpoint
    from napari_maskrcnn.core.dataset import AnnotatedImage
    from napari_maskrcnn.core.instances import Instances

    from .config import FineTuneConfig

    Figures = dict[str, float]

# Before the names of the figures on replay images.
REPLAY = "replay_"
PROPOSED = "proposed"


class Measuring:
    """Measures the models of a run on the images that are kept for it.

    Parameters
    ----------
    old : Checkpoint
        The model as it was.
    start : Checkpoint
        The same with the classes of the new one.
    held_out, replay : sequence of AnnotatedImage
        The images. Without any no figures come out.
    device : str
        See `core.devices.choose_device`.
    config : FineTuneConfig
        Of the run.
    """

    def __init__(
        self,
        old: Checkpoint,
        start: Checkpoint,
        held_out: Sequence[AnnotatedImage],
        replay: Sequence[AnnotatedImage],
        device: str,
        config: FineTuneConfig,
    ) -> None:
        self._old, self._start = old, start
        images = {"": held_out, REPLAY: replay}
        self._images = {prefix: items for prefix, items in images.items() if items}
        self._device, self._budget = device, config.memory_budget
        self._frozen_trunk = config.train == "heads"
        self._judges: dict[str, Judge] = {}
        self.found_before: tuple[Instances, ...] = ()
        self.found_after: tuple[Instances, ...] = ()

    def measure_old(self) -> Generator[None, None, Figures]:
        """Measure the old model; comes first, since its encodings may go on to hold."""
        figures: Figures = {}
        for prefix, items in self._images.items():
            judge = Judge(self._old, items, self._device, budget=self._budget)
            yield
            # What was learnt before is known at the threshold that was in use.
            own = self._old.score_threshold if prefix else None
            own_scores, found = yield from judge.measure(own)
            figures |= _prefixed(prefix, own_scores)
            if not prefix:
                self.found_before = tuple(found)
                figures[PROPOSED] = yield from judge.proposed()
            self._judges[prefix] = Judge(
                self._start,
                items,
                self._device,
                encodings=judge.encodings if self._frozen_trunk else None,
                budget=self._budget,
            )
        return figures

    def measure(self, weights: Mapping[str, Tensor]) -> Generator[None, None, Figures]:
        """Measure the new model with these weights."""
        self._load(weights)
        figures: Figures = {}
        for prefix, judge in self._judges.items():
            # The held-out images come first and say which threshold it will have.
            at = figures.get(SCORE_THRESHOLD_KEY)
            figures |= _prefixed(prefix, (yield from judge.scores(at)))
        return figures

    def find(
        self, weights: Mapping[str, Tensor], score_threshold: float
    ) -> Generator[None, None, None]:
        """Segment what is held out with these weights, for `found_after`."""
        self._load(weights)
        if self._judges:
            found = yield from self._judges[""].instances(score_threshold)
            self.found_after = tuple(found)

    def _load(self, weights: Mapping[str, Tensor]) -> None:
        for judge in self._judges.values():
            judge.load(
                {**self._start.state, **weights}, trunk_changed=not self._frozen_trunk
            )


def _prefixed(prefix: str, figures: Figures) -> Figures:
    return {prefix + key: value for key, value in figures.items()}


def on_held_out(figures: Figures) -> Figures:
    """Return the figures of the images that are held out."""
    return {k: v for k, v in figures.items() if not k.startswith((REPLAY, PROPOSED))}


def on_replay(figures: Figures) -> Figures:
    """Return the figures of the replay images, by the names that the others have."""
    return {
        key.removeprefix(REPLAY): value
        for key, value in figures.items()
        if key.startswith(REPLAY)
    }
