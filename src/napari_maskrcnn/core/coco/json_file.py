"""Loading JSON that may be anything, and writing it whole or not at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core.atomic import replacing
from napari_maskrcnn.core.coco.errors import CocoError

if TYPE_CHECKING:
    from pathlib import Path


LISTS = ("images", "annotations", "categories")
"""The keys of the lists that a COCO file consists of."""


def load_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises
    ------
    CocoError
        If the file holds anything else.
    OSError
        If the file cannot be opened.
    """
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
    except RecursionError as error:
        raise CocoError(f"{path.name}: lists nested too deep for JSON") from error
    except ValueError as error:  # no UTF-8, no JSON, or a number of 5000 digits
        raise CocoError(f"{path.name}: not JSON ({error})") from error
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise CocoError(f"{path.name}: the top level is a {kind}, not a COCO object")
    return document


def empty() -> dict[str, Any]:
    """Return a COCO document without an image."""
    return {"info": {}, "licenses": [], **{key: [] for key in LISTS}}


def existing(path: Path) -> dict[str, Any]:
    """Return the COCO document in a file, to add to.

    Raises
    ------
    CocoError
        If the file is no COCO file.
    OSError
        If the file cannot be opened.
    """
    document = load_json(path)
    for key in LISTS:
        rows = document.setdefault(key, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise CocoError(f"{path.name}: {key!r} is no list of objects")
    return document


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON object; whatever stops it, `path` holds the old or the new file.

    Raises
    ------
    CocoError
        If the document holds something that JSON cannot.
    """
    try:
        text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CocoError(f"{path.name}: extra keys are no JSON ({error})") from error
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
