"""Which objects in a Labels layer are the network's, and which a person changed.

napari's events do not tell: undo and redo look like a repaint, and other plugins write
as they like.  So the pixels themselves are asked.  Whenever instances are painted, the
ledger notes a fingerprint of every object: a sum over its pixels of a hash of their
position.  An object whose fingerprint was never noted for its id was made or changed
by hand.  That holds whatever happened in between: after Ctrl-Z the objects carry the
fingerprints of an earlier picture and are the network's again.

Objects deleted by hand leave no pixels to ask.  They are found by comparing the ids
present with those of the noted picture that is nearest.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

# napari itself forgets undo steps beyond a hundred.
MAX_STATES = 128
# After a brush stroke the newest picture is the likely one; another must be nearer by
# more than this many objects to be taken for the result of an undo.
PREFER_NEWEST = 3
# Knuth's multiplicative hash; the upper 30 bits sum exactly in float64 up to 2**23
# pixels an object.
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(34)
# Beyond this id counting by table would take too much memory.
_MAX_TABLE = 4_000_000


def fingerprints(label_image: NDArray[Any]) -> dict[int, float]:
    """Return a number for each object that changes when any of its pixels does.

    Parameters
    ----------
    label_image : ndarray
        Shape (H, W), integer, 0 = background.

    Returns
    -------
    dict of int to float
        By id, for the ids present.
    """
    flat = np.ascontiguousarray(label_image).reshape(-1)
    where = np.flatnonzero(flat)
    ids = flat[where]
    hashes = ((where.astype(np.uint64) + np.uint64(1)) * _MULTIPLIER) >> _SHIFT
    if ids.size and (int(ids.max()) > _MAX_TABLE or int(ids.min()) < 0):
        present, ids = np.unique(ids, return_inverse=True)
        sums = np.bincount(ids, weights=hashes)
    else:
        sums = np.bincount(ids, weights=hashes)
        present = np.flatnonzero(np.bincount(ids))
        sums = sums[present]
    return dict(zip(present.tolist(), sums.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Edits:
    """What a person changed in a plane.

    Parameters
    ----------
    changed : frozenset of int
        Ids present that were drawn, reshaped, merged or split by hand.
    removed : frozenset of int
        Ids of objects painted in the present run that were deleted by hand.
    approved : frozenset of int
        Ids of objects that a person approved; see `viewer.approved`.
    ground : ndarray of bool or None
        Shape (H, W): where a person said that everything is right.
    """

    changed: frozenset[int] = frozenset()
    removed: frozenset[int] = frozenset()
    approved: frozenset[int] = frozenset()
    ground: NDArray[np.bool_] | None = field(default=None, compare=False)

    def __bool__(self) -> bool:
        return bool(self.kept or self.removed or self.ground is not None)

    @property
    def kept(self) -> frozenset[int]:
        """Ids of the objects that predictions leave alone."""
        return self.changed | self.approved


@dataclass(frozen=True, slots=True)
class _State:
    prints: dict[int, float]
    removed: frozenset[int]
    run: int


class Ledger:
    """The pictures that were painted into one plane."""

    def __init__(self) -> None:
        self._states: deque[_State] = deque(maxlen=MAX_STATES)
        # Set when a brush stroke or another recorded edit was seen.
        self.touched = False
        self._run = 0

    def new_run(self) -> None:
        """Say that the ids from now on are those of another run's detections."""
        self._run += 1

    def note(self, label_image: NDArray[Any], edits: Edits) -> None:
        """Note what was painted: everything in the plane but the edited objects."""
        prints = fingerprints(label_image)
        for index in edits.changed:
            prints.pop(index, None)
        self._states.append(_State(prints, edits.removed, self._run))
        self.touched = False

    def painted(self, index: int) -> bool:
        """Whether an object of this id was painted in the present run."""
        return any(
            index in state.prints for state in self._states if state.run == self._run
        )

    def edits(self, label_image: NDArray[Any]) -> Edits:
        """Compare the plane with what was painted.

        Parameters
        ----------
        label_image : ndarray
            Shape (H, W): the plane as it is now.
        """
        present = fingerprints(label_image)
        changed = frozenset(
            index for index, value in present.items() if not self._knows(index, value)
        )
        nearest = self._nearest(present.keys(), changed)
        if nearest is None or nearest.run != self._run:
            # The ids of an earlier run mean other objects now.
            return Edits(changed)
        gone = (nearest.removed | nearest.prints.keys()) - present.keys()
        return Edits(changed, frozenset(gone))

    def changed_among(
        self, label_image: NDArray[Any], ids: NDArray[Any]
    ) -> frozenset[int]:
        """Return which of a few objects a person changed; quicker than `edits`."""
        few = np.where(np.isin(label_image, ids), label_image, 0)
        present = fingerprints(few)
        return frozenset(i for i, value in present.items() if not self._knows(i, value))

    def copy(self) -> Ledger:
        """Return a ledger of the same pictures, for a look from another thread."""
        twin = Ledger()
        twin._states.extend(self._states)
        twin._run = self._run
        twin.touched = self.touched
        return twin

    def _knows(self, index: int, value: float) -> bool:
        return any(state.prints.get(index) == value for state in reversed(self._states))

    def _nearest(
        self, present: Iterable[int], changed: frozenset[int]
    ) -> _State | None:
        best, fewest = None, float("inf")
        ours = set(present) - changed
        for age, state in enumerate(reversed(self._states)):
            differing = float(len((ours ^ state.prints.keys()) - changed))
            if age and self.touched:
                differing += PREFER_NEWEST
            if differing < fewest:
                best, fewest = state, differing
        return best
