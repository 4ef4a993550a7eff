"""Live curves of a run; pyqtgraph is imported when the first ones are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_maskrcnn.core.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari.utils.theme import Theme

# Between two drawings, however quick the steps are.
REDRAW_MS = 300
HEIGHT, AXIS_WIDTH = 130, 40
# Okabe and Ito's sky blue and orange, which show on dark and on light grounds.
SCORES = {"ap50": ("IoU 0.5", "#56B4E9"), "ap75": ("IoU 0.75", "#E69F00")}
# The smooth curve: how much of it is left after a step.
SMOOTH = 0.95


class Curves(QWidget):
    """The loss of every step, and AP on what is held out."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self._theme: Theme | None = None
        self._plots: list[_Plot] = []
        self._lines: dict[str, Any] = {}
        self._losses: Sequence[tuple[float, float]] = ()
        self._scores: Sequence[tuple[float, dict[str, float]]] = ()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MS)
        self._timer.timeout.connect(self.draw)

    def use_theme(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        self._theme = theme
        if self._plots:
            self._colour()

    def follow(
        self,
        losses: Sequence[tuple[float, float]],
        scores: Sequence[tuple[float, dict[str, float]]],
    ) -> None:
        """Draw these soon; more may have come until then.

        Parameters
        ----------
        losses : sequence of tuple
            (step, loss).
        scores : sequence of tuple
            (step, figures by name), the old model's at step 0.
        """
        self._losses, self._scores = losses, scores
        if not self._timer.isActive():
            self._timer.start()

    def draw(self) -> None:
        """Draw what there is."""
        if not self._plots:
            if not self._losses and not self._scores:
                return
            self._make()
        steps = [step for step, _ in self._losses]
        losses = [loss for _, loss in self._losses]
        self._lines["loss"].setData(steps, losses)
        self._lines["smooth"].setData(steps, smoothed(losses))
        for key in SCORES:
            points = [(x, found[key]) for x, found in self._scores if key in found]
            self._lines[key].setData([x for x, _ in points], [y for _, y in points])

    def save(self, path: Path) -> None:
        """Write a picture of the curves, whole or not at all."""
        self._timer.stop()
        self.draw()
        if not self._plots:
            return
        with replacing(path, keep_suffix=True) as temporary:
            if not self.grab().save(str(temporary)):
                raise OSError(f"could not write {path.name}")

    def _make(self) -> None:
        import pyqtgraph

        legend = ", ".join(
            f'<span style="color:{colour}">\N{BLACK CIRCLE}</span> {words}'
            for words, colour in SCORES.values()
        )
        loss = self._plot("Loss")
        scores = self._plot(f"AP on what is held out: {legend}")
        scores.bottom.setLabel("Step")
        scores.box.setYRange(0, 1, padding=0.02)
        self._lines["loss"] = loss.add(pyqtgraph.PlotDataItem())
        self._lines["smooth"] = loss.add(pyqtgraph.PlotDataItem())
        # The first lies on top, and is the thinnest: both are seen where they coincide.
        for place in reversed(range(len(SCORES))):
            key, (_, colour) = list(SCORES.items())[place]
            width = 2 + 2 * place
            self._lines[key] = scores.add(
                pyqtgraph.PlotDataItem(
                    pen=pyqtgraph.mkPen(colour, width=width),
                    symbol="o", symbolSize=4 + width, symbolBrush=colour,
                    symbolPen=None,
                )
            )  # fmt: skip
        self._colour()

    def _plot(self, title: str) -> _Plot:
        """Add a plot of its parts.

        pyqtgraph's own plot makes a dozen menus without a parent, wanted or not, that
        would outlive it.
        """
        import pyqtgraph

        view = pyqtgraph.GraphicsLayoutWidget()
        view.setFixedHeight(HEIGHT)
        box = pyqtgraph.ViewBox(enableMenu=False, enableMouse=False)
        left, bottom = (pyqtgraph.AxisItem(side) for side in ("left", "bottom"))
        view.addItem(left, 0, 0)
        view.addItem(box, 0, 1)
        view.addItem(bottom, 1, 1)
        left.linkToView(box)
        bottom.linkToView(box)
        left.setWidth(AXIS_WIDTH)
        self._column.addWidget(QLabel(title))
        self._column.addWidget(view)
        plot = _Plot(view, box, left, bottom)
        self._plots.append(plot)
        return plot

    def _colour(self) -> None:
        import pyqtgraph

        if self._theme is None:
            return
        text = self._theme.text.as_hex()
        for plot in self._plots:
            plot.view.setBackground(self._theme.background.as_hex())
            for axis in (plot.left, plot.bottom):
                axis.setPen(self._theme.secondary.as_hex())
                axis.setTextPen(text)
        thin = pyqtgraph.mkPen(self._theme.secondary.as_hex(), width=1)
        self._lines["loss"].setPen(thin)
        self._lines["smooth"].setPen(pyqtgraph.mkPen(text, width=2))


@dataclass(frozen=True, slots=True)
class _Plot:
    """The parts of a plot, pyqtgraph's."""

    view: Any
    box: Any
    left: Any
    bottom: Any

    def add(self, line: Any) -> Any:
        self.box.addItem(line)
        return line


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the running mean of values, the first ones soon forgotten."""
    found: list[float] = []
    mean = 0.0
    for number, value in enumerate(values):
        keep = min(SMOOTH, number / (number + 1))
        mean = keep * mean + (1 - keep) * value
        found.append(mean)
    return found
