"""Undo and redo of a Labels layer, with the table of objects.

napari's undo list holds pixels only, and its events do not tell undo from any other
repaint.  A `History` stands beside that list and keeps, step for step, which rows of
the table each step changed:

* napari tells of every new undo step by the event ``paint``, whoever made it;
* undo and redo are followed by taking the place of ``layer.undo`` and ``layer.redo`` on
  the one layer; the key bindings and scripts call these;
* an act that changes the table alone gets a step of napari's by changing one pixel and
  changing it back inside ``block_history``.

So all kinds of steps stand in napari's own order, and brush strokes come between them
as they like.  The rows that strokes change are looked up when the brush rests, or
before the next act: strokes made in one go share one difference, which is divided when
one of them is undone alone.

Both lists are compared from their newest end.  Where napari's list turns out to be
empty, ours is emptied; where ours is, the table follows the pixels.
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_maskrcnn.viewer.features import has_table, update_features
from napari_maskrcnn.viewer.layers import Plane
from napari_maskrcnn.viewer.rows import Difference, difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from napari.layers import Labels
    from numpy.typing import NDArray


class Keeper(Protocol):
    """Who knows the viewer and the detections: the session."""

    def plane_of(self, layer: Labels) -> Plane | None:
        """Return the plane of the layer that is shown."""

    def commit(self) -> None:
        """Make what a slider did one undo step."""

    def update_table(self, layer: Labels, plane: Plane) -> None:
        """Bring the table's rows of a plane up to date with its pixels."""

    def ids_taken(self, layer: Labels) -> NDArray[np.int64]:
        """Return ids that are not free although no pixel has them."""


@dataclass(slots=True, eq=False)
class _Step:
    """One undo step: what it did to the table, and what else it did."""

    rows: Difference | None = None
    planes: set[Plane] = field(default_factory=set)
    # Shares its difference with the step before it.
    shares: bool = False
    undo: Callable[[], None] | None = None
    redo: Callable[[], None] | None = None


_histories: weakref.WeakKeyDictionary[Labels, History] = weakref.WeakKeyDictionary()


def history_of(layer: Labels) -> History:
    """Return the history of a layer; there is one for each."""
    if layer not in _histories:
        _histories[layer] = History(layer)
    return _histories[layer]


