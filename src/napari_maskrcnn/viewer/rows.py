"""What changed between two tables of objects, to be applied to a later one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_maskrcnn.viewer.features import joined, normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """The rows of the objects that differ between two tables.

    Parameters
    ----------
    ids : ndarray
        Shape (N,), int64: the objects whose rows came, went or changed.
    before, after : DataFrame
        Their rows in either table.
    """

    ids: NDArray[np.int64]
    before: pd.DataFrame
    after: pd.DataFrame

    def applied(self, table: pd.DataFrame, *, back: bool) -> pd.DataFrame:
        """Return `table` with these rows as they were before, or after.

        Rows of other objects stay, and so do columns that the rows do not have.
        """
        rows = self.before if back else self.after
        table = normalised(table)
        concerned = table["index"].isin(self.ids)
        foreign = [name for name in table.columns if name not in rows.columns]
        if foreign:
            now = table[concerned].drop_duplicates("index").set_index("index")[foreign]
            rows = rows.join(now, on="index")
        return _with_dtypes(joined(table[~concerned], rows), rows.dtypes)


def _with_dtypes(table: pd.DataFrame, dtypes: pd.Series) -> pd.DataFrame:
    """Give columns the dtypes back that rows without a value took from them."""
    for name, dtype in dtypes.items():
        if table[name].dtype != dtype and table[name].notna().all():
            table = table.astype({name: dtype})
    return table


def difference(before: pd.DataFrame, after: pd.DataFrame) -> Difference | None:
    """Return what differs between two tables, None where nothing does."""
    before, after = normalised(before), normalised(after)
    if before is after:
        return None
    left, old = np.unique(before["index"].to_numpy(), return_index=True)
    right, new = np.unique(after["index"].to_numpy(), return_index=True)
    common, i, j = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    columns = list(dict.fromkeys([*before.columns, *after.columns]))
    differs = np.zeros(common.size, bool)
    for name in columns:
        if name in before and name in after:
            differs |= _differ(
                before[name].to_numpy()[old[i]], after[name].to_numpy()[new[j]]
            )
        else:
            table, rows = (before, old[i]) if name in before else (after, new[j])
            differs |= table[name].notna().to_numpy()[rows]
    ids = np.union1d(np.setxor1d(left, right, assume_unique=True), common[differs])
    if not ids.size:
        return None
    return Difference(
        ids,
        before[before["index"].isin(ids)].reindex(columns=columns),
        after[after["index"].isin(ids)].reindex(columns=columns),
    )


def _differ(old: NDArray[Any], new: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where two columns differ; nothing equals nothing."""
    differs = np.asarray(old != new, bool)
    where = np.flatnonzero(differs)
    if where.size:
        differs[where] = ~(pd.isna(old[where]) & pd.isna(new[where]))
    return differs
