"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def replacing(path: Path, *, keep_suffix: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` at the end.

    When the work inside fails, the temporary file goes and ``path`` stays as it was.
    ``keep_suffix`` is for writers that choose the format by the ending.
    """
    ending = path.suffix if keep_suffix else ""
    temporary = path.with_name(f".{path.name}.part{ending}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
