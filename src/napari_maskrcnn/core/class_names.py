"""Lists of class names, as networks and files have them. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# The name of a class that a network has a row for, but that never occurs: COCO numbers
# its 80 classes up to 90, with gaps.
UNUSED = "N/A"


def choosable(class_names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that a person can choose: without gaps, each one once."""
    return tuple(dict.fromkeys(name for name in class_names if name != UNUSED))


def class_count(class_names: Iterable[str]) -> str:
    """Return the names in short: themselves while they are few, or their number."""
    names = choosable(class_names)
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} classes"


def names_from_text(text: str, count: int) -> tuple[str, ...]:
    """Return the class names that a person gave: with commas, or in a file.

    Parameters
    ----------
    text : str
        Names with commas between them, or the path of a file for `read_class_names`.
    count : int
        Classes of the network, without the background.

    Raises
    ------
    ValueError
        When there are not as many names as classes.
    """
    path = Path(text)
    if path.suffix.lower() in {".txt", ".json"}:
        return read_class_names(path, count)
    return _counted(tuple(name.strip() for name in text.split(",")), count, "the text")


def read_class_names(path: str | Path, count: int) -> tuple[str, ...]:
    """Read class names from a file.

    Parameters
    ----------
    path : str or Path
        A text file with one name a line, the first for class 1, or a COCO file. Of a
        COCO file the category ids are the network's class ids where they fit it, with
        gaps, as torchvision's own training has it; else the order of the ids counts.
    count : int
        Classes of the network, without the background.

    Raises
    ------
    ValueError
        When the file cannot be read or does not fit the number of classes.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the class names {path} cannot be read: {error}") from error
    if path.suffix.lower() != ".json":
        names = [line.strip() for line in text.splitlines() if line.strip()]
        if len(names) == count + 1 and names[0].strip("_").lower() == "background":
            names = names[1:]
        return _counted(tuple(names), count, path.name)
    by_id = _categories(text, path.name)
    if len(by_id) == count:
        return tuple(by_id[number] for number in sorted(by_id))
    if max(by_id) == count and min(by_id) >= 1:
        return tuple(by_id.get(number, UNUSED) for number in range(1, count + 1))
    return _counted(tuple(by_id.values()), count, path.name)


def _categories(text: str, file: str) -> dict[int, str]:
    try:
        rows = json.loads(text)["categories"]
        found = {int(row["id"]): str(row["name"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is not a COCO file with categories") from error
    if not found:
        raise ValueError(f"{file} has no categories")
    return found


def _counted(names: tuple[str, ...], count: int, source: str) -> tuple[str, ...]:
    if len(names) != count or not all(names):
        raise ValueError(
            f"the network has {count} classes without the background, but {source} "
            f"names {len([name for name in names if name])}"
        )
    return names
