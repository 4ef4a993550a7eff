"""The sliders that choose among what the network found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_maskrcnn.core.checkpoint_config import NMS_THRESHOLD
from napari_maskrcnn.widgets.parts import Slider, form_layout

if TYPE_CHECKING:
    from napari_maskrcnn.core.recipe import Recipe

NAMES = ("Score", "Mask", "Overlap", "Smallest area")
TIPS = (
    "Show the objects that the network is at least this sure of. It starts where the "
    "model did best",
    "The probability from which on a pixel belongs to an object: lower means larger "
    "objects",
    "Of two objects that overlap by more than this share, the surer one stays",
    "Leave out objects of fewer pixels",
)


class Thresholds(QWidget):
    """The sliders below each other.

    Parameters
    ----------
    recipe : Recipe
        Where they begin.

    Signals
    -------
    moved (), rested ()
        As of `Slider`, of any of them.
    """

    moved = Signal()
    rested = Signal()

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.score_slider = Slider(0.05, 1.0, 0.01)
        self.mask_slider = Slider(0.05, 0.95, 0.01)
        self.overlap_slider = Slider(0.0, 1.0, 0.01)
        self.area_slider = Slider(0, 1000, 1)
        form = form_layout()
        form.setContentsMargins(0, 0, 0, 0)
        sliders = (
            self.score_slider,
            self.mask_slider,
            self.overlap_slider,
            self.area_slider,
        )
        for slider, name, tip in zip(sliders, NAMES, TIPS, strict=True):
            slider.setToolTip(tip)
            slider.slider.setAccessibleName(name)
            slider.number.setAccessibleName(name)
            form.addRow(name, slider)
            slider.moved.connect(self.moved)
            slider.rested.connect(self.rested)
        self.setLayout(form)
        self.mask_slider.set_value(recipe.mask_threshold)
        self.overlap_slider.set_value(recipe.nms_threshold_for(NMS_THRESHOLD))
        self.area_slider.set_value(recipe.min_area)

    def allow_area(self, largest: int) -> None:
        """Let the smallest area go up to that of the largest object."""
        high = max(100, largest, int(self.area_slider.value()))
        self.area_slider.set_high(min(high, 10_000))
