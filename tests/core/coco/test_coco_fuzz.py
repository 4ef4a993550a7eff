"""A part of the fuzz run; ``python coco_fuzz.py --files 20000`` is the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coco_fuzz import fuzz

if TYPE_CHECKING:
    from pathlib import Path


def test_broken_files_raise_nothing_but_coco_errors(tmp_path: Path) -> None:
    counts, _, failures = fuzz(500, seed=1, folder=tmp_path)
    assert failures == []
    assert counts["refused"] > 50
    assert counts["read with faults"] > 50
