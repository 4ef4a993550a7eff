"""The record that every long piece of work yields, and ways to run such work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

Record = TypeVar("Record")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of work has come.

    Long work is a plain generator of these; to cancel it, stop iterating and close it.

    Parameters
    ----------
    done, total : int
        Steps finished and steps in all; both 0 where that is not known yet.
    message : str
        What is being done now, for a person.
    """

    done: int
    total: int
    message: str = ""


def exhaust(
    work: Generator[Record, None, Result], tell: Callable[[Record], Any] | None = None
) -> Result:
    """Run a generator to its end and return its result; tell of each record."""
    while True:
        try:
            record = next(work)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        if tell is not None:
            tell(record)


def seconds_left(seconds: float, done: int, total: int) -> float | None:
    """Estimate the seconds left from those that the steps done took; None at first."""
    if total <= 0 or done <= 0:
        return None
    return seconds / done * (total - done)


def relay(
    work: Generator[Any, None, Result], record: Callable[[], Record]
) -> Generator[Record, None, Result]:
    """Run a generator inside another one, with other records in place of its own."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        yield record()


def duration(seconds: float) -> str:
    """Return a rounded duration in words."""
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{round(seconds / 60)} min"
