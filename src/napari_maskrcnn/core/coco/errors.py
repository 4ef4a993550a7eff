"""What can be wrong with a COCO file, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass


class CocoError(ValueError):
    """A COCO file that cannot be used; the message names the key or the id."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a file, and what was done about it.

    Parameters
    ----------
    where : str
        The key or the id, for example ``"annotation 12"`` or ``"annotation 12: area"``.
    what : str
        What is wrong, with the value.
    done : str
        What reading or writing did about it, for example ``"skipped"``.
    """

    where: str
    what: str
    done: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.where}: {self.what}; {self.done}"
