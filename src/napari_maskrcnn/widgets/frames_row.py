"""The part of the Segment widget that says which frames of a stack to segment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_maskrcnn.viewer.frames import Frames, planes_along, stack_axes, word_for
from napari_maskrcnn.viewer.layers import spatial_shape
from napari_maskrcnn.widgets.boxes import Box

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_maskrcnn.viewer.layers import Plane


class FramesRow(QWidget):
    """The plane that is shown, or all along an axis, a range of them, every nth."""

    def __init__(self) -> None:
        super().__init__()
        self.box = Box("Segment the plane that is shown, or many, one after the other")
        self.first = _number("The first one, as numbered on napari's slider")
        self.last = _number("The last one, as numbered on napari's slider")
        self.every = _number("1 takes each, 2 every second one")
        self.every.setMinimum(1)
        self.skip_box = QCheckBox("Skip those with a result")
        self.skip_box.setToolTip(
            "Go on where a cancelled run ended: what has a result stays as it is"
        )
        self._range = QWidget()
        line = QHBoxLayout(self._range)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.first, 1)
        line.addWidget(QLabel("to"))
        line.addWidget(self.last, 1)
        line.addWidget(QLabel("every"))
        line.addWidget(self.every, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.box, self._range, self.skip_box):
            layout.addWidget(part)
        self._image: Image | None = None
        self._plane: Plane | None = None
        self._offered: tuple[object, ...] = ()
        self.box.currentIndexChanged.connect(self._on_choice)
        self._on_choice()

    def show_image(self, image: Image | None, plane: Plane | None) -> bool:
        """Offer what there is for the shown plane of an image.

        Returns
        -------
        bool
            Whether there is a choice at all.
        """
        self._image, self._plane = image, plane
        if image is None or plane is None:
            self._offer((), [])
            return False
        shape = spatial_shape(image)
        axes, word = stack_axes(plane, shape), word_for(image, plane)
        names = tuple(map(str, image.axis_labels))
        # Filled anew only for another stack: the person's choice stays meanwhile.
        key = (id(image), shape, plane.axes, names)
        choices: list[tuple[str, tuple[int, ...]]] = [(f"This {word}", ())]
        if len(axes) == 1:
            choices.append((f"All {shape[axes[0]]:,} {word}s", tuple(axes)))
        else:
            choices += [
                (f"All {shape[axis]:,} along axis {names[axis]}", (axis,))
                for axis in axes
            ]
            count = math.prod(shape[axis] for axis in axes)
            choices.append((f"All {count:,} {word}s", tuple(axes)))
        if axes and key != self._offered:
            self._offer(key, choices)
        elif not axes:
            self._offer((), [])
        return bool(axes)

    def _offer(
        self, key: tuple[object, ...], choices: list[tuple[str, tuple[int, ...]]]
    ) -> None:
        self._offered = key
        with signals_blocked(self.box):
            self.box.clear()
            for text, axes in choices:
                self.box.addItem(text, axes)
        self.skip_box.setChecked(False)
        self._on_choice()

    def _axes(self) -> tuple[int, ...]:
        return tuple(self.box.currentData() or ())

    def _on_choice(self, _index: int = 0) -> None:
        axes = self._axes()
        self._range.setVisible(len(axes) == 1)
        self.skip_box.setVisible(bool(axes))
        if len(axes) == 1 and self._image is not None:
            highest = spatial_shape(self._image)[axes[0]] - 1
            for number in (self.first, self.last):
                number.setMaximum(highest)
            self.every.setMaximum(max(1, highest))
            self.first.setValue(0)
            self.last.setValue(highest)
            self.every.setValue(1)

    def frames(self) -> Frames | None:
        """Return the planes chosen, None for the one that is shown.

        Raises
        ------
        ValueError
            When the range is empty.
        """
        axes = self._axes()
        if not axes or self._image is None or self._plane is None:
            return None
        word = word_for(self._image, self._plane)
        indices = None
        if len(axes) == 1:
            first, last = self.first.value(), self.last.value()
            if first > last:
                raise ValueError(
                    f"the first {word}, {first}, comes after the last, {last}"
                )
            indices = range(first, last + 1, self.every.value())
        planes = planes_along(self._plane, spatial_shape(self._image), axes, indices)
        return Frames(planes, word, self.skip_box.isChecked())


def _number(tip: str) -> QSpinBox:
    box = QSpinBox()
    box.setToolTip(tip)
    box.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
    # napari's style leaves room for the buttons that are not there.
    box.setStyleSheet("QSpinBox { min-width: 30px; padding: 1px 2px; }")
    return box
