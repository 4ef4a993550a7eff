"""The table of objects that a Labels layer carries: index, class, score, area."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_maskrcnn.viewer.painting import PlaneRecord

COLUMNS = ["index", "class", "score", "area"]


def count_objects(label_image: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the ids in a label image, ascending, and their areas in pixels."""
    values = label_image[label_image != 0]
    ids, areas = np.unique(values, return_counts=True)
    return ids.astype(np.int64), areas.astype(np.int64)


def write_features(record: PlaneRecord) -> int:
    """Bring the layer's table up to date with the plane; return its object count.

    Detections have their class and score; what a person drew has no score and, where
    the model knows several classes, no class.  In a stack the rows of the other planes
    stay as they are, and a column says to which plane a row belongs.
    """
    layer, plane = record.target.layer, record.target.plane
    ids, areas = count_objects(record.target.pixels)
    table = _rows(record, ids, areas)
    old = layer.features
    if plane.position:
        table["plane"] = plane.label
        if "plane" in old.columns:
            others = old[(old["plane"] != plane.label) & ~old["index"].isin(ids)]
            table = pd.concat([others, table], ignore_index=True)
    if not table.equals(old):
        layer.features = table
    return int(ids.size)


def _rows(record: PlaneRecord, ids: NDArray[Any], areas: NDArray[Any]) -> pd.DataFrame:
    """Return one row for each id."""
    instances = record.instances
    names = instances.class_names
    drawn = names[0] if len(names) == 1 else ""
    known = pd.DataFrame(
        {
            "class": np.asarray(names, object)[instances.class_ids - 1],
            "score": instances.scores.astype(np.float64),
        },
        index=instances.ids,
    )
    old = record.target.layer.features
    if "index" in old.columns and set(COLUMNS) <= set(old.columns):
        # An object kept from an earlier run has its class and score there.
        earlier = old.drop_duplicates("index").set_index("index")[["class", "score"]]
        known = pd.concat([known, earlier[~earlier.index.isin(known.index)]])
    rows = known.reindex(ids)
    return pd.DataFrame(
        {
            "index": ids,
            "class": rows["class"].fillna(drawn).to_numpy(object),
            "score": rows["score"].to_numpy(np.float64),
            "area": areas,
        }
    )
