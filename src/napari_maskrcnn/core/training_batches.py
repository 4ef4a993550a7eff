"""The batches of a training run: each depends on the seed and the step alone."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np

from .dataset import AnnotatedImage, random_view

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from torch import Tensor

    from .training_config import TrainConfig

    Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


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
            image_size=config.image_size,
            augmentation=config.augmentation_at(step),
        )
        for pick in picks
    ]
    return [image for image, _ in views], [target for _, target in views]


def prefetched(
    make: Callable[[int], Batch], steps: Sequence[int], workers: int
) -> Generator[Batch, None, None]:
    """Make the batches of some steps, in order, in threads ahead of their use.

    Parameters
    ----------
    make : callable
        Makes the batch of a step.
    steps : sequence of int
        Which steps.
    workers : int
        Threads; with 0 a batch is made when it is asked for.
    """
    if not workers:
        yield from map(make, steps)
        return
    waiting = iter(steps)
    with ThreadPoolExecutor(workers) as pool:
        ahead = deque(pool.submit(make, step) for step in islice(waiting, 2 * workers))
        try:
            while ahead:
                yield ahead.popleft().result()
                ahead.extend(pool.submit(make, step) for step in islice(waiting, 1))
        finally:
            for future in ahead:
                future.cancel()
