"""The buttons of the Review widget that decide about objects and ground."""

from __future__ import annotations

from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from napari_maskrcnn.viewer.actions import action_named
from napari_maskrcnn.widgets.parts import PrimaryButton, action_button, button


class DecideBar(QWidget):
    """Approve or reject the selected objects; approve many, or a region, at once."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.approve_button = PrimaryButton(action_named("approve").title)
        self.approve_button.setToolTip(action_named("approve").tooltip)
        self.reject_button = action_button(action_named("reject"))
        self.reject_button.setMinimumHeight(self.approve_button.minimumHeight())
        self.shown_button = button(
            "Approve shown", "Approve all objects that the table shows"
        )
        self.plane_button = button(
            "Approve plane",
            "Say that everything on this plane is right, background included",
        )
        self.region_button = button(
            "Draw region",
            "Drag a rectangle in which everything is right, background included",
        )
        self.region_button.setCheckable(True)
        decide = QHBoxLayout()
        decide.addWidget(self.approve_button, 2)
        decide.addWidget(self.reject_button, 1)
        many = QGridLayout()
        for column, one in enumerate(
            (self.shown_button, self.plane_button, self.region_button)
        ):
            many.addWidget(one, 0, column)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addLayout(decide)
        rows.addLayout(many)

    def show_count(self, shown: int) -> None:
        """Offer what can be done with so many objects in the table."""
        for one in (self.shown_button, self.approve_button, self.reject_button):
            one.setEnabled(shown > 0)

    def show_plane(self, there: bool) -> None:
        """Offer what can be done with a plane, if there is one."""
        self.plane_button.setEnabled(there)
        self.region_button.setEnabled(there)
