"""A simulated annotator: from a result to the truth, one act after the other.

The annotator is done when every true object has a result of its own with an IoU of at
least one half, and no result is left over: AP at IoU 0.5 is 1 then. An act is

* delete: one object goes;
* prompt: a box is drawn tightly around an object, and the network's mask is put in;
* merge: one object is joined to another, so three pieces take two acts;
* split: one object is cut into so many parts by watershed;
* repaint: an object is drawn by hand, exactly.

It works on a group at a time: true objects without a result and results without a true
object that overlap noticeably. For each group it tries these ways and takes the one
with the fewest acts, of equal ones the first:

1. split every result that holds several of the true objects, merge the pieces that
   together are one of them, then do the rest;
2. split, then the rest; 3. merge, then the rest; 4. the rest alone.

The rest is: a prompt for each true object that has no result yet, the largest first;
where its mask is not good enough, or spoils what was right, the prompt is taken back
and the object painted; at last whatever is left over is deleted.

That splits and merges are tried first stands for a person who sees whether they will
do. What the network will draw nobody sees, so a prompt in vain counts as an act. What
the annotator made itself is protected from later prompts, as in the viewer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.segmentation import relabel_sequential

from napari_maskrcnn.core.editing import delete, merge
from napari_maskrcnn.core.placing import place
from napari_maskrcnn.core.splitting import split_into

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_maskrcnn.core.edit import Edit
    from napari_maskrcnn.core.instances import Instances

    # From a box (x0, y0, x1, y1) to the object inside.
    Prompter = Callable[[tuple[int, int, int, int]], Instances]

KINDS = ("delete", "prompt", "merge", "split", "repaint")
HALF = 0.5
# Objects belong to one group when they share this part of the smaller one.
SHARED = 0.1


@dataclass(frozen=True)
class Group:
    """True objects without a result and results without a true object, by ids."""

    true: tuple[int, ...]
    found: tuple[int, ...]


class Overlaps:
    """How the objects of a truth and of a result lie on each other.

    Attributes
    ----------
    shared : ndarray
        Shape (T + 1, L + 1): pixels that a true object and a result have in common.
    true_areas, areas : ndarray
        Pixels of each.
    partners : dict of int to int
        The result of each true object that has one.
    """

    def __init__(self, truth: NDArray[Any], labels: NDArray[Any]) -> None:
        shape = (int(truth.max()) + 1, int(labels.max()) + 1)
        pairs = truth.reshape(-1).astype(np.int64) * shape[1] + labels.reshape(-1)
        counts = np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)
        self.true_areas, self.areas = counts.sum(axis=1), counts.sum(axis=0)
        self.shared = counts
        self.shared[0], self.shared[:, 0] = 0, 0
        rows, columns = np.nonzero(self.shared)
        both = self.shared[rows, columns]
        iou = both / (self.true_areas[rows] + self.areas[columns] - both)
        good = iou >= HALF
        order = np.argsort(-iou[good], kind="stable")
        self.partners: dict[int, int] = {}
        taken: set[int] = set()
        for row, column in zip(rows[good][order], columns[good][order], strict=True):
            if int(row) not in self.partners and int(column) not in taken:
                self.partners[int(row)] = int(column)
                taken.add(int(column))

    def missing(self) -> list[int]:
        """True objects without a result, the largest first."""
        ids = [i for i in _present(self.true_areas) if i not in self.partners]
        return sorted(ids, key=lambda index: (-self.true_areas[index], index))

    def left_over(self) -> list[int]:
        """Results without a true object."""
        taken = set(self.partners.values())
        return [index for index in _present(self.areas) if index not in taken]

    def first_group(self) -> Group | None:
        """A group that is still to be worked on, None when all is right."""
        true, found = self.missing(), self.left_over()
        if not true and not found:
            return None
        shared = self.shared[np.ix_(true, found)]
        smaller = np.minimum(self.true_areas[true][:, None], self.areas[found][None])
        rows, columns = np.nonzero(shared >= SHARED * smaller)
        count = len(true) + len(found)
        ones = np.ones(len(rows), np.int8)
        graph = coo_array((ones, (rows, columns + len(true))), shape=(count, count))
        own = connected_components(graph, directed=False)[1] == 0
        inside = np.flatnonzero(own).tolist()
        return Group(
            tuple(true[i] for i in inside if i < len(true)),
            tuple(found[i - len(true)] for i in inside if i >= len(true)),
        )


@dataclass
class Sketch:
    """A result under way, and what was done to it.

    Parameters
    ----------
    truth, labels : ndarray
        Shape (H, W), with consecutive ids.
    prompt : callable
        Gives the object inside a box.
    made : set of int
        Results that the annotator made.
    acts : Counter
        How many of each kind.
    in_vain : int
        How many of the prompts were taken back.
    """

    truth: NDArray[Any]
    labels: NDArray[Any]
    prompt: Prompter
    made: set[int] = field(default_factory=set)
    acts: Counter[str] = field(default_factory=Counter)
    in_vain: int = 0

    def copy(self) -> Sketch:
        """A copy to try something on."""
        return Sketch(
            self.truth,
            self.labels.copy(),
            self.prompt,
            set(self.made),
            Counter(self.acts),
            self.in_vain,
        )

    def overlaps(self) -> Overlaps:
        """How things stand."""
        return Overlaps(self.truth, self.labels)

    @property
    def free(self) -> int:
        """An id that is not in use, nor are those above it."""
        return int(self.labels.max()) + 1

    def _take(self, kind: str, edit: Edit) -> None:
        y, x = edit.offset
        height, width = edit.after.shape
        self.labels[y : y + height, x : x + width] = edit.after
        self.acts[kind] += 1

    def split(self, group: Group) -> None:
        """Cut every result of a group that holds several of its true objects."""
        for index, count in to_split(self.overlaps(), group).items():
            try:
                edit = split_into(self.labels, index, count, self.free)
            except ValueError:
                continue  # too small for so many parts
            self._take("split", edit)
            self.made |= edit.changed | edit.appeared

    def merge(self, group: Group) -> None:
        """Join the pieces that together are one of a group's true objects."""
        for pieces in to_merge(self.overlaps(), group.true):
            for piece in pieces[1:]:
                self._take("merge", merge(self.labels, [pieces[0], piece]))
            self.made.add(pieces[0])

    def finish(self, group: Group) -> None:
        """Prompt or paint what a group still lacks, and delete what is left over."""
        for index in group.true:
            if index not in self.overlaps().partners and not self._ask(index):
                self._repaint(index)
        for index in self.overlaps().left_over():
            if index in group.found or index in self.made:
                self._take("delete", delete(self.labels, [index]))

    def _ask(self, index: int) -> bool:
        """Prompt for a true object; say whether that did it."""
        rows, columns = np.nonzero(self.truth == index)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        x0, y0, x1, y1 = (int(edge) for edge in edges)
        before, former, free = self.overlaps().partners, self.labels.copy(), self.free
        try:
            edit = place(self.labels, self.prompt((x0, y0, x1, y1)), free, self.made)
        except ValueError:
            # Nothing was seen there, or it would lie on what the annotator made.
            self.acts["prompt"] += 1
            self.in_vain += 1
            return False
        self._take("prompt", edit)
        after = self.overlaps().partners
        if after.get(index) == free and set(before) <= set(after):
            self.made.add(free)
            return True
        self.labels = former
        self.in_vain += 1
        return False

    def _repaint(self, index: int) -> None:
        free = self.free
        self.labels[self.truth == index] = free
        self.made.add(free)
        self.acts["repaint"] += 1


