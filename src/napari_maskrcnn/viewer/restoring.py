"""Corrections of an earlier window, put into the labels of an image again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_maskrcnn.core.instances import Instances, empty_instances
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.viewer.features import METADATA, joined, normalised
from napari_maskrcnn.viewer.history import history_of
from napari_maskrcnn.viewer.jobs import Outcome
from napari_maskrcnn.viewer.layers import Plane, forget_history, spatial_shape, widen
from napari_maskrcnn.viewer.ledger import Edits, Ledger
from napari_maskrcnn.viewer.painting import ids_in
from napari_maskrcnn.viewer.recovery_job import with_free_ids_only

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_maskrcnn.core.corrections import Corrections, SavedPlane
    from napari_maskrcnn.viewer.painting import PlaneRecord
    from napari_maskrcnn.viewer.session import Session


def restore(session: Session, image: Image, corrections: Corrections) -> Labels:
    """Write saved corrections into the labels of an image, in one undo step.

    A Labels layer is made where there is none.  What the person had done counts as
    edited again, so the next run leaves it alone; the other objects count as the
    network's.

    Raises
    ------
    ValueError
        When the planes do not fit the image.
    """
    _check_fits(image, corrections)
    names = corrections.class_names or ("object",)
    fresh = session.results.labels_of(image) is None
    records = {}
    for saved in corrections.planes:
        plane = Plane(saved.axes, saved.position)
        records[plane] = _record(session, image, plane, saved, names)
    labels = session.results.labels_of(image)
    if labels is None:
        raise ValueError("the labels could not be made")
    corrections = with_free_ids_only(corrections, _ids_elsewhere(labels, records))
    if any(
        saved.label_image.max(initial=0) > np.iinfo(labels.data.dtype).max
        for saved in corrections.planes
    ):
        widen(labels)
    table = normalised(pd.DataFrame(corrections.table))
    with history_of(labels).one_step():
        for saved in corrections.planes:
            _write(records[Plane(saved.axes, saved.position)], saved)
        _write_table(labels, corrections, table)
    labels.metadata = {
        **labels.metadata,
        METADATA: {
            **labels.metadata.get(METADATA, {}),
            **corrections.metadata.get(METADATA, {}),
        },
    }
    for saved in corrections.planes:
        _remember(records[Plane(saved.axes, saved.position)], saved, table, names)
    if fresh:
        forget_history(labels)
    session.shown_changed.emit()
    return labels


def _check_fits(image: Image, corrections: Corrections) -> None:
    shape = spatial_shape(image)
    for saved in corrections.planes:
        whole = len(shape) == len(saved.axes) + len(saved.position)
        if not whole or saved.label_image.shape != tuple(shape[a] for a in saved.axes):
            raise ValueError(
                f"the saved labels of {saved.label_image.shape} pixels do not fit an "
                f"image of {shape}"
            )


def _record(
    session: Session,
    image: Image,
    plane: Plane,
    saved: SavedPlane,
    names: tuple[str, ...],
) -> PlaneRecord:
    """Return what is kept of a plane, made if there is nothing yet."""
    record = session.results.records_of(image).get(plane)
    if record is None:
        shape = (saved.label_image.shape[0], saved.label_image.shape[1])
        nothing = Outcome(None, None, empty_instances(shape, names))
        session.take(image, plane, nothing, Recipe())
        record = session.results.records_of(image)[plane]
    return record


def _ids_elsewhere(labels: Labels, records: dict[Plane, PlaneRecord]) -> Any:
    """Return the ids in the planes of the layer that are not restored."""
    if labels.ndim == 2:
        return np.empty(0, np.int64)
    here = [np.unique(record.target.pixels) for record in records.values()]
    return np.setdiff1d(ids_in(labels), np.concatenate(here))


def _write(record: PlaneRecord, saved: SavedPlane) -> None:
    target = record.target
    changed = np.nonzero(target.pixels != saved.label_image)
    if changed[0].size:
        target.layer.data_setitem(
            target.plane.indices(*changed), saved.label_image[changed]
        )


def _write_table(labels: Labels, corrections: Corrections, table: pd.DataFrame) -> None:
    old = normalised(labels.features)
    places = [
        Plane(saved.axes, saved.position).label
        for saved in corrections.planes
        if saved.position
    ]
    rest = old[~old["plane"].isin(places)] if "plane" in old.columns else old[:0]
    labels.features = joined(rest, table)


def _remember(
    record: PlaneRecord, saved: SavedPlane, table: pd.DataFrame, names: tuple[str, ...]
) -> None:
    """Let the plane's record say what is the network's and what the person's."""
    record.instances = _instances(saved, table, names)
    record.decided = saved.decided
    record.ledger = Ledger()
    record.ledger.note(saved.label_image, Edits(frozenset(saved.edited)))


def _instances(
    saved: SavedPlane, table: pd.DataFrame, names: tuple[str, ...]
) -> Instances:
    """Return the objects that the network found, as they were drawn."""
    others = np.isin(saved.label_image, list(saved.edited))
    found = Instances.from_label_image(
        np.where(others, 0, saved.label_image), class_names=names
    )
    rows = table.drop_duplicates("index").set_index("index").reindex(found.ids)
    class_ids = [
        names.index(name) + 1 if name in names else 1 for name in rows["class"]
    ]
    scores = rows["score"].fillna(1.0).to_numpy(np.float32)
    return replace(found, class_ids=np.array(class_ids, np.int64), scores=scores)
