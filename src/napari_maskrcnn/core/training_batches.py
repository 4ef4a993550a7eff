"""The batches of a training run: each depends on the seed and the step alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
from torch.utils.data import DataLoader

from .examples import random_view

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor
    from torch.utils.data import Dataset

    from .dataset import AnnotatedImage
    from .training_config import TrainConfig

    Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


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


def prefetched(
    make: Callable[[Any], Batch], steps: range, workers: int
) -> Generator[Batch, None, None]:
    """Give the batches of some steps, in order, made in processes ahead of their use.

    Parameters
    ----------
    make : callable
        Takes a step, an int; where processes are not forked it is pickled.
    steps : range
        Which steps.
    workers : int
        Processes: threads would wait for each other, and for the network. With 0 a
        batch is made when it is asked for.
    """
    # A range has all that a loader asks of a dataset: a length, and items by position.
    numbers = cast("Dataset[int]", steps)
    yield from DataLoader(
        numbers, batch_size=None, collate_fn=make, num_workers=workers
    )
