"""The parts that widgets are put together from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.widgets.parts import ProgressBar, StatusLine

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot
    from qtpy.QtGui import QPaintEvent


class Counted(ProgressBar):
    """A bar that counts how often it is painted."""

    painted = 0

    def paintEvent(self, event: QPaintEvent | None) -> None:
        self.painted += 1
        super().paintEvent(event)


def test_a_bar_is_painted_with_the_next_frame(qtbot: QtBot) -> None:
    bar = Counted()
    qtbot.addWidget(bar)
    bar.show()
    qtbot.waitUntil(lambda: bar.painted > 0)
    before = bar.painted
    bar.setRange(0, 10)
    bar.setValue(7)
    bar.reset()
    bar.setValue(3)
    # Not in the middle of what calls it: the canvas would be painted as well.
    assert bar.painted == before
    qtbot.waitUntil(lambda: bar.painted > before)
    assert bar.value() == 3


def test_a_long_name_does_not_make_a_line_wider(qtbot: QtBot) -> None:
    line = StatusLine()
    qtbot.addWidget(line)
    line.say("No room: /" + "x" * 500, "error")
    assert line.minimumSizeHint().width() == 0
    assert line.minimumSizeHint().height() > 0
    assert line.text().endswith("x")
