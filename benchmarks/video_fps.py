"""Frames a second on a generated video: the starter beside ResNet-50 networks.

    python benchmarks/video_fps.py [--frames 100] [--models nuclei ...] [--threads 2]

The video has 480 x 854 pixels, RGB, with 60 moving nuclei.  A frame's time is that of
the whole way from pixels to a label image: encode, heads, thresholds, drawing.  The
first frame, which pays for caches, is left out.

Networks other than bundled models have random weights, sure of every candidate, and
give the first `--objects` of them: with none to be found, the mask head would have
nothing to do.  On a CPU they take seconds a frame, so `--slow-frames`
of the video are enough for their median.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import numpy as np
import torch
from measure import make_sure

from napari_maskrcnn.core.architectures import build
from napari_maskrcnn.core.checkpoints import Checkpoint
from napari_maskrcnn.core.detector import Detector, load_model
from napari_maskrcnn.core.devices import describe_device
from napari_maskrcnn.core.kinds import KINDS, published_arguments
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.core.steady import SteadySize

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPE = (480, 854)
NUCLEI = 60
SEED_RATE = 2.0
MODELS = ("nuclei", "maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2")
COCO_CLASSES = 90


def video(frames: int) -> NDArray[np.uint8]:
    """Return (T, 480, 854, 3): nuclei that drift, in a colour, under noise."""
    wide, _ = nuclei_field((SHAPE[0], SHAPE[1] + 2 * frames), NUCLEI)
    wide = wide / wide.max()
    random = np.random.default_rng(0)
    stack = np.empty((frames, *SHAPE, 3), np.uint8)
    for t in range(frames):
        grey = wide[:, 2 * t : 2 * t + SHAPE[1], np.newaxis] * (0.5, 0.8, 1.0)
        noise = random.normal(0, 0.02, grey.shape)
        stack[t] = np.clip((grey + noise) * 255, 0, 255)
    return stack


def random_detector(name: str, device: str) -> Detector:
    """Return a detector of random weights that is sure of every candidate."""
    torch.manual_seed(0)
    try:
        arguments = published_arguments(name)
    except ValueError:
        arguments = {}
    network = build(name, COCO_CLASSES + 1, arguments)
    config = {
        "architecture": {"name": name, "arguments": arguments},
        "class_names": [f"class {k}" for k in range(1, COCO_CLASSES + 1)],
        "image_size": [800, 1333],
    }
    make_sure(network)
    return Detector(Checkpoint(config, network.state_dict()), device, name=name)


def main() -> None:
    """Measure, and print a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--slow-frames", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--objects", type=int, default=NUCLEI)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    stack = video(options.frames)
    print(
        f"{describe_device(options.device)}, {torch.get_num_threads()} threads; "
        f"video of {len(stack)} frames, {SHAPE[0]} x {SHAPE[1]}, RGB"
    )
    for name in options.models:
        is_network = name in KINDS
        if is_network:
            detector = random_detector(name, options.device)
            recipe = Recipe(max_detections=options.objects)
        else:
            detector = load_model(name, options.device)
            recipe = Recipe()
        slow = is_network and detector.device.type == "cpu"
        count = min(len(stack), 1 + options.slow_frames) if slow else len(stack)
        measure(name, detector, stack[:count], recipe)
    print(f"{'the seed':28s} {1 / SEED_RATE:8.3f} s a frame {SEED_RATE:7.2f} frames/s")


def measure(
    name: str, detector: Detector, stack: NDArray[np.uint8], recipe: Recipe
) -> None:
    """Segment a video frame by frame and print the median."""
    size = SteadySize(recipe, has_size=detector.native_size is not None)
    times, found = [], []
    for frame in stack:
        start = time.perf_counter()
        encoding, instances = exhaust(detector.segment(frame, size.recipe))
        size.saw(encoding.object_size, instances)
        kept = size.recipe.apply(instances)
        if kept.has_masks:
            kept.to_label_image()
        times.append(time.perf_counter() - start)
        found.append(len(instances))
    # The first frame pays for caches; a video of one frame has no other.
    times = times[1:] or times
    median = statistics.median(times)
    print(
        f"{name:28s} {median:8.3f} s a frame {1 / median:7.2f} frames/s"
        f"  (median of {len(times)}; {statistics.median(found):.0f} detections a frame)"
    )


if __name__ == "__main__":
    main()
