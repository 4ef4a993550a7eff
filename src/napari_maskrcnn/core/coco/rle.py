"""COCO's run-length encoding, for all objects of a frame at once.

The counts run down the columns and begin with the background.  Their compressed string
holds differences to the count before last in groups of five bits, lowest first, one
character each: bit 5 says that another group follows, and 48 is added (``rleToString``
in the COCO API's maskApi.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_maskrcnn.core.coco.runs import Runs, merged, ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_FRAME = 2**32 - 1
"""Pixels of the largest frame: the counts of the COCO API have 32 bits."""

_MAX_GROUPS = 7  # 35 bits hold any difference of two 32-bit counts


def encode(runs: Runs) -> list[str]:
    """Return the compressed counts of each object, as ``pycocotools`` writes them.

    Raises
    ------
    ValueError
        If the frame has 2**32 pixels or more, which no reader can hold.
    """
    height, width = runs.image_shape
    if height * width > MAX_FRAME:
        raise ValueError(
            f"COCO RLE holds at most {MAX_FRAME} pixels per image, "
            f"got {height} x {width}: cut it into tiles"
        )
    counts, sizes = to_counts(runs)
    if not len(sizes):
        return []
    values = counts.copy()
    late = ranges(sizes) > 2
    values[late] -= counts[np.flatnonzero(late) - 2]
    text, lengths = _to_characters(values)
    ends = np.cumsum(lengths)[np.cumsum(sizes) - 1].tolist()
    return [text[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def to_counts(runs: Runs) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of all objects in one int64 array, and how many each has."""
    frame = runs.image_shape[0] * runs.image_shape[1]
    firsts = runs.firsts()
    filled = np.diff(firsts) > 0
    ends = np.zeros(len(runs), dtype=np.int64)
    ends[filled] = runs.stops[firsts[1:][filled] - 1]
    has_tail = (ends < frame) | ~filled
    sizes = 2 * np.diff(firsts) + has_tail
    offsets = np.cumsum(sizes) - sizes
    counts = np.empty(int(sizes.sum()), dtype=np.int64)
    previous = np.concatenate([[0], runs.stops[:-1]])[: len(runs.stops)]
    previous[firsts[:-1][filled]] = 0
    slots = offsets[runs.objects] - 2 * firsts[runs.objects]
    slots += 2 * np.arange(len(runs.objects))
    counts[slots] = runs.starts - previous
    counts[slots + 1] = runs.stops - runs.starts
    counts[(offsets + sizes - 1)[has_tail]] = (frame - ends)[has_tail]
    return counts, sizes


def _to_characters(values: np.ndarray) -> tuple[str, np.ndarray]:
    """Return the characters of all `values`, and how many each takes."""
    magnitude = np.where(values < 0, ~values, values)
    lengths = np.ones(len(values), dtype=np.int64)
    for group in range(1, _MAX_GROUPS):
        lengths += magnitude >= 1 << (5 * group - 1)
    slots = np.cumsum(lengths) - lengths
    characters = np.empty(int(lengths.sum()), dtype=np.uint8)
    left = lengths
    while len(slots):
        more = left > 1
        characters[slots] = 48 + (values & 31) + 32 * more
        slots, left, values = slots[more] + 1, left[more] - 1, values[more] >> 5
    return characters.tobytes().decode("ascii"), lengths


def decode(
    strings: Sequence[str], image_shape: tuple[int, int]
) -> tuple[Runs, dict[int, str]]:
    """Return the runs of compressed counts, and what is wrong with which of them.

    Parameters
    ----------
    strings : sequence of str
        One a object.
    image_shape : tuple of int
        ``(height, width)`` of the frame.

    Returns
    -------
    Runs
        One object a string; those in the second result have no pixel.
    dict of int to str
        A sentence for each string that is no encoding of a mask of that frame.
    """
    faults = {
        number: "the counts hold a character that is not RLE"
        for number, text in enumerate(strings)
        if not text.isascii()
    }
    texts = ["" if number in faults else s for number, s in enumerate(strings)]
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    codes = np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8)
    values, sizes, bad = _from_characters(codes, lengths)
    for number in bad.tolist():
        faults.setdefault(number, "the counts are no compressed RLE")
    table, firsts = _pairs(values, sizes)
    _undo_differences(table, firsts, sizes)
    runs, wrong = _runs(table, firsts, image_shape, faults)
    return runs, {**wrong, **faults}


