"""Keypoints as COCO writes them: flat lists, and their names at the category.

COCO gives the place of a keypoint as an index of pixels: 0 is the middle of the first
pixel.  The numbers are kept as they are, both ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_maskrcnn.core.coco.values import LARGEST, numbers, shown, whole
from napari_maskrcnn.core.skeletons import Skeleton

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Report: TypeAlias = Callable[[str, str, str], None]

# What the third number of a keypoint says.
NOT_LABELLED, HIDDEN, VISIBLE = 0, 1, 2
# From this score on a network's keypoint counts as visible.  torchvision's scores are
# logits; 2 is where Detectron, whose heads these are, begins to draw (`kp_thresh`).
KEYPOINT_THRESHOLD = 2.0


def coco_keypoints(
    keypoints: NDArray[Any], threshold: float = KEYPOINT_THRESHOLD
) -> NDArray[np.float64]:
    """Return a network's keypoints as COCO's: the score becomes the visibility.

    Places stay as they are: torchvision's networks learn from COCO's numbers unshifted
    and give them back in the same way.

    Parameters
    ----------
    keypoints : ndarray
        Shape (..., 3): x, y, score.
    threshold : float
        A keypoint of at least this score is visible (2), of less labelled and not
        visible (1); one without a finite place or score is not labelled (0, 0, 0).

    Returns
    -------
    ndarray
        Same shape, float64: x, y, v. The shortest decimals of float32 places are kept,
        so that a file is not filled with digits that mean nothing.
    """
    keypoints = np.asarray(keypoints)
    places = np.array(keypoints, dtype=np.float64).round(3)
    places[..., 2] = np.where(keypoints[..., 2] >= threshold, VISIBLE, HIDDEN)
    places[~np.isfinite(keypoints).all(axis=-1)] = NOT_LABELLED
    return places


def read_skeleton(
    row: Mapping[str, Any], where: str, report: Report
) -> Skeleton | None:
    """Return the keypoints of a category row, None if it has none.

    A bone that joins no two of them is left out and reported.
    """
    if "keypoints" not in row and "skeleton" not in row:
        return None
    names = row.get("keypoints", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        report(where, f"keypoints is {shown(names)}, no list of names", "ignored")
        return None
    if not names:
        return None
    listed = row.get("skeleton", [])
    if not isinstance(listed, list):
        report(where, f"skeleton is {shown(listed)}, no list", "read without bones")
        listed = []
    bones = []
    for pair in listed:
        ends = [whole(end) for end in pair] if isinstance(pair, list) else []
        if len(ends) == 2 and all(end and 1 <= end <= len(names) for end in ends):
            bones.append((int(ends[0] or 0) - 1, int(ends[1] or 0) - 1))
        else:
            what = f"skeleton holds {shown(pair)}, no pair of 1 to {len(names)}"
            report(where, what, "this bone is left out")
    return Skeleton(tuple(names), tuple(bones))


def unnamed_skeleton(count: int) -> Skeleton:
    """Return names for keypoints of which the file gives none."""
    return Skeleton(tuple(f"keypoint {number}" for number in range(1, count + 1)))


def missing_names(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return how many keypoints the annotations of a category have, 0 for none."""
    for row in rows:
        given = row.get("keypoints")
        if isinstance(given, list) and given and len(given) % 3 == 0:
            return len(given) // 3
    return 0


def read_keypoints(
    row: Mapping[str, Any], count: int, where: str, report: Report
) -> NDArray[np.float64] | None:
    """Return the keypoints of an annotation, None where it has none to be used.

    Parameters
    ----------
    row : mapping
        The annotation.
    count : int
        How many keypoints its category has.
    where : str
        What faults call it.
    report : callable
        Takes where, what is wrong, and what is done about it.

    Returns
    -------
    ndarray or None
        Shape (K, 3), float64: x, y, v.
    """
    given = row.get("keypoints")
    if given is None:
        return None
    flat = numbers(given)
    if flat is None:
        what = f"keypoints is {shown(given)}, no list of numbers"
        report(where, what, "read without keypoints")
        return None
    if not flat:
        return None
    if len(flat) != 3 * count:
        what = f"keypoints has {len(flat)} numbers, {3 * count} for {count} keypoints"
        report(where, what, "read without keypoints")
        return None
    if max(map(abs, flat)) > LARGEST:
        report(where, "keypoints lie out of every image", "read without keypoints")
        return None
    table = np.array(flat, dtype=np.float64).reshape(-1, 3)
    wrong = ~np.isin(table[:, 2], (NOT_LABELLED, HIDDEN, VISIBLE))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        what = (
            f"visibility {table[first, 2]:g} of keypoint {first + 1} is not 0, 1 or 2"
        )
        more = f" (and {int(wrong.sum()) - 1} more)" if wrong.sum() > 1 else ""
        report(where, what + more, "taken as 2, visible")
        table[wrong, 2] = VISIBLE
    labelled = count_labelled(table)
    if "num_keypoints" in row and whole(row["num_keypoints"]) != labelled:
        what = f"num_keypoints is {shown(row['num_keypoints'])}, not {labelled}"
        report(where, what, "counted in the keypoints")
    return table


def count_labelled(table: NDArray[np.float64]) -> int:
    """Return COCO's ``num_keypoints``: those that are labelled, visible or not."""
    return int(np.count_nonzero(table[:, 2] > NOT_LABELLED))


def keypoint_keys(table: NDArray[np.float64]) -> dict[str, Any]:
    """Return the keys of an annotation that hold its keypoints."""
    flat = [
        int(value) if value.is_integer() else value for value in table.ravel().tolist()
    ]
    return {"keypoints": flat, "num_keypoints": count_labelled(table)}


def skeleton_keys(skeleton: Skeleton) -> dict[str, Any]:
    """Return the keys of a category that name its keypoints; bones count from 1."""
    return {
        "keypoints": list(skeleton.names),
        "skeleton": [[first + 1, second + 1] for first, second in skeleton.bones],
    }
