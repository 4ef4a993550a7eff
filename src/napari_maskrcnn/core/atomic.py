"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A disk, and a person's share of one.
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path, *, keep_suffix: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` at the end.

    It is on the disk by then: after a power cut ``path`` is the old file or the new.
    When the work inside fails, the temporary file goes and ``path`` stays as it was.
    ``keep_suffix`` is for writers that choose the format by the ending.

    Raises
    ------
    OSError
        With ``errno.ENOSPC`` and the name of ``path`` when there is no room left,
        whatever the writer made of it: PyTorch raises a RuntimeError about positions.
    """
    ending = path.suffix if keep_suffix else ""
    temporary = path.with_name(f".{path.name}.part{ending}")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if _is_full(error):
            words = "there is no room left on the disk"
            raise OSError(errno.ENOSPC, words, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _is_full(error: BaseException | None) -> bool:
    """Say whether an error, or one that led to it, is that of a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
