"""What the commands write to a terminal."""

from __future__ import annotations

import sys


def progress_line(text: str) -> None:
    """Overwrite one line on a terminal; say nothing where stderr is a file."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
