"""Small parts that the dock widgets share."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari.utils.theme import get_theme
from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSlider,
    QWidget,
)
from superqt.utils import signals_blocked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari.utils.theme import Theme

    from napari_maskrcnn.viewer.actions import Action

# A slider moved by key, wheel or number has rested after this time.
REST_MS = 400


def theme_named(name: str) -> Theme:
    """Return the colours of a napari theme."""
    theme: Theme = get_theme(name)
    return theme


class PrimaryButton(QPushButton):
    """The one large button of a widget, in the theme's accent colour."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setMinimumHeight(40)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def use_theme(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        accent, text = theme.current.as_hex(), theme.text.as_hex()
        self.setStyleSheet(
            "QPushButton { font-weight: bold; border-radius: 4px; padding: 6px;"
            f" background-color: {accent}; color: {text}; }}"
            f"QPushButton:hover {{ border: 1px solid {text}; }}"
            f"QPushButton:focus {{ border: 2px solid {text}; }}"
            f"QPushButton:disabled {{ background-color: {theme.foreground.as_hex()};"
            f" color: {theme.secondary.as_hex()}; }}"
        )


class StatusLine(QLabel):
    """A line or two for the person, with a mark in the colour of its weight."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._theme: Theme | None = None
        self.level = "info"

    def use_theme(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        self._theme = theme
        self._style()

    def minimumSizeHint(self) -> QSize:
        """Let no long word, as a file's name is one, make the whole dock wider."""
        return QSize(0, super().minimumSizeHint().height())

    def say(self, text: str, level: str = "info") -> None:
        """Show a sentence.

        Parameters
        ----------
        text : str
            The sentence; an empty one clears the line.
        level : str
            "info", "warning" or "error".
        """
        self.level = level
        self.setText(text)
        self._style()

    def _style(self) -> None:
        if self._theme is None:
            return
        mark = {
            "info": self._theme.secondary,
            "warning": self._theme.warning,
            "error": self._theme.error,
        }[self.level].as_hex()
        border = f"border-left: 4px solid {mark};" if self.text() else ""
        self.setStyleSheet(f"QLabel {{ {border} padding: 2px 0px 2px 6px; }}")


class ProgressBar(QProgressBar):
    """A progress bar that is painted with the next frame.

    Qt's paints itself at once, and the canvas with it: in the middle of whatever
    change of the layers the number followed, and for each number anew.
    """

    def setRange(self, minimum: int, maximum: int) -> None:
        """Set the ends."""
        with self._painted_later():
            super().setRange(minimum, maximum)

    def setValue(self, value: int) -> None:
        """Show how far it is."""
        with self._painted_later():
            super().setValue(value)

    def reset(self) -> None:
        """Show nothing."""
        with self._painted_later():
            super().reset()

    @contextmanager
    def _painted_later(self) -> Iterator[None]:
        self.setUpdatesEnabled(False)
        try:
            yield
        finally:
            self.setUpdatesEnabled(True)


class ProgressRow(QWidget):
    """How far a run has come, and the button that stops it.

    Parameters
    ----------
    bar_tip, cancel_tip : str
        The tooltips.
    """

    def __init__(self, bar_tip: str, cancel_tip: str) -> None:
        super().__init__()
        self.bar = ProgressBar()
        self.bar.setToolTip(bar_tip)
        self.cancel_button = button("Cancel", cancel_tip)
        self.cancel_button.setEnabled(False)
        layout = row(self.bar, self.cancel_button)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)

    def set_running(self, running: bool) -> None:
        """Be busy, or at rest; what the bar shows of a run stays meanwhile."""
        if running and not self.cancel_button.isEnabled():
            self.bar.setRange(0, 0)
        elif not running:
            self.bar.setRange(0, 1)
            self.bar.reset()
        self.cancel_button.setEnabled(running)

    def show_progress(self, done: int, total: int) -> None:
        """Show that so much is done; a total of 0 is one that nobody knows."""
        self.bar.setRange(0, max(0, total))
        self.bar.setValue(done)


