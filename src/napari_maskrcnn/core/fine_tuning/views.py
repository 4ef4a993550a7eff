"""The views that fine-tuning sees, and the frozen part's output kept for them."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch

from napari_maskrcnn.core.augmentation import Augmentation
from napari_maskrcnn.core.examples import random_view
from napari_maskrcnn.core.training_state import write_state
from napari_maskrcnn.core.words import one_line

from .frozen_part import CutNetwork, FrozenOutput
from .planning import object_counts

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_maskrcnn.core.dataset import AnnotatedImage

    from .config import FineTuneConfig

    Target = dict[str, Tensor]

logger = logging.getLogger("napari_maskrcnn")

# How often a view is drawn again when there is nothing to learn in it.
REDRAWS = 10
# Distinguish, in the seeds, what the random numbers are for.
_PICKS, _KEPT, _FRESH = 0, 1, 2


@dataclass(frozen=True, slots=True)
class View:
    """Which view: everything that its pixels depend on, beside the images."""

    item: int
    seed: tuple[int, ...]
    kept: bool


class Views:
    """Draws views and runs the frozen part over them, once where they are kept.

    Every view depends on the seed and its own number alone, and what was kept equals
    what is computed again: a run goes on exactly, whatever was kept before.

    Parameters
    ----------
    cut : CutNetwork
        Its frozen part runs over the views.
    items, replay : sequence of AnnotatedImage
        What to learn from.
    config : FineTuneConfig
        With its augmentation spelt out.
    native_size, image_size
        What the model's images are resized by; see `core.examples.random_view`.
    folder : Path, optional
        Where what does not fit into memory may go; all that is in it is deleted, now
        and at the end.
    """

    def __init__(
        self,
        cut: CutNetwork,
        items: Sequence[AnnotatedImage],
        replay: Sequence[AnnotatedImage],
        config: FineTuneConfig,
        native_size: float | None,
        image_size: tuple[int, int] | None,
        folder: Path | None,
    ) -> None:
        self.cut, self.config = cut, config
        self._native_size, self._image_size = native_size, image_size
        self.items = [*items, *replay]
        self._weights = (_weights(items), _weights(replay) if replay else None)
        self._own = len(items)
        self._memory: dict[View, tuple[FrozenOutput, Target]] = {}
        self._files: dict[View, Path] = {}
        self._memory_left, self._disk_left = config.memory_budget, config.disk_budget
        self._folder = folder
        self._clear()
        if folder is not None:
            # The run itself needs room, and so does everybody else.
            self._disk_left = min(self._disk_left, _room(folder))

    def picks(self, step: int) -> list[View]:
        """Return the views of a step."""
        config = self.config
        rng = np.random.default_rng([_PICKS, config.seed, step])
        own, replay = self._weights
        picks = []
        for place in range(config.batch_size):
            again = replay is not None and rng.random() < config.replay_share
            weights = replay if again and replay is not None else own
            item = int(rng.choice(len(weights), p=weights))
            item += self._own if again else 0
            number = int(rng.integers(max(1, config.cache_views)))
            seed = (_KEPT, config.seed, item, number)
            if not config.keeps_views:
                seed = (_FRESH, config.seed, step, place)
            picks.append(View(item, seed, config.keeps_views))
        return picks

    def use_labels(self, labels: Sequence[NDArray[np.int32]]) -> None:
        """Learn from these labels of the person's images; before the first view."""
        for place, label_image in enumerate(labels):
            self.items[place] = replace(self.items[place], label_image=label_image)

    def get(self, view: View) -> Generator[None, None, tuple[FrozenOutput, Target]]:
        """Return the frozen part's output and the target of a view, with pauses."""
        if view in self._memory:
            return self._memory[view]
        if view in self._files:
            return _read(self._files[view])
        image, target = self._draw(view)
        yield
        output = yield from self.cut.encode_steps([image])
        if not view.kept:
            return output, target
        # Rounded whether or not there is room, so that the budget changes nothing.
        output = output.map(lambda level: level.half().cpu())
        output = FrozenOutput(output.levels, tuple(p.cpu() for p in output.proposals))
        yield
        self._keep(view, output, target)
        return output, target

    def _draw(self, view: View) -> tuple[Tensor, Target]:
        rng = np.random.default_rng(view.seed)
        item, config = self.items[view.item], self.config
        for _ in range(REDRAWS):
            image, target = random_view(
                item,
                rng,
                crop=config.crop,
                native_size=self._native_size,
                image_size=self._image_size,
                augmentation=config.augmentation or Augmentation(),
            )
            if len(target["labels"]) or "unreviewed" not in target:
                break
        return image, target

    def _keep(self, view: View, output: FrozenOutput, target: Target) -> None:
        size = output.nbytes + sum(value.nbytes for value in target.values())
        if size <= self._memory_left:
            self._memory_left -= size
            self._memory[view] = (output, target)
        elif self._folder is not None and size <= self._disk_left:
            path = self._folder / ("-".join(map(str, view.seed)) + ".pt")
            try:
                _write(path, output, target)
            except OSError as error:
                # Kept to save time, no more: the run goes on without.
                logger.warning("Views are not kept on the disk: %s", one_line(error))
                self._disk_left = 0
            else:
                self._disk_left -= size
                self._files[view] = path

    def close(self) -> None:
        """Forget everything and delete the files."""
        self._memory.clear()
        self._files.clear()
        self._clear()

    def _clear(self) -> None:
        if self._folder is not None:
            # A killed run leaves its files behind.
            shutil.rmtree(self._folder, ignore_errors=True)


def _room(folder: Path) -> int:
    """Return half of what is free where a folder is or will be made, in bytes."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free // 2


def _write(path: Path, output: FrozenOutput, target: Target) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    proposals = list(output.proposals)
    kept = {"levels": output.levels, "proposals": proposals, "target": target}
    write_state(path, kept)


def _read(path: Path) -> tuple[FrozenOutput, dict[str, Any]]:
    found = torch.load(path, weights_only=True)
    return FrozenOutput(found["levels"], tuple(found["proposals"])), found["target"]


def _weights(items: Sequence[AnnotatedImage]) -> NDArray[np.float64]:
    """How often each image is drawn: by the root of its number of objects.

    Three approved objects of one image shall not count as much as all of another, and
    a crowded image shall not be all that is seen.
    """
    counts = np.array([max(1, sum(object_counts(item).values())) for item in items])
    weights: NDArray[np.float64] = np.sqrt(counts.astype(np.float64))
    return np.asarray(weights / weights.sum())
