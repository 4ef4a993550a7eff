"""Edits of a Labels layer: one undo step each, with the table of objects.

`apply` is the one way in.  What an edit leaves of an object keeps its class, score and
mark; what comes out of an object has those of the object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.viewer.features import class_names, has_table, joined, normalised
from napari_maskrcnn.viewer.history import history_of

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels

    from napari_maskrcnn.core.edit import Edit
    from napari_maskrcnn.viewer.layers import Plane


def check_editable(layer: Labels) -> None:
    """Raise a ValueError that says why a layer cannot be edited."""
    data = layer.data
    if not isinstance(data, np.ndarray):
        raise ValueError(
            f"{layer.name} is not in memory; duplicate it as an array to edit it"
        )
    if not layer.editable or not data.flags.writeable:
        raise ValueError(f"{layer.name} is locked")


def apply(layer: Labels, plane: Plane, edit: Edit, **values: Any) -> None:
    """Apply an edit to a plane as one undo step.

    Parameters
    ----------
    layer : Labels
        A layer in memory.
    plane : Plane
        The plane that the edit was made for.
    edit : Edit
        What `core.editing` and `core.splitting` return.
    **values
        Columns of the objects that appear, such as ``score=0.8`` or
        ``**{"class": "nucleus"}``; without them they have those of the object that they
        come from.

    Raises
    ------
    ValueError
        When the layer cannot be edited, or was changed since the edit was made.
    """
    check_editable(layer)
    window = tuple(
        slice(start, start + length)
        for start, length in zip(edit.offset, edit.before.shape, strict=True)
    )
    if not np.array_equal(layer.data[plane.index][window], edit.before):
        raise ValueError(f"{layer.name} was changed in the meantime; try again")
    rows, columns = np.nonzero(edit.before != edit.after)
    new = edit.after[rows, columns]
    index = plane.indices(rows + edit.offset[0], columns + edit.offset[1])
    history = history_of(layer)
    with history.one_step():
        if has_table(layer):
            layer.features = table_after(layer, plane, edit, values)
        layer.data_setitem(index, new)


def free_id(layer: Labels, plane: Plane) -> int:
    """Return an id that no object of the layer has, those now hidden included."""
    keeper = history_of(layer).keeper
    taken = keeper.ids_taken(layer) if keeper is not None else np.empty(0, np.int64)
    table = normalised(layer.features)["index"].to_numpy()
    pixels = layer.data if layer.ndim == 2 or not has_table(layer) else None
    if pixels is None:
        pixels = layer.data[plane.index]
    highest = max(
        0, int(pixels.max()), *(int(a.max()) for a in (taken, table) if a.size)
    )
    if highest < np.iinfo(layer.data.dtype).max:
        return highest + 1
    used = np.union1d(np.union1d(taken, table), np.unique(layer.data))
    return int(np.setdiff1d(np.arange(1, used.size + 2), used)[0])


def table_after(
    layer: Labels, plane: Plane, edit: Edit, values: dict[str, Any]
) -> pd.DataFrame:
    """Return the layer's table as the edit leaves it."""
    table = normalised(layer.features)
    gained = edit.gained
    old = table.drop_duplicates("index").set_index("index")
    concerned = table["index"].isin([*edit.origins, *edit.vanished])
    names = class_names(layer)
    rows = []
    for index, origins in edit.origins.items():
        known = [i for i in origins if i in old.index]
        row: dict[Any, Any] = old.loc[known[0]].to_dict() if known else {}
        if not known and len(names) == 1:
            row["class"] = names[0]
        row["index"] = index
        row["reviewed"] = bool(known) and bool(old.loc[known, "reviewed"].all())
        if index in old.index:
            row["area"] = int(old["area"][index]) + gained.get(index, 0)
        else:
            row["area"] = gained[index]
            row.update(values)
        if plane.position:
            row["plane"] = plane.label
        rows.append(row)
    changed = type(table)(rows).reindex(columns=table.columns)
    return joined(table[~concerned], normalised(changed))
