"""Label images and instances that the COCO tests share."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_maskrcnn.core.instances import Instances

# Few values, so that objects have parts, holes, neighbours and touch the border; and
# large ones, so that ids have gaps.
IDS = np.array([0, 1, 2, 7, 65_535, 65_536, 2**31 - 1])

label_images = st.builds(
    lambda places: IDS[places].astype(np.int32),
    arrays(
        np.int8,
        array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
        elements=st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 6]),
        fill=st.sampled_from([0, 1]),
    ),
)


def rings(count: int = 100) -> np.ndarray:
    """Return a label image of discs, every third with a hole."""
    label_image = np.zeros((220, 230), dtype=np.uint16)
    y, x = np.ogrid[:18, :18]
    distance = (y - 8.5) ** 2 + (x - 8.5) ** 2
    for number in range(1, count + 1):
        top, left = divmod(number - 1, 10)
        radius = 4 + 4.5 * (number * 37 % 100) / 100
        mask = distance < radius**2
        if number % 3 == 0:
            mask &= distance > (radius / 2.5) ** 2
        label_image[20 * top : 20 * top + 18, 20 * left : 20 * left + 18][mask] = number
    return label_image


def overlapping(count: int = 12, seed: int = 0) -> Instances:
    """Return instances of two classes whose masks share pixels, some with holes."""
    rng = np.random.default_rng(seed)
    shape = (60, 70)
    masks = []
    offsets = np.stack(
        [rng.integers(0, shape[0] - 20, count), rng.integers(0, shape[1] - 20, count)],
        1,
    )
    for _ in range(count):
        height, width = rng.integers(8, 20, 2)
        mask = rng.integers(0, 255, (height, width))
        mask[2:-2, 2:-2] = 255
        mask[4:6, 4:6] = 0
        mask[[0, -1]] = 200
        mask[:, [0, -1]] = 200
        masks.append(mask.astype(np.uint8))
    sizes = np.array([mask.shape for mask in masks])
    boxes = np.concatenate([offsets[:, ::-1], (offsets + sizes)[:, ::-1]], axis=1)
    return Instances(
        image_shape=shape,
        boxes=boxes.astype(np.float32),
        class_ids=rng.integers(1, 3, count),
        scores=rng.random(count).astype(np.float32),
        masks=tuple(masks),
        offsets=offsets,
        ids=rng.choice(np.arange(1, 1000), count, replace=False),
        class_names=("cell", "nucleus"),
    )


def full_mask(instances: Instances, number: int) -> np.ndarray:
    """Return a mask of the whole image."""
    mask = np.zeros(instances.image_shape, dtype=bool)
    y, x = instances.offsets[number]
    crop = instances.mask(number)
    mask[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    return mask