def button(text: str, tip: str) -> QPushButton:
    """Return a button with a tooltip."""
    made = QPushButton(text)
    made.setToolTip(tip)
    return made


def action_button(action: Action) -> QPushButton:
    """Return the button of an action of the viewer's."""
    made = button(action.title, action.tooltip)
    # A click leaves the keys with the canvas; Tab still comes here.
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return made


def row(first: QWidget, *others: QWidget) -> QHBoxLayout:
    """Return widgets side by side, the first one as wide as there is room."""
    layout = QHBoxLayout()
    layout.addWidget(first, 1)
    for other in others:
        layout.addWidget(other)
    return layout


def form_layout() -> QFormLayout:
    """Return an empty form: names on the left, parts as wide as there is room."""
    form = QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    return form


def align(forms: Iterable[QFormLayout]) -> None:
    """Let forms below each other begin their parts at the same place."""
    names = [
        item.widget()
        for form in forms
        for place in range(form.rowCount())
        if (item := form.itemAt(place, QFormLayout.ItemRole.LabelRole)) is not None
    ]
    found = [name for name in names if name is not None]
    width = max((name.sizeHint().width() for name in found), default=0)
    for name in found:
        name.setMinimumWidth(width)


def paragraph() -> QLabel:
    """Return a label whose text wraps and can be copied."""
    label = QLabel()
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def bold(label: QLabel) -> QLabel:
    """Make a label's text bold, and return it."""
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label


class Slider(QWidget):
    """A slider with its value beside it that tells moving from having moved.

    A plain slider over whole steps: it follows the arrow keys, which the sliders for
    fractions that are around do not.

    Parameters
    ----------
    low, high, step : float
        The range, and the distance from one value to the next.

    Signals
    -------
    moved ()
        The value changed; the slider may still be held.
    rested ()
        The slider was let go, or was not moved by other means for a while.
    """

    moved = Signal()
    rested = Signal()

    def __init__(
        self, low: float, high: float, step: float, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._step = step
        self._decimals = 0 if float(step).is_integer() else 2
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(round(low / step), round(high / step))
        self.slider.setPageStep(10)
        self.number = QDoubleSpinBox()
        self.number.setDecimals(self._decimals)
        self.number.setRange(low, high)
        self.number.setSingleStep(step)
        self.number.setKeyboardTracking(False)
        self.number.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.number.setAlignment(Qt.AlignmentFlag.AlignRight)
        # napari's style leaves room for the buttons that are not there.
        self.number.setStyleSheet(
            "QDoubleSpinBox { min-width: 38px; max-width: 38px; padding: 1px 4px; }"
        )
        self.setFocusProxy(self.slider)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.slider, 1)
        layout.addWidget(self.number)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self.rested)
        self.slider.valueChanged.connect(self._on_value)
        self.slider.sliderReleased.connect(self._on_released)
        self.number.valueChanged.connect(self.move_to)

    def value(self) -> float:
        """Return the value, as it is shown."""
        return round(self.slider.value() * self._step, self._decimals)

    def move_to(self, value: float) -> None:
        """Move the slider as a person does, with signals."""
        self.slider.setValue(round(value / self._step))

    def set_value(self, value: float) -> None:
        """Move the slider without a signal."""
        with signals_blocked(self.slider):
            self.slider.setValue(round(value / self._step))
        self._show()

    def set_high(self, high: float) -> None:
        """Change the upper end; the value stays inside without a signal."""
        with signals_blocked(self.slider):
            self.slider.setMaximum(round(high / self._step))
        self.number.setMaximum(high)
        self._show()

    def _show(self) -> None:
        with signals_blocked(self.number):
            self.number.setValue(self.value())

    def _on_value(self, _value: int) -> None:
        self._show()
        self.moved.emit()
        if not self.slider.isSliderDown():
            self._rest.start()

    def _on_released(self) -> None:
        self._rest.stop()
        self.rested.emit()
