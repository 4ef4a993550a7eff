"""Which window a side file of corrections belongs to, and whether that still works."""

from __future__ import annotations

import os
import uuid
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Labels

# The tokens of this process's open windows, with the files of layers that are open.
_open: dict[str, set[Path]] = {}


class SideFiles:
    """The side files of one window: of each layer another, and nobody else's."""

    def __init__(self) -> None:
        self.token = uuid.uuid4().hex[:12]
        self._numbers: weakref.WeakKeyDictionary[Labels, int] = (
            weakref.WeakKeyDictionary()
        )
        self._count = 0
        _open[self.token] = set()

    @property
    def closed(self) -> bool:
        """Whether the window is."""
        return self.token not in _open

    def owner(self, labels: Labels) -> dict[str, Any]:
        """Return what a layer's file says of its owner; "token" is in its name."""
        process = psutil.Process()
        # One image may be open twice, or again: never two layers with one file.
        number = self._numbers.setdefault(labels, self._count)
        self._count += number == self._count
        return {
            "token": f"{self.token}-{number}",
            "session": self.token,
            "pid": process.pid,
            "started": process.create_time(),
        }

    def hold(self, path: Path) -> None:
        """Say that the layer of a file is open: nobody is offered it."""
        _open[self.token].add(path)

    def let_go(self, path: Path) -> None:
        """Say that the layer of a file is gone: it may be offered, here too."""
        _open[self.token].discard(path)

    def close(self) -> None:
        """Let go of all files."""
        _open.pop(self.token, None)


def is_living(path: Path, owner: dict[str, Any]) -> bool:
    """Whether an open window, here or in another process, works on a file."""
    pid = owner.get("pid")
    if pid == os.getpid():
        return path in _open.get(str(owner.get("session")), ())
    try:
        started = psutil.Process(int(pid or 0)).create_time()
    except (psutil.Error, ValueError, TypeError):
        return False
    return bool(np.isclose(started, float(owner.get("started", 0)), rtol=0, atol=1))
