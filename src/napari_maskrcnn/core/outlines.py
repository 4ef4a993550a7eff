"""Objects without masks in a picture: their boxes, and their skeletons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .coco.keypoints import KEYPOINT_THRESHOLD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .instances import Instances

# In pixels: of a frame, and of a keypoint.
FRAME_WIDTH, POINT_RADIUS = 2, 3


def outlines(instances: Instances) -> NDArray[np.int64]:
    """Draw frames, bones and keypoints; where two meet the higher score has the pixel.

    Parameters
    ----------
    instances : Instances
        With or without masks; keypoints that are hardly seen are left out, and the
        bones that end there.

    Returns
    -------
    ndarray
        Shape (H, W): 0 where nothing is drawn, else the id of the object.
    """
    drawn = np.zeros(instances.image_shape, np.int64)
    for position in np.argsort(instances.scores, kind="stable").tolist():
        label = int(instances.ids[position])
        _frame(drawn, instances.boxes[position], label)
        if instances.keypoints is not None and instances.skeleton is not None:
            _skeleton(
                drawn,
                instances.keypoints[position],
                instances.skeleton.bones,
                label,
            )
    return drawn


def _frame(drawn: NDArray[np.int64], box: NDArray[Any], label: int) -> None:
    height, width = drawn.shape
    x0, y0, x1, y1 = np.rint(box).astype(int).tolist()
    x1, y1 = min(max(x1, x0 + 1), width), min(max(y1, y0 + 1), height)
    x0, y0 = max(x0, 0), max(y0, 0)
    window = drawn[y0:y1, x0:x1]
    inside = np.zeros(window.shape, np.bool_)
    inside[FRAME_WIDTH:-FRAME_WIDTH, FRAME_WIDTH:-FRAME_WIDTH] = True
    window[~inside] = label


def _skeleton(
    drawn: NDArray[np.int64],
    keypoints: NDArray[np.float32],
    bones: tuple[tuple[int, int], ...],
    label: int,
) -> None:
    from skimage.draw import disk, line

    seen = keypoints[:, 2] >= KEYPOINT_THRESHOLD
    places = np.floor(keypoints[:, 1::-1]).astype(int)
    height, width = drawn.shape
    for first, second in bones:
        if seen[first] and seen[second]:
            rows, columns = line(*places[first].tolist(), *places[second].tolist())
            kept = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
            drawn[rows[kept], columns[kept]] = label
    for place in places[seen].tolist():
        drawn[disk(place, POINT_RADIUS, shape=drawn.shape)] = label
