"""Several processes that train one model together, as torchrun starts them."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from napari_maskrcnn.core import preload  # noqa: F401

import torch
from torch import distributed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import nn

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Team:
    """What a process knows of the others; by default it is alone.

    Parameters
    ----------
    rank, size : int
        Its number, from 0, and how many there are. The first one measures, writes and
        reports.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def places(self, count: int) -> range:
        """Return which of so many pieces of work are this process's."""
        return range(self.rank, count, self.size)

    def share(self, value: Value) -> Value:
        """Return the first process's value in all of them."""
        if self.size == 1:
            return value
        box: list[Any] = [value]
        distributed.broadcast_object_list(box)
        shared: Value = box[0]
        return shared

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in all of them."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                # A process may have had no view to learn from.
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the sums of numbers by name over all processes."""
        parts: list[Any] = [values]
        if self.size > 1:
            parts = [None] * self.size
            distributed.all_gather_object(parts, dict(values))
        sums: Counter[str] = Counter()
        for part in parts:
            sums.update(part)
        return dict(sums)


@contextmanager
def assembled(device: str) -> Iterator[tuple[Team, str]]:
    """Join the team that torchrun started, if it did.

    Parameters
    ----------
    device : str
        As a person gave it; with several GPUs each process gets its own.

    Yields
    ------
    Team, str
        And the device for this process.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team(), device
        return
    on_gpu = device.startswith("cuda") or (
        device == "auto" and torch.cuda.is_available()
    )
    if on_gpu:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    elif device == "auto":
        device = "cpu"
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Team(distributed.get_rank(), size), device
    finally:
        distributed.destroy_process_group()