def from_counts(
    counts: np.ndarray, sizes: np.ndarray, image_shape: tuple[int, int]
) -> tuple[Runs, dict[int, str]]:
    """Return the runs of uncompressed counts, and what is wrong with which of them.

    Parameters
    ----------
    counts : np.ndarray
        int64, the counts of all objects one after the other.
    sizes : np.ndarray
        ``(N,)`` int64, how many counts each object has.
    image_shape : tuple of int
        ``(height, width)`` of the frame.

    Returns
    -------
    Runs, dict of int to str
        As in `decode`.
    """
    table, firsts = _pairs(counts, sizes)
    return _runs(table, firsts, image_shape, ())


def _from_characters(
    codes: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers in the characters, how many each string has, the bad ones."""
    codes = codes - np.uint8(48)  # a character below wraps around and is too high, too
    stops = np.cumsum(lengths)
    ends = (codes & 32) == 0
    last = stops[lengths > 0] - 1
    wrong = [last[~ends[last]], np.flatnonzero(codes > 63)]
    ends[last] = True  # a string that stops within a number ends there all the same
    finals = np.flatnonzero(ends)
    begins = np.concatenate([[0], finals[:-1] + 1])[: len(finals)]
    groups = finals - begins + 1
    wrong.append(begins[groups > _MAX_GROUPS])
    groups = np.minimum(groups, _MAX_GROUPS)
    values = (codes[begins] & 31).astype(np.int64)
    longer = np.flatnonzero(groups > 1)  # few: most numbers take one character
    for group in range(1, _MAX_GROUPS):
        longer = longer[groups[longer] > group]
        values[longer] |= (codes[begins[longer] + group] & 31).astype(np.int64) << (
            5 * group
        )
    negative = np.flatnonzero(codes[finals] & 16)
    values[negative] -= 1 << (5 * groups[negative])
    sizes = np.diff(np.searchsorted(begins, stops), prepend=0)
    bad = np.searchsorted(stops, np.concatenate(wrong), side="right")
    return values, sizes, np.unique(bad)


def _pairs(values: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put each object's numbers in rows of two: a gap and the run that follows it.

    Returns
    -------
    table : np.ndarray
        ``(R, 2)`` int64; the run after a last gap is 0.
    firsts : np.ndarray
        ``(N + 1,)``: the rows of object i are ``firsts[i:i+2]``.
    """
    firsts = np.concatenate([[0], np.cumsum((sizes + 1) // 2)])
    table = np.zeros((int(firsts[-1]), 2), dtype=np.int64)
    shifts = 2 * firsts[:-1] - (np.cumsum(sizes) - sizes)
    table.reshape(-1)[np.arange(len(values)) + np.repeat(shifts, sizes)] = values
    return table, firsts


def _undo_differences(table: np.ndarray, firsts: np.ndarray, sizes: np.ndarray) -> None:
    """Turn differences to the count before last, from the fourth on, into counts."""
    heads = firsts[:-1][np.diff(firsts) > 0]
    first_gaps = table[heads, 0]
    table[heads, 0] = 0  # no count is a difference to the first
    befores = table[heads]
    np.cumsum(table, axis=0, out=table)
    table -= np.repeat(table[heads] - befores, np.diff(np.append(heads, len(table))), 0)
    table[heads, 0] = first_gaps
    table[firsts[1:][sizes % 2 == 1] - 1, 1] = 0  # no run follows the last gap


def _runs(
    table: np.ndarray,
    firsts: np.ndarray,
    image_shape: tuple[int, int],
    skip: Iterable[int],
) -> tuple[Runs, dict[int, str]]:
    """Return the runs in a table of gaps and runs, and the objects that are wrong."""
    frame = image_shape[0] * image_shape[1]
    rows = np.diff(firsts)
    faults = {}
    for row in np.flatnonzero((table < 0).any(axis=1)).tolist():
        number = int(np.searchsorted(firsts, row, side="right")) - 1
        faults[number] = "the counts hold a negative run"
    # Counts beyond the frame are cut to just beyond it, so that no sum can overflow.
    np.clip(table, 0, frame + 1, out=table)
    stops = np.cumsum(table.reshape(-1)).reshape(-1, 2)
    totals = np.concatenate([[0], stops[:, 1]])[firsts]
    for number in np.flatnonzero(np.diff(totals) != frame).tolist():
        covered = int(totals[number + 1] - totals[number])
        what = f"the counts cover {covered} pixels of {frame}"
        faults.setdefault(number, what)
    stops -= np.repeat(totals[:-1], rows)[:, np.newaxis]
    kept = table[:, 1] > 0
    for number in (*faults, *skip):
        kept[firsts[number] : firsts[number + 1]] = False
    objects = np.repeat(np.arange(len(rows)), rows)[kept]
    runs = merged(image_shape, len(rows), objects, *stops[kept].T)
    return runs, faults