def annotate(truth: NDArray[Any], labels: NDArray[Any], prompt: Prompter) -> Sketch:
    """Correct a result until it agrees with the truth.

    Parameters
    ----------
    truth, labels : ndarray
        Shape (H, W), integer, 0 = background; any ids.
    prompt : callable
        Takes a box (x0, y0, x1, y1) in pixels and returns the object inside, as
        `Detector.prompt_box` does; asked once for each box.

    Returns
    -------
    Sketch
        The corrected labels, and the acts that it took.
    """
    sketch = Sketch(
        relabel_sequential(truth.astype(np.int64))[0],
        relabel_sequential(labels.astype(np.int64))[0],
        _remembering(prompt),
    )
    while (group := sketch.overlaps().first_group()) is not None:
        sketch = min(ways(sketch, group), key=lambda way: way.acts.total())
    return sketch


def ways(sketch: Sketch, group: Group) -> Iterator[Sketch]:
    """Yield what comes of each way to work on a group."""
    now = sketch.overlaps()
    splits = (True, False) if to_split(now, group) else (False,)
    # Parts of a split may be pieces to join.
    merges = (True, False) if splits[0] or to_merge(now, group.true) else (False,)
    for splitting, merging in product(splits, merges):
        way = sketch.copy()
        if splitting:
            way.split(group)
        if merging:
            way.merge(group)
        way.finish(group)
        yield way


def to_split(now: Overlaps, group: Group) -> dict[int, int]:
    """Return results that hold more than half of several true objects, and of how many.

    Only true objects of the group count: the others have a result already.
    """
    if not group.true or not group.found:
        return {}
    shared = now.shared[np.ix_(group.true, group.found)]
    held = shared > HALF * now.true_areas[list(group.true)][:, None]
    counts = held.sum(axis=0).tolist()
    return {
        index: count
        for index, count in zip(group.found, counts, strict=True)
        if count > 1
    }


def to_merge(now: Overlaps, true: tuple[int, ...]) -> list[list[int]]:
    """Return the pieces, largest first, that together match one of the true objects.

    A piece lies with more than half of its pixels on the object. No more are taken than
    it needs.
    """
    left_over = now.left_over()
    together = []
    for index in true:
        if index in now.partners:
            continue
        both = now.shared[index]
        pieces = [i for i in left_over if both[i] > HALF * now.areas[i]]
        pieces.sort(key=lambda i: (-both[i], i))
        for count in range(2, len(pieces) + 1):
            chosen = pieces[:count]
            inside, area = both[chosen].sum(), now.areas[chosen].sum()
            if inside / (now.true_areas[index] + area - inside) >= HALF:
                together.append(chosen)
                break
    return together


def _present(areas: NDArray[Any]) -> list[int]:
    return (np.flatnonzero(areas[1:]) + 1).tolist()


def _remembering(prompt: Prompter) -> Prompter:
    """Ask once for each box: several ways may want the same."""
    known: dict[tuple[int, ...], Instances] = {}

    def remembered(box: tuple[int, int, int, int]) -> Instances:
        if box not in known:
            known[box] = prompt(box)
        return known[box]

    return remembered
