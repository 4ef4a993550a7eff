"""The batches of a training run: each depends on the seed and the step alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
from torch.utils.data import DataLoader, Dataset

from .examples import random_view

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from .dataset import AnnotatedImage
    from .training_config import TrainConfig

    Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


class Batches(Dataset[Any]):
    """The batches of some steps of a run, by position.

    Parameters
    ----------
    annotated : sequence of AnnotatedImage
        What is drawn from.
    weights : ndarray
        Shape (images,), how often each is drawn, summing to 1.
    config : TrainConfig
        The recipe.
    steps : sequence of int
        Which steps.
    """

    def __init__(
        self,
        annotated: Sequence[AnnotatedImage],
        weights: NDArray[np.float64],
        config: TrainConfig,
        steps: Sequence[int],
    ) -> None:
        self.annotated = annotated
        self.weights = weights
        self.config = config
        self.steps = steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, position: int) -> Batch:
        return draw_batch(
            self.annotated, self.weights, self.config, self.steps[position]
        )


def draw_batch(
    annotated: Sequence[AnnotatedImage],
    weights: Sequence[float] | NDArray[np.float64],
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
            image_size=config.image_size,
            augmentation=config.augmentation_at(step),
        )
        for pick in picks
    ]
    return [image for image, _ in views], [target for _, target in views]


def prefetched(batches: Batches, workers: int) -> Generator[Batch, None, None]:
    """Give batches in order, made in processes ahead of their use.

    Parameters
    ----------
    batches : Batches
        What to give.
    workers : int
        Processes: threads would wait for each other, and for the network. With 0 a
        batch is made when it is asked for.
    """
    yield from DataLoader(batches, batch_size=None, num_workers=workers)
