"""What the benchmarks that drive a real window share: clicks, stalls, nuclei."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from collections.abc import Callable

# Pixels of a generated field for each nucleus.
PIXELS_A_NUCLEUS = 2400


def click(button: Any) -> None:
    """Click a button as a person does."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def add_fields(viewer: Any, count: int, side: int) -> None:
    """Add images of nuclei, side x side, and Labels layers with all their objects."""
    for seed in range(count):
        image, labels = nuclei_field(
            (side, side), side**2 // PIXELS_A_NUCLEUS, seed=seed
        )
        viewer.add_image(image, name=f"field {seed}")
        viewer.add_labels(labels, name=f"field {seed} objects")


class Stalls:
    """How long a window did not answer, and what it was doing meanwhile.

    Parameters
    ----------
    doing : callable
        Returns what is being done, in words.
    """

    def __init__(self, doing: Callable[[], str]) -> None:
        from qtpy.QtCore import QTimer

        self.gaps: list[tuple[float, str]] = []
        self._doing = doing
        self._timer = QTimer()
        # It should fire every 5 ms; how late it comes is how long the window was busy.
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._tick)
        self._timer.start()
        self._last = time.perf_counter()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.append((now - self._last, self._doing()))
        self._last = now

    def stop(self, count: int) -> float:
        """Print the longest; return the seconds of the very longest."""
        self._timer.stop()
        longest = sorted(self.gaps, reverse=True)[:count]
        for seconds, doing in longest:
            print(f"{seconds:6.3f} s  {doing}")
        return longest[0][0]


def rest(milliseconds: int) -> None:
    """Let the window work for some time; `QTest.qWait` would sleep in between."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()
