"""What to do when a device's memory runs out: a ladder, one rung at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from napari_maskrcnn.core import preload  # noqa: F401

import torch

from .devices import inference_precision
from .tiling import STRIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .encoding import Encoding
    from .progress import Progress

Result = TypeVar("Result")
SMALLEST_WINDOW = 512
# MPS and the CPU's allocator, worded by system, raise plain RuntimeErrors.
_PHRASES = ("out of memory", "not enough memory", "can't allocate memory")


class MemoryLadder:
    """Smaller windows, then half precision, then the CPU.

    Parameters
    ----------
    window : int
        Side of the windows to begin with, in network pixels.
    precision : torch.dtype
        To begin with.
    device : torch.device
        Likewise.
    """

    def __init__(
        self, window: int, precision: torch.dtype, device: torch.device
    ) -> None:
        self.window = window
        self.precision = precision
        self.device = device

    @staticmethod
    def is_out_of_memory(error: RuntimeError) -> bool:
        """Whether an error of torch says that memory ran out, on any device."""
        if isinstance(error, torch.OutOfMemoryError):
            return True
        text = str(error).lower()
        return any(phrase in text for phrase in _PHRASES)

    def step_down(self, error: RuntimeError) -> str:
        """Take the next rung and return the sentence that tells the person.

        Raises
        ------
        RuntimeError
            The error itself, when there is no rung left.
        """
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.window > SMALLEST_WINDOW:
            self.window = max(SMALLEST_WINDOW, self.window // 2 // STRIDE * STRIDE)
            return (
                f"Memory ran out on {self._name}: went on with windows of "
                f"{self.window} pixels"
            )
        if self.precision == torch.float32 and self.device.type != "cpu":
            self.precision = torch.float16
            return f"Memory ran out on {self._name}: went on in half precision"
        if self.device.type != "cpu":
            name, self.device = self._name, torch.device("cpu")
            self.precision = inference_precision(self.device)
            return f"Memory ran out on {name}: went on, more slowly, on the CPU"
        raise error

    def climb_down(
        self,
        attempt: Callable[[], Generator[Progress, None, Result]],
        place: Callable[[], None],
        warnings: list[str],
    ) -> Generator[Progress, None, Result]:
        """Run a piece of work, again and more frugally while memory runs out.

        Parameters
        ----------
        attempt : callable
            The work, as a generator.
        place : callable
            Moves the network to the device of the new rung.
        warnings : list of str
            The sentences that tell the person are put here.
        """
        while True:
            try:
                return (yield from attempt())
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not self.is_out_of_memory(error):
                    raise
                # Raises the error again once the last rung is reached.
                message = self.step_down(error)
            # Outside the handler: its traceback keeps the large tensors alive.
            place()
            warnings.append(message)

    def moved(self, encoding: Encoding) -> Encoding:
        """Move an encoding to where the network went when memory ran out."""
        kept = [window for window in encoding.windows if window is not None]
        if not kept or kept[0].proposals.device == self.device:
            return replace(encoding, precision=self.precision)
        return replace(
            encoding,
            windows=tuple(
                window
                and replace(
                    window,
                    features={
                        key: value.to(self.device, torch.float32)
                        for key, value in window.features.items()
                    },
                    proposals=window.proposals.to(self.device),
                    found=None,
                )
                for window in encoding.windows
            ),
            precision=self.precision,
        )

    @property
    def _name(self) -> str:
        return {"cuda": "the GPU", "mps": "the Apple GPU"}.get(
            self.device.type, "the CPU"
        )
