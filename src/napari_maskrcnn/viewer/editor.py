"""The acts behind the Edit widget's buttons and keys, on the selected objects."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, cast

from napari_maskrcnn.core import editing, splitting

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_maskrcnn.core.words import counted
from napari_maskrcnn.viewer.edits import apply, check_editable, free_id
from napari_maskrcnn.viewer.features import class_names
from napari_maskrcnn.viewer.selection import select, selected_ids
from napari_maskrcnn.viewer.tracing import CLICK, LINE, OUTLINE, Tracer

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_maskrcnn.core.edit import Edit
    from napari_maskrcnn.viewer.layers import Plane
    from napari_maskrcnn.viewer.session import Session

# Edits of the selected objects that need nothing else, and what is said after.
SIMPLE: dict[str, tuple[Callable[[NDArray[Any], list[int]], Edit], str]] = {
    "delete": (editing.delete, "Deleted {}"),
    "fill_holes": (editing.fill_holes, "Filled the holes of {}"),
    "keep_largest": (editing.keep_largest, "Kept the largest part of {}"),
    "grow": (editing.grow, "Grew {} by a pixel"),
    "shrink": (editing.shrink, "Shrank {} by a pixel"),
    "smooth": (editing.smooth, "Smoothed {}"),
}
MODES = {"merge": CLICK, "split_line": LINE, "draw": OUTLINE}
FIRST = {
    "merge": "Click the object that the others are to join. Escape ends",
    "split_line": "Draw a line across an object, or click its points and double-click "
    "the last. Escape ends",
    "draw": "Draw round the new object, or click its corners and double-click the "
    "last. Escape ends",
}


class Editor(QObject):
    """Edits the selected objects of Labels layers; what goes wrong is said.

    Parameters
    ----------
    session : Session
        Of the viewer.
    viewer : ViewerModel
        The viewer.

    Signals
    -------
    said (str, str)
        A sentence for the person, and its weight: "info", "warning" or "error".
    mode_changed ()
        A mode of the mouse began or ended.
    """

    said = Signal(str, str)
    mode_changed = Signal()

    def __init__(
        self, session: Session, viewer: ViewerModel, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session = weakref.ref(session)
        self.tracer = Tracer(viewer, self)
        self.tracer.clicked.connect(self._on_clicked)
        self.tracer.traced.connect(self._on_traced)
        self.tracer.changed.connect(self._on_mode)
        #: Into how many parts "split_parts" splits.
        self.parts = 2
        #: Whether a drawn object covers others.
        self.over_others = False
        self._mode = ""
        self._into: int | None = None

    @property
    def mode(self) -> str:
        """The action whose mode is on: "merge", "split_line", "draw", or empty."""
        return self._mode

    def run(self, name: str, layer: Labels) -> None:
        """Do an action of the group "Edit" on a layer, or begin its mode."""
        try:
            check_editable(layer)
            self.said.emit(*self._run(name, layer))
        except ValueError as error:
            self.said.emit(_sentence(error), "error")

    def stop(self) -> None:
        """End the mode that is on."""
        self.tracer.stop()

    def _run(self, name: str, layer: Labels) -> tuple[str, str]:
        ids = selected_ids(layer)
        if name in SIMPLE:
            act, words = SIMPLE[name]
            plane = self._plane(layer)
            apply(layer, plane, act(layer.data[plane.index], ids))
            return words.format(_objects(ids)), "info"
        if name == "split_parts":
            return self._split_parts(layer, ids)
        if name == "merge" and len(ids) > 1:
            return self._merge(layer, ids)
        if name in MODES:
            return self._begin(name, layer, ids)
        if name == "brush":
            self.stop()
            layer.selected_label = free_id(layer, self._plane(layer))
            layer.mode = "paint"
            return f"Paint object {layer.selected_label}", "info"
        raise ValueError(f"there is no edit {name!r}")

    # ---- acts

    def _merge(self, layer: Labels, ids: list[int]) -> tuple[str, str]:
        plane = self._plane(layer)
        apply(layer, plane, editing.merge(layer.data[plane.index], ids))
        select(layer, ids[:1])
        return f"Merged {_objects(ids[1:])} into {ids[0]}", "info"

    def _split_parts(self, layer: Labels, ids: list[int]) -> tuple[str, str]:
        if len(ids) != 1:
            raise ValueError("select one object to split")
        plane = self._plane(layer)
        pixels, free = layer.data[plane.index], free_id(layer, plane)
        edit = splitting.split_into(pixels, ids[0], self.parts, free)
        apply(layer, plane, edit)
        return self._split_sentence(layer, edit)

    def _split_line(self, layer: Labels, line: NDArray[Any]) -> tuple[str, str]:
        plane = self._plane(layer)
        pixels, free = layer.data[plane.index], free_id(layer, plane)
        edit = splitting.split_by_line(pixels, line, free)
        apply(layer, plane, edit)
        return self._split_sentence(layer, edit)

    def _split_sentence(self, layer: Labels, edit: Edit) -> tuple[str, str]:
        (old,) = edit.changed
        select(layer, [old])
        new = ", ".join(map(str, sorted(edit.appeared)))
        return f"Split object {old}; new: {new}", "info"

    def _draw(self, layer: Labels, outline: NDArray[Any]) -> tuple[str, str]:
        plane = self._plane(layer)
        pixels, free = layer.data[plane.index], free_id(layer, plane)
        edit = editing.draw(pixels, outline, free, over_others=self.over_others)
        apply(layer, plane, edit, **self._values(layer, plane))
        select(layer, [free])
        return f"New object {free}", "info"

    def _values(self, layer: Labels, plane: Plane) -> dict[str, str]:
        """Return the class of drawn objects where there is one class only."""
        names = class_names(layer)
        session = self._session()
        image = session.results.image_of(layer) if session is not None else None
        if not names and session is not None and image is not None:
            record = session.results.records_of(image).get(plane)
            names = list(record.instances.class_names) if record is not None else []
        return {"class": names[0]} if len(names) == 1 else {}

    def _plane(self, layer: Labels) -> Plane:
        session = self._session()
        plane = session.plane_of(layer) if session is not None else None
        if plane is None:
            raise ValueError(f"{layer.name} has no plane to edit")
        return plane

    # ---- the modes

    def _begin(self, name: str, layer: Labels, ids: list[int]) -> tuple[str, str]:
        """Begin a mode; its button pressed again ends it."""
        again = self._mode == name and self.tracer.layer is layer
        self.stop()
        if again:
            return "", "info"
        plane = self._plane(layer)
        self.tracer.start(MODES[name], layer)
        self._mode, self._into = name, None
        if name == "merge" and ids and np.any(layer.data[plane.index] == ids[0]):
            self._into = ids[0]
        self.mode_changed.emit()
        return self._what_next(), "info"

    def _what_next(self) -> str:
        if self._mode == "merge" and self._into is not None:
            return f"Click the objects to join to object {self._into}. Escape ends"
        return FIRST.get(self._mode, "")

    def _on_mode(self) -> None:
        if not self.tracer.mode and self._mode:
            self._mode = ""
            self.mode_changed.emit()
            self.said.emit("", "info")

    def _on_clicked(self, position: NDArray[np.float64]) -> None:
        layer = self.tracer.layer
        if layer is None:
            return
        try:
            self.said.emit(*self._join(layer, position))
        except ValueError as error:
            self.said.emit(_sentence(error), "error")

    def _join(self, layer: Labels, position: NDArray[np.float64]) -> tuple[str, str]:
        where = np.round(np.asarray(layer.world_to_data(position))).astype(int)
        inside = np.all((where >= 0) & (where < layer.data.shape))
        index = int(layer.data[tuple(where)]) if inside else 0
        if index <= 0:
            return f"There is no object. {self._what_next()}", "warning"
        if self._into is None or not np.any(self._pixels(layer) == self._into):
            self._into = index
            select(layer, [index])
            return self._what_next(), "info"
        if index == self._into:
            return f"That is object {index} itself. {self._what_next()}", "warning"
        words, level = self._merge(layer, [self._into, index])
        return f"{words}. {self._what_next()}", level

    def _pixels(self, layer: Labels) -> NDArray[Any]:
        pixels: NDArray[Any] = layer.data[self._plane(layer).index]
        return pixels

    def _on_traced(self, points: NDArray[np.float64]) -> None:
        layer, mode = self.tracer.layer, self._mode
        if layer is None:
            return
        try:
            axes = list(self._plane(layer).axes)
            inside = np.array([layer.world_to_data(point) for point in points])[:, axes]
            act = self._split_line if mode == "split_line" else self._draw
            words, level = act(layer, inside)
            self.said.emit(f"{words}. {self._what_next()}", level)
        except ValueError as error:
            self.said.emit(_sentence(error), "error")


def editor_of(session: Session) -> Editor | None:
    """Return the editor of a session's viewer, None once that is gone."""
    editor = cast("Editor | None", session.findChild(Editor))
    viewer = session.viewer
    if editor is None and viewer is not None:
        editor = Editor(session, viewer, session)
        session.released.connect(editor.stop)
    return editor


def _objects(ids: list[int]) -> str:
    return f"object {ids[0]}" if len(ids) == 1 else counted(len(ids), "object")


def _sentence(error: ValueError) -> str:
    words = str(error)
    return words[:1].upper() + words[1:]
