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
    from collections.abc import Container, Sequence

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
    data = np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8)
    values, sizes, bad = _from_characters(data.astype(np.int64) - 48, lengths)
    for number in np.flatnonzero(bad).tolist():
        faults.setdefault(number, "the counts are no compressed RLE")
    counts = _undo_differences(values, sizes)
    runs, wrong = from_counts(counts, sizes, image_shape, skip=faults)
    return runs, {**wrong, **faults}


def _from_characters(
    codes: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers in `codes`, how many each string has, and which are bad."""
    of = np.repeat(np.arange(len(lengths)), lengths)
    ends = (codes & 32) == 0
    last = np.cumsum(lengths)[lengths > 0] - 1
    cut = last[~ends[last]]  # the string stops within a number
    ends[last] = True
    begins = np.flatnonzero(np.concatenate([[True], ends[:-1]])[: len(codes)])
    groups = np.diff(np.append(begins, len(codes)))
    group = ranges(groups)
    bad = np.zeros(len(lengths), dtype=bool)
    bad[of[cut]] = True
    bad[of[(codes < 0) | (codes > 63) | (group >= _MAX_GROUPS)]] = True
    sizes = np.bincount(of[begins], minlength=len(lengths))
    if not len(codes):
        return codes, sizes, bad
    shifts = 5 * np.minimum(group, _MAX_GROUPS - 1)
    values = np.add.reduceat((codes & 31) << shifts, begins)
    final = begins + groups - 1
    negative = (codes[final] & 16) != 0
    values[negative] -= 1 << (shifts[final][negative] + 5)
    return values, sizes, bad


def _undo_differences(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Turn differences to the count before last, from the fourth on, into counts."""
    counts = values.copy()
    place = ranges(sizes)
    of = np.repeat(np.arange(len(sizes)), sizes)
    for chosen in (place % 2 == 1, (place % 2 == 0) & (place > 0)):
        counts[chosen] = _running_sum(values[chosen], of[chosen])
    return counts


def _running_sum(values: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return the running sum, begun anew wherever `of` changes."""
    if not len(values):
        return values
    total: np.ndarray = np.cumsum(values)
    first = np.flatnonzero(np.concatenate([[True], of[1:] != of[:-1]]))
    lengths = np.diff(np.append(first, len(values)))
    total -= np.repeat(total[first] - values[first], lengths)
    return total


def from_counts(
    counts: np.ndarray,
    sizes: np.ndarray,
    image_shape: tuple[int, int],
    skip: Container[int] = (),
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
    skip : container of int
        Objects to leave empty, whatever their counts.

    Returns
    -------
    Runs, dict of int to str
        As in `decode`.
    """
    of = np.repeat(np.arange(len(sizes)), sizes)
    frame = image_shape[0] * image_shape[1]
    negative = np.bincount(of, weights=counts < 0, minlength=len(sizes)) > 0
    # As floats no sum can wrap around to the right one; below 2**53 they are exact.
    totals = np.bincount(of, weights=counts, minlength=len(sizes))
    faults = {}
    for number in np.flatnonzero(negative | (totals != frame)).tolist():
        faults[number] = (
            "the counts hold a negative run"
            if negative[number]
            else f"the counts cover {totals[number]:.0f} pixels of {frame}"
        )
    good = np.ones(len(sizes), dtype=bool)
    good[list(faults)] = False
    good[[number for number in range(len(sizes)) if number in skip]] = False
    place = ranges(sizes)
    counts = np.where(good[of], counts, 0)
    stops = _running_sum(counts, of)
    objects = (place % 2 == 1) & (counts > 0)
    return (
        merged(
            image_shape,
            len(sizes),
            of[objects],
            (stops - counts)[objects],
            stops[objects],
        ),
        faults,
    )
