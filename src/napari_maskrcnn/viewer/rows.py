"""What changed between two tables of objects, to be applied to a later one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_maskrcnn.viewer.features import joined, normalised

if TYPE_CHECKING:
    import pandas as pd
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
    if before.equals(after):
        return None
    before, after = normalised(before), normalised(after)
    left = before.drop_duplicates("index").set_index("index")
    right = after.drop_duplicates("index").set_index("index")
    common = left.index.intersection(right.index)
    ids = left.index.symmetric_difference(right.index).to_numpy(np.int64)
    names = left.columns.union(right.columns, sort=False)
    old = left.reindex(index=common, columns=names)
    new = right.reindex(index=common, columns=names)
    differs = ((old != new) & ~(old.isna() & new.isna())).any(axis=1)
    ids = np.union1d(ids, common[differs.to_numpy()].to_numpy(np.int64))
    if not ids.size:
        return None
    columns = ["index", *names]
    return Difference(
        ids,
        before[before["index"].isin(ids)].reindex(columns=columns),
        after[after["index"].isin(ids)].reindex(columns=columns),
    )
