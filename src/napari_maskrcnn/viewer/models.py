"""Which model a viewer's widgets use, and that the list of models changed."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal

from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.viewer.settings import device_choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_maskrcnn.viewer.session import Session


class Models(QObject):
    """The models as a viewer's widgets see them; use `models_of` to get it.

    Signals
    -------
    changed ()
        A model came, went or has another name.
    chosen (str)
        The model of this name is to be used from now on.
    """

    changed = Signal()
    chosen = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        #: The model that was chosen last; empty before.
        self.name = ""
        self._form: weakref.WeakMethod[Callable[[], Recipe]] | None = None

    def choose(self, name: str) -> None:
        """Use a model from now on."""
        self.name = name
        self.changed.emit()
        self.chosen.emit(name)

    def follow(self, form: Callable[[], Recipe]) -> None:
        """Take recipes from a form: a bound method, held weakly."""
        self._form = weakref.WeakMethod(form)

    def recipe(self, model: str) -> Recipe:
        """Return the recipe of the form with this model, or a plain one.

        The scores of two models do not mean the same, nor need their classes: another
        model than the form's is taken at its own thresholds, with all its classes.
        """
        form = self._form() if self._form is not None else None
        recipe = form() if form is not None else Recipe(device=device_choice())
        if recipe.model == model:
            return recipe
        return replace(
            recipe, model=model, score_threshold=None, nms_threshold=None, classes=()
        )


def models_of(session: Session) -> Models:
    """Return the session's only `Models`."""
    direct = Qt.FindChildOption.FindDirectChildrenOnly
    found = session.findChild(Models, "", direct)
    return found if isinstance(found, Models) else Models(session)
