"""Painting 300 instances on 2048 x 2048: ours against torchvision's paste.

    python benchmarks/painting.py

Ours goes from the mask head's grids to a label image; torchvision's
``paste_masks_in_image`` only to its stack of pasted masks.
"""

from __future__ import annotations

import argparse

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from measure import medians, peak_memory
from torchvision.models.detection.roi_heads import paste_masks_in_image

from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.pasting import paste_masks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    shape = (options.side, options.side)
    random = torch.Generator().manual_seed(0)
    corners = torch.rand(options.count, 2, generator=random) * (options.side - 80)
    sizes = 20 + 60 * torch.rand(options.count, 2, generator=random)
    boxes = torch.cat([corners, corners + sizes], dim=1)
    grids = torch.rand(options.count, 28, 28, generator=random)

    def ours() -> object:
        masks, offsets = paste_masks(grids, boxes, shape)
        count = len(masks)
        return Instances(
            image_shape=shape,
            boxes=boxes.numpy(),
            class_ids=np.ones(count, np.int64),
            scores=np.linspace(1, 0, count, dtype=np.float32),
            masks=masks,
            offsets=offsets,
            ids=np.arange(1, count + 1),
            class_names=("object",),
        ).to_label_image()

    def theirs() -> object:
        return paste_masks_in_image(grids[:, None], boxes, shape)

    seconds = medians({"ours": ours, "torchvision": theirs}, options.repeats)
    memory = {"ours": peak_memory(ours), "torchvision": peak_memory(theirs)}
    for name in seconds:
        print(f"{name:12s} {seconds[name] * 1000:9.1f} ms  {memory[name]:8.1f} MB")
    ratio = memory["torchvision"] / max(memory["ours"], 1.0)
    print(
        f"ratio        {seconds['torchvision'] / seconds['ours']:9.1f}     {ratio:8.1f}"
    )


if __name__ == "__main__":
    main()
