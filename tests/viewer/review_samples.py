"""Labels layers to review."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_maskrcnn.core.instances import Instances

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPE = (96, 128)


def squares(*corners: tuple[int, int], size: int = 10) -> NDArray[np.uint16]:
    """Draw squares, numbered from 1."""
    label_image = np.zeros(SHAPE, np.uint16)
    for number, (y, x) in enumerate(corners, start=1):
        label_image[y : y + size, x : x + size] = number
    return label_image


def found(scores: list[float]) -> Instances:
    """Squares in a row, as a network of two classes finds them."""
    label_image = squares(*[(40, 5 + 20 * i) for i in range(len(scores))])
    return Instances.from_label_image(
        label_image,
        class_ids=[1 + i % 2 for i in range(len(scores))],
        scores=scores,
        class_names=("cell", "debris"),
    )
