"""When memory runs out: the ladder, rung by rung, and that nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.memory import SMALLEST_WINDOW, MemoryLadder
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_maskrcnn.core.checkpoints import Checkpoint

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_the_rungs_of_a_gpu_come_in_order() -> None:
    ladder = MemoryLadder(2048, torch.float32, torch.device("cuda"))
    sentences = []
    for _ in range(4):
        sentences.append(ladder.step_down(FULL))
    assert [s.rpartition("went on")[2] for s in sentences] == [
        " with windows of 1024 pixels",
        " with windows of 512 pixels",
        " in half precision",
        ", more slowly, on the CPU",
    ]
    assert all(s.startswith("Memory ran out on the GPU") for s in sentences)
    assert ladder.window == SMALLEST_WINDOW
    assert ladder.device.type == "cpu"
    assert ladder.precision in (torch.float32, torch.bfloat16)
    with pytest.raises(torch.OutOfMemoryError) as error:
        ladder.step_down(FULL)
    assert error.value is FULL


def test_half_precision_is_no_second_rung() -> None:
    ladder = MemoryLadder(SMALLEST_WINDOW, torch.bfloat16, torch.device("mps"))
    assert "on the Apple GPU: went on, more slowly" in ladder.step_down(FULL)


def test_windows_stay_whole_strides() -> None:
    ladder = MemoryLadder(1500, torch.float32, torch.device("cpu"))
    ladder.step_down(FULL)
    assert ladder.window % 32 == 0
    assert ladder.window == 736


def test_the_errors_of_every_device_are_known() -> None:
    with pytest.raises(RuntimeError) as real:
        torch.empty(1 << 55, dtype=torch.uint8)
    assert MemoryLadder.is_out_of_memory(real.value)
    for text in (
        "MPS backend out of memory (MPS allocated: 9.00 GB)",
        "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough "
        "memory: you tried to allocate 4096 bytes.",
        "CUDA error: out of memory",
    ):
        assert MemoryLadder.is_out_of_memory(RuntimeError(text))
    assert not MemoryLadder.is_out_of_memory(RuntimeError("shape mismatch"))


# ------------------------------------------------------------------ in the detector


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint16]:
    """Larger than the smallest window, smaller than the CPU's usual one."""
    return nuclei_field((400, 700), 90, seed=2)[0]


@pytest.fixture
def own_detector(checkpoint: Checkpoint) -> Detector:
    return Detector(checkpoint, "cpu", precision=torch.float32)


def short_of_memory(
    part: Callable[..., Any], fits: Callable[..., bool], error: RuntimeError
) -> Callable[..., Any]:
    """A part of the network that fails where its input does not fit."""

    def forward(*arguments: Any, **keywords: Any) -> Any:
        if not fits(*arguments):
            raise error
        return part(*arguments, **keywords)

    return forward


def test_smaller_windows_do_what_large_ones_could_not(
    own_detector: Detector,
    image: NDArray[np.uint16],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = own_detector.network.backbone.body
    monkeypatch.setattr(
        body, "forward", short_of_memory(body.forward, _at_most(512), FULL)
    )
    found = own_detector.detect(image, object_size=24, max_detections=60)
    assert found.warnings[0] == (
        "Memory ran out on the CPU: went on with windows of 512 pixels"
    )
    assert found.image_shape == image.shape
    assert len(found) > 5
    # It lasts: the next image goes without a failure, and without a sentence.
    again = own_detector.detect(image, object_size=24, max_detections=60)
    assert not any("Memory" in warning for warning in again.warnings)
    np.testing.assert_array_equal(again.to_label_image(), found.to_label_image())


def _at_most(side: int) -> Callable[..., bool]:
    return lambda pixels: pixels.shape[-1] * pixels.shape[-2] <= side**2


@pytest.mark.parametrize(
    "error", [FULL, RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_the_last_rung_raises_the_error_itself(
    own_detector: Detector,
    image: NDArray[np.uint16],
    monkeypatch: pytest.MonkeyPatch,
    error: RuntimeError,
) -> None:
    body = own_detector.network.backbone.body
    monkeypatch.setattr(
        body, "forward", short_of_memory(body.forward, _at_most(0), error)
    )
    with pytest.raises(RuntimeError) as raised:
        own_detector.detect(image, object_size=24)
    assert raised.value is error


def test_another_error_is_not_swallowed(
    own_detector: Detector,
    image: NDArray[np.uint16],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fpn = own_detector.network.backbone.fpn
    error = RuntimeError("the size of tensor a must match the size of tensor b")
    monkeypatch.setattr(
        fpn, "forward", short_of_memory(fpn.forward, lambda _: False, error)
    )
    with pytest.raises(RuntimeError, match="size of tensor a"):
        own_detector.detect(image, object_size=24)
    assert own_detector._ladder.window == 1024


def test_the_heads_go_on_after_running_out_once(
    own_detector: Detector,
    image: NDArray[np.uint16],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = own_detector.detect(image, object_size=24, max_detections=60)
    head = own_detector.network.roi_heads.mask_head
    failures = iter([False])
    monkeypatch.setattr(
        head,
        "forward",
        short_of_memory(head.forward, lambda _: next(failures, True), FULL),
    )
    found = own_detector.detect(image, object_size=24, max_detections=60)
    assert any("windows of 512 pixels" in warning for warning in found.warnings)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.to_label_image(), expected.to_label_image())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("budget", [0, 2**30])
@pytest.mark.parametrize("part", ["trunk", "heads"])
def test_the_cpu_takes_over_from_a_gpu(
    checkpoint: Checkpoint,
    image: NDArray[np.uint16],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    budget: int,
) -> None:
    detector = Detector(checkpoint, "cuda", precision=torch.float32, budget=budget)
    network = detector.network
    full = network.backbone.body if part == "trunk" else network.roi_heads.mask_head
    monkeypatch.setattr(
        full, "forward", short_of_memory(full.forward, lambda t: not t.is_cuda, FULL)
    )
    found = detector.detect(image, object_size=24, max_detections=60)
    assert [w.rpartition("went on")[2] for w in found.warnings if "Memory" in w] == [
        " with windows of 1024 pixels",
        " with windows of 512 pixels",
        " in half precision",
        ", more slowly, on the CPU",
    ]
    assert detector.device.type == "cpu"
    assert len(found) > 5
