"""Ids that are free in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class FreeIds:
    """Free ids, from 1: COCO's evaluation and CVAT take 0 for none, but for images.

    Parameters
    ----------
    rows : list
        Rows of the file; the ids of those that are objects are taken.
    least : int
        The least id to give when it is wished for.
    """

    rows: list[Any]
    least: int = 1
    used: set[int] = field(init=False)
    last: int = field(init=False)

    def __post_init__(self) -> None:
        ids = (row.get("id") for row in self.rows if isinstance(row, dict))
        self.used = {i for i in ids if isinstance(i, int)}
        self.last = max(self.used, default=0)

    def keep_free(self, largest: int) -> None:
        """Give ids that nobody wished for above this one, which will be wished for."""
        self.last = max(self.last, largest)

    def take(self, wished: int | None = None) -> int:
        """Return the wished id if it is free, otherwise one above all."""
        if wished is None or wished < self.least or wished in self.used:
            wished = max(self.last, 0) + 1
        self.used.add(wished)
        self.last = max(self.last, wished)
        return wished