class History:
    """The undo steps of a Labels layer; use `history_of` to get it."""

    def __init__(self, layer: Labels) -> None:
        self._reference = weakref.ref(layer)
        self._keeper: weakref.ref[Keeper] | None = None
        self._done: list[_Step] = []
        self._undone: list[_Step] = []
        self._pending: list[_Step] = []
        self._before: pd.DataFrame | None = None
        self._drawing = False
        layer.events.paint.connect(self._on_paint)
        layer.events.editable.connect(self._on_editable)
        layer.mouse_drag_callbacks.append(self._on_drag)
        layer.undo = self.undo
        layer.redo = self.redo

    def follow(self, keeper: Keeper) -> None:
        """Ask this one from now on for planes and tables; held weakly."""
        self._keeper = weakref.ref(keeper)

    @property
    def keeper(self) -> Keeper | None:
        """Who was last told to be followed, while it is there."""
        return self._keeper() if self._keeper is not None else None

    # ---- acts

    @contextmanager
    def one_step(
        self,
        undo: Callable[[], None] | None = None,
        redo: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """Make everything inside one undo step: pixels, table, or both.

        Write pixels with ``layer.data_setitem`` and the table with
        ``layer.features = table``.

        Parameters
        ----------
        undo, redo : callable, optional
            Called with each undo and redo of the step, after pixels and table are in
            place: for what is neither, such as the layer's metadata.
        """
        layer, keeper = self._layer(), self.keeper
        if keeper is not None:
            keeper.commit()
        self.flush()
        before = layer.features.copy()
        with layer.block_history():
            yield
            rows = difference(before, layer.features)
        if not self._pending and (rows is not None or undo or redo):
            self._record_nothing()
        if self._pending:
            step = self._pending.pop()
            step.rows, step.undo, step.redo = rows, undo, redo
            self._pending.clear()

    def record_features(self, table: pd.DataFrame) -> None:
        """Replace the layer's table in one undo step.

        Parameters
        ----------
        table : DataFrame
            The whole table as it shall be; start from ``layer.features.copy()``.
        """
        with self.one_step():
            self._layer().features = table

    def set_values(self, ids: Any, **values: Any) -> None:
        """Set columns of some objects in one undo step.

        Parameters
        ----------
        ids : array-like of int
            The objects; ids without a row are passed over.
        **values
            The new value, or one for each row, by column: ``reviewed=True``, or
            ``**{"class": "nucleus"}``.
        """
        table = self._layer().features.copy()
        chosen = table["index"].isin(np.asarray(ids).reshape(-1))
        for name, value in values.items():
            table.loc[chosen, name] = value
        self.record_features(table)

    def _record_nothing(self) -> None:
        """Have napari record a step that leaves the pixels as they are."""
        layer = self._layer()
        first = tuple(np.zeros(1, np.int64) for _ in range(layer.ndim))
        value = int(layer.data[first][0])
        other = value - 1 if value else 1
        with layer.block_history():
            layer.data_setitem(first, other, refresh=False)
            layer.data_setitem(first, value)

    # ---- undo and redo

    @property
    def can_undo(self) -> bool:
        """Whether there is a step of which this history knows."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether an undone step is known."""
        return bool(self._undone)

    def may_write_into(self, plane: Plane) -> bool:
        """Whether undoing or redoing a step of which this history knows may do so."""
        return any(
            plane in step.planes or not step.planes
            for step in (*self._done, *self._undone)
        )

    def undo(self) -> None:
        """Take back the newest step: pixels, then the table; ``layer.undo`` is this."""
        self._move(self._done, self._undone, back=True)

    def redo(self) -> None:
        """Make the step undone last again; ``layer.redo`` is this."""
        self._move(self._undone, self._done, back=False)

    def _move(self, source: list[_Step], target: list[_Step], *, back: bool) -> None:
        layer = self._layer()
        self.flush()
        if not self._napari_moves(back):
            source.clear()
            return
        step = source.pop() if source else _Step(shares=True)
        target.append(step)
        after = layer.features.copy()
        if step.rows is not None:
            layer.features = step.rows.applied(layer.features, back=back)
        if step.shares and (back or step.rows is None):
            self._divide(step, source, after, back=back)
        act = step.undo if back else step.redo
        if act is not None:
            act()

    def _napari_moves(self, back: bool) -> bool:
        """Call napari's own undo or redo; return whether it had a step.

        It tells by repainting, which for a hidden layer it leaves out.
        """
        layer = self._layer()
        heard: list[bool] = []

        def hear() -> None:
            heard.append(True)

        emitters = (layer.events.set_data, layer.events.reload)
        for emitter in emitters:
            emitter.connect(hear)
        try:
            kind = type(layer)
            (kind.undo if back else kind.redo)(layer)
        finally:
            for emitter in emitters:
                emitter.disconnect(hear)
        return bool(heard) or not layer.visible

    def _divide(
        self, step: _Step, source: list[_Step], after: pd.DataFrame, *, back: bool
    ) -> None:
        """Let the table follow the pixels between two steps that shared their rows.

        What is left of the difference goes to the older one.
        """
        layer = self._layer()
        oldest = layer.features.copy()
        self._update(step.planes or self._shown())
        between = layer.features.copy()
        if back:
            step.rows = difference(between, after)
            if step.planes and source:
                source[-1].rows = difference(oldest, between)
        else:
            step.rows = difference(after, between)
        step.shares = False

    # ---- what napari tells

    def _on_paint(self) -> None:
        if not self._pending:
            self._before = self._layer().features.copy()
        step = _Step(planes=self._shown())
        self._done.append(step)
        self._undone.clear()
        self._pending.append(step)

    def _on_editable(self) -> None:
        """Napari empties its lists when a layer is locked."""
        layer = self._layer()
        if not layer.editable:
            self.flush()
            self._done.clear()
            self._undone.clear()

    def _on_drag(self, _layer: Labels, event: Any) -> Iterator[None]:
        self._drawing = True
        yield
        while event.type == "mouse_move":
            yield
        self._drawing = False

    def settle(self) -> bool:
        """Do what `flush` does, unless a stroke is under way; return whether it did.

        A stroke changes pixels before napari tells of it: they would be taken for those
        of the stroke before it.
        """
        if not self._drawing:
            self.flush()
        return not self._drawing

    def flush(self) -> None:
        """Let the table follow brush strokes that it has not followed yet."""
        if not self._pending or self._before is None:
            return
        pending, self._pending = self._pending, []
        self._update(set().union(*(step.planes for step in pending)))
        for step in pending[1:]:
            step.shares = True
        pending[-1].rows = difference(self._before, self._layer().features)
        self._before = None

    def _update(self, planes: set[Plane]) -> None:
        layer, keeper = self._layer(), self.keeper
        for plane in planes:
            if keeper is not None:
                keeper.update_table(layer, plane)
            elif has_table(layer):
                update_features(layer, plane)

    def _shown(self) -> set[Plane]:
        """Return the plane that is shown, as a set: empty where it is not known."""
        layer, keeper = self._layer(), self.keeper
        if layer.ndim == 2:
            return {Plane((0, 1))}
        plane = keeper.plane_of(layer) if keeper is not None else None
        return {plane} if plane is not None else set()

    def _layer(self) -> Labels:
        layer = self._reference()
        if layer is None:
            raise RuntimeError("the layer of this history is gone")
        return layer
