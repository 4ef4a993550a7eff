"""The table of objects that a Labels layer carries.

Its columns are index (the id), class, score (NaN for what a person made), area,
reviewed (a person approved it), and in stacks plane.  Columns and rows that others put
into the table stay.

A row that is there says what is so: detections give class and score only to ids that
have no row yet, or that a new run painted.  What a person said of an object is thus
kept when sliders move and pixels change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_maskrcnn.viewer.layers import Plane
    from napari_maskrcnn.viewer.painting import PlaneRecord

COLUMNS = ["index", "class", "score", "area", "reviewed"]
KINDS = ["int64", "float64", "int64", "bool"]
# Where the layer's metadata hold what concerns the whole layer.
METADATA = "napari-maskrcnn"
# Ids up to here are counted by table, which is ten times as quick as sorting.
_MAX_TABLE = 4_000_000


def count_objects(label_image: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the ids in a label image, ascending, and their areas in pixels."""
    flat = np.ascontiguousarray(label_image).reshape(-1)
    values = flat[flat > 0]
    if values.size and int(values.max()) > _MAX_TABLE:
        ids, areas = np.unique(values, return_counts=True)
    else:
        counts = np.bincount(values)
        ids = np.flatnonzero(counts)
        areas = counts[ids]
    return ids.astype(np.int64), areas.astype(np.int64)


def has_table(layer: Labels) -> bool:
    """Whether the layer carries a table of objects."""
    return {"index", "class"} <= set(layer.features.columns)


def class_names(layer: Labels) -> list[str]:
    """Return the class names that the layer's metadata hold."""
    kept = layer.metadata.get(METADATA, {})
    return [str(name) for name in kept.get("class_names", [])]


def write_features(record: PlaneRecord, *, fresh: bool = False) -> int:
    """Bring the layer's table up to date with a segmented plane.

    Parameters
    ----------
    record : PlaneRecord
        The plane and its detections.
    fresh : bool
        Whether the detections are those of a new run, so that rows of the same ids
        speak of other objects.

    Returns
    -------
    int
        How many objects the plane has.
    """
    instances = record.instances
    names = instances.class_names
    known = pd.DataFrame(
        {
            "class": np.asarray(names, object)[instances.class_ids - 1],
            "score": instances.scores.astype(np.float64),
        },
        index=instances.ids,
    )
    layer, plane = record.target.layer, record.target.plane
    if not fresh:
        known = _with_hidden(known, record)
    drawn = names[0] if len(names) == 1 else ""
    return update_features(layer, plane, known=known, drawn=drawn, fresh=fresh)


def update_features(
    layer: Labels,
    plane: Plane,
    *,
    known: pd.DataFrame | None = None,
    drawn: str | None = None,
    fresh: bool = False,
) -> int:
    """Bring the layer's table up to date with the pixels of one plane.

    Parameters
    ----------
    layer : Labels
        A layer whose array is in memory.
    plane : Plane
        The plane; in a stack the rows of the other planes stay as they are.
    known : DataFrame, optional
        Values for ids without a row, with the ids as its index.
    drawn : str, optional
        The class of objects of which nothing is known; by default the layer's only
        class, or none where it has several.
    fresh : bool
        Whether `known` goes before rows that are there.

    Returns
    -------
    int
        How many objects the plane has.
    """
    if drawn is None:
        names = class_names(layer)
        drawn = names[0] if len(names) == 1 else ""
    known = known if known is not None else pd.DataFrame(index=pd.Index([], dtype=int))
    ids, areas = count_objects(layer.data[plane.index])
    old = normalised(layer.features)
    there = old["index"].isin(ids)
    kept = old[there].drop_duplicates("index").set_index("index")
    if fresh:
        kept = kept[~kept.index.isin(known.index)]
    table = _rows(kept, known, ids, drawn)
    table["area"] = areas
    if plane.position:
        table["plane"] = plane.label
    others = old[_elsewhere(old, plane) & ~there]
    table = joined(others, table)
    if not table.equals(layer.features):
        layer.features = table
    return int(ids.size)


def normalised(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table that has all our columns, with our dtypes; often itself."""
    if list(table.columns[: len(COLUMNS)]) == COLUMNS:
        kinds = [str(table[name].dtype) for name in COLUMNS if name != "class"]
        if kinds == KINDS and not table["class"].hasnans:
            return table
    count = len(table)
    defaults: dict[str, Any] = {
        "index": np.arange(count, dtype=np.int64),
        "class": np.full(count, "", object),
        "score": np.full(count, np.nan),
        "area": np.zeros(count, np.int64),
        "reviewed": np.zeros(count, bool),
    }
    missing = {name: value for name, value in defaults.items() if name not in table}
    table = table.assign(**missing)
    rest = [name for name in table.columns if name not in COLUMNS]
    return _typed(table[COLUMNS + rest])


def joined(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of both tables in the order of their ids."""
    if len(first) and len(second):
        table = _typed(pd.concat([first, second], ignore_index=True))
    else:
        one, other = (second, first) if len(second) else (first, second)
        extra = [name for name in other.columns if name not in one.columns]
        table = one.reindex(columns=[*one.columns, *extra])
    return table.sort_values("index", kind="stable", ignore_index=True)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Give our columns their dtypes back, which missing values change."""
    columns: dict[str, Any] = {
        "index": table["index"].to_numpy(np.int64),
        "class": table["class"].astype(object).fillna("").to_numpy(object),
        "score": table["score"].to_numpy(np.float64),
        "area": table["area"].fillna(0).to_numpy(np.int64),
        "reviewed": (table["reviewed"] == True).to_numpy(bool),  # noqa: E712
    }
    return table.assign(**columns)


def _rows(
    kept: pd.DataFrame, known: pd.DataFrame, ids: NDArray[Any], drawn: str
) -> pd.DataFrame:
    """Return one row for each id: as it was, else as is known, else as drawn."""
    rows = kept.reindex(ids)
    new = ~rows.index.isin(kept.index)
    rows.loc[new, "class"] = drawn
    for name in known.columns:
        if name in rows.columns:
            values = known[name].reindex(ids[new])
            told = values.notna().to_numpy()
            rows.loc[ids[new][told], name] = values[told].to_numpy()
    rows.insert(0, "index", ids)
    return _typed(rows.reset_index(drop=True))


def _elsewhere(table: pd.DataFrame, plane: Plane) -> pd.Series:
    """Return which rows speak of other planes, or of no object at all."""
    elsewhere = table["index"] < 1
    if plane.position:
        elsewhere |= table["plane"] != plane.label if "plane" in table else True
    return elsewhere


def _with_hidden(known: pd.DataFrame, record: PlaneRecord) -> pd.DataFrame:
    """Return what is known of detections, with what was said of those now hidden.

    A slider hides detections; shown again they have the class and the mark that a
    person gave them.
    """
    table = normalised(record.target.layer.features).drop_duplicates("index")
    rows = table.set_index("index")[["class", "score", "reviewed"]]
    rows = rows[rows.index.isin(known.index)]
    if record.said is not None:
        rows = pd.concat([rows, record.said[~record.said.index.isin(rows.index)]])
    record.said = rows
    return pd.concat([rows, known[~known.index.isin(rows.index)]])
