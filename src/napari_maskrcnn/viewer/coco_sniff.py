"""Telling COCO files from other people's JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_maskrcnn.core.coco.json_file import load_json

if TYPE_CHECKING:
    from pathlib import Path

# Files up to this size are parsed to see what they are; of others the keys are sought.
_PARSED = 8 * 2**20
_CHUNK = 2**20
_LISTS = (re.compile(rb'"images"\s*:\s*\['), re.compile(rb'"annotations"\s*:\s*\['))


def is_coco(path: Path) -> bool:
    """Tell a COCO file from other people's JSON; never raises."""
    try:
        with path.open("rb") as file:
            head = file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()
            if not head.startswith(b"{"):
                return False
            size = path.stat().st_size
        if size <= _PARSED:
            document = load_json(path)
            return all(
                isinstance(document.get(key), list) for key in ("images", "annotations")
            )
    except ValueError:
        pass  # broken: by its words, it may still be meant to be one
    except OSError:
        return False
    return _has_lists(path)


def _has_lists(path: Path) -> bool:
    """Look for the words of a COCO file without parsing it."""
    wanted = list(_LISTS)
    try:
        with path.open("rb") as file:
            tail = b""
            while wanted and (chunk := file.read(_CHUNK)):
                text = tail + chunk
                wanted = [word for word in wanted if not word.search(text)]
                tail = text[-256:]
    except OSError:
        return False
    return not wanted
