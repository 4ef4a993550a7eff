"""The record that every long piece of work yields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of work has come.

    Long work is a plain generator of these; to cancel it, stop iterating and close it.

    Parameters
    ----------
    done, total : int
        Steps finished and steps in all; ``total`` may grow while the work finds out
        more about its input.
    message : str
        What is being done now, for a person.
    """

    done: int
    total: int
    message: str = ""
