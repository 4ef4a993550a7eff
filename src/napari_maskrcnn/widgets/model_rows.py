"""What the table of models says about each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QTreeWidgetItem

from napari_maskrcnn.core.class_names import choosable, class_count
from napari_maskrcnn.core.words import counted

if TYPE_CHECKING:
    from napari_maskrcnn.core.model_list import ModelEntry
    from napari_maskrcnn.core.model_store import ModelDetails

COLUMNS = ("Name", "Classes", "Made from", "Date", "Learnt from", "AP", "Size")
MEGABYTE = 1_000_000


def model_row(details: ModelDetails) -> QTreeWidgetItem:
    """Return a model's row; its name is in the first column's user data."""
    entry = details.entry
    size = f"{details.size / MEGABYTE:.1f} MB"
    item = QTreeWidgetItem(
        [
            entry.name,
            class_count(entry.class_names),
            details.parent or _maker(entry),
            details.date[:10],
            _learnt_from(details),
            _score(details),
            size if entry.downloaded else f"{size}, not downloaded",
        ]
    )
    item.setData(0, Qt.ItemDataRole.UserRole, entry.name)
    for column in range(len(COLUMNS)):
        item.setToolTip(column, entry.description or item.text(column))
    item.setToolTip(COLUMNS.index("AP"), _about_score(details))
    flags = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled
    if entry.source == "yours":
        flags |= Qt.ItemFlag.ItemIsEditable
    item.setFlags(flags)
    return item


def model_in_words(details: ModelDetails) -> str:
    """Return what the table has no room for."""
    entry = details.entry
    lines = [entry.description] if entry.description else []
    lines.append(f"Classes: {', '.join(choosable(entry.class_names))}")
    if details.before and "ap50" in details.after:
        before, parent = details.before.get("ap50", 0), details.parent or "its parent"
        lines.append(
            f"On what was held out when it was made: AP at IoU 0.5 was {before:.2f} "
            f"with {parent} and is {details.after['ap50']:.2f}"
        )
    lines += [f"{heading}: {text}" for heading, text in details.card.items()]
    return "\n".join(lines)


def _maker(entry: ModelEntry) -> str:
    return {
        "bundled": "comes with the package",
        "torchvision": "published by torchvision",
    }.get(entry.source, "")


def _learnt_from(details: ModelDetails) -> str:
    if details.entry.source == "torchvision":
        return "COCO"
    if not details.images:
        return ""
    images = counted(details.images, "image")
    return f"{details.objects:,} objects, {images}"


def _score(details: ModelDetails) -> str:
    if details.published:
        return ", ".join(
            f"{key.removesuffix(' AP')} {value:g}"
            for key, value in details.published.items()
        )
    if "ap50" not in details.after:
        return ""
    after = f"{details.after['ap50']:.2f}"
    before = details.before.get("ap50")
    return after if before is None else f"{before:.2f} \N{RIGHTWARDS ARROW} {after}"


def _about_score(details: ModelDetails) -> str:
    if details.published:
        return "As published: COCO's AP, mean over IoU 0.5 to 0.95, on val2017, percent"
    return "TP / (TP + FP + FN) at IoU 0.5 on what was held out when it was made"
