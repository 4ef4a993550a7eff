"""What frames of a video share: one object size, and how fast they go."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .instances import Instances
    from .recipe import Recipe

# So many objects must have been seen before their size is taken for that of all.
ENOUGH_OBJECTS = 10
# The pace is that of the last so many frames: the first ones pay for caches.
PACE_FRAMES = 20


class SteadySize:
    """The object size of a video: measured on its first frames, then kept.

    An automatic size is measured frame by frame until ten objects have been seen; from
    then on it is the middle of what those frames gave, a frame counting by its objects.
    Measuring every frame would cost time, and would let objects flicker as their size
    is taken for a little more and a little less.  Ten, because one false object in an
    empty first frame must not decide for all.

    Parameters
    ----------
    recipe : Recipe
        Where it states a size, nothing is measured at all.
    has_size : bool
        Whether the model rescales images by the size of the objects; models that take
        a fixed size of image do not.
    """

    def __init__(self, recipe: Recipe, *, has_size: bool = True) -> None:
        #: The recipe for the next frame.
        self.recipe = recipe
        self._measuring = has_size and recipe.object_size is None
        self._sizes: list[float] = []

    def saw(self, object_size: float | None, instances: Instances) -> None:
        """Note a frame's object size in pixels, and its detections, unfiltered."""
        if not self._measuring or object_size is None:
            return
        sure = instances.scores >= instances.score_threshold
        self._sizes += [object_size] * int(np.count_nonzero(sure))
        if len(self._sizes) >= ENOUGH_OBJECTS:
            self._measuring = False
            size = sorted(self._sizes)[len(self._sizes) // 2]
            self.recipe = replace(self.recipe, object_size=size)


class Pace:
    """Frames a second, over the frames that were done last."""

    def __init__(self) -> None:
        self._times = deque([time.monotonic()], maxlen=PACE_FRAMES + 1)

    def step(self) -> None:
        """Note that a frame is done."""
        self._times.append(time.monotonic())

    @property
    def rate(self) -> float | None:
        """Frames a second, None before the first one is done."""
        seconds = self._times[-1] - self._times[0]
        return (len(self._times) - 1) / seconds if seconds > 0 else None


def rate_words(rate: float, word: str = "frame") -> str:
    """Return a rate for a person: ``"3.4 frames/s"``."""
    digits = 0 if rate >= 20 else 1 if rate >= 1 else 2
    return f"{rate:.{digits}f} {word}s/s"


def frame_words(done: int, total: int, pace: Pace, word: str = "frame") -> str:
    """Return what is being done: ``"Frame 12 of 100, 3.4 frames/s"``."""
    text = f"{word.capitalize()} {done + 1} of {total}"
    return text if pace.rate is None else f"{text}, {rate_words(pace.rate, word)}"
