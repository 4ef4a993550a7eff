"""What an export writes, and what is wrong with it, in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_maskrcnn.core.words import counted
from napari_maskrcnn.viewer.coco_origin import REGIONS_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_maskrcnn.core.coco import CocoImage, Fault, WriteSummary

# Lines shown of one kind of fault.
_MOST_ALIKE = 2


@dataclass(frozen=True, slots=True)
class Report:
    """What is written, or was.

    Parameters
    ----------
    files : tuple of Path
        The COCO files, then the image files.
    coco_files : int
        How many of them are COCO files.
    images, objects, polygons, rles, boxes : int
        How many, and the objects by the form of their masks.
    classes : dict of str to int
        Objects of each class that has any.
    reviewed : int
        Objects that a person approved.
    regions : int
        Planes of which a person approved the whole.
    remarks : tuple of str
        What a reader may not expect.
    """

    files: tuple[Path, ...]
    coco_files: int
    images: int
    objects: int
    polygons: int
    rles: int
    boxes: int
    classes: dict[str, int]
    reviewed: int
    regions: int
    remarks: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return what is written, a few lines for a person."""
        kinds = ((self.polygons, "polygons"), (self.rles, "RLE"), (self.boxes, "boxes"))
        forms = ", ".join(f"{count:,} {kind}" for count, kind in kinds if count)
        text = f"{counted(self.objects, 'object')} in {counted(self.images, 'image')}"
        lines = [f"{text} ({forms})" if forms else text]
        if self.classes:
            lines.append(", ".join(f"{n:,} {name}" for name, n in self.classes.items()))
        marks = [f"{counted(self.reviewed, 'object')} reviewed"]
        if self.regions:
            marks.append(f"{counted(self.regions, 'whole plane')} approved")
        lines.append(", ".join(marks))
        names = ", ".join(path.name for path in self.files[: self.coco_files])
        pictures = len(self.files) - self.coco_files
        if pictures:
            names += f" and {counted(pictures, 'image file')}"
        return [*lines, names]


def make_report(
    images: Sequence[CocoImage],
    summaries: Iterable[WriteSummary],
    pictures: Iterable[Path],
    remarks: Iterable[str],
) -> Report:
    """Return the report of some images, written or rehearsed."""
    summaries = list(summaries)
    classes: Counter[str] = Counter()
    reviewed = regions = empty = 0
    for image in images:
        objects = image.to_objects()
        counts = Counter(objects.class_ids.tolist())
        for class_id in sorted(counts):
            classes[objects.class_names[class_id - 1]] += counts[class_id]
        reviewed += int(objects.reviewed.sum())
        regions += _covered(image)
        empty += not len(objects)
    notes = list(remarks)
    if empty:
        notes.append(f"{counted(empty, 'image')} without an object")
    faults = [fault for summary in summaries for fault in summary.faults]
    return Report(
        files=(*(summary.path for summary in summaries), *pictures),
        coco_files=len(summaries),
        images=len(images),
        objects=sum(summary.annotations for summary in summaries),
        polygons=sum(summary.polygons for summary in summaries),
        rles=sum(summary.rles for summary in summaries),
        boxes=sum(summary.boxes for summary in summaries),
        classes=dict(classes.most_common()),
        reviewed=reviewed,
        regions=regions,
        remarks=(*notes, *_grouped(faults)),
    )


def _covered(image: CocoImage) -> bool:
    """Whether a person approved the whole image."""
    height, width = image.to_objects().image_shape
    boxes = image.extra.get(REGIONS_KEY, ())
    return any(tuple(box) == (0, 0, height, width) for box in boxes)


def _grouped(faults: Iterable[Fault]) -> list[str]:
    """Return faults as lines, those that were dealt with alike by the first ones."""
    alike: dict[str, list[Fault]] = {}
    for fault in faults:
        alike.setdefault(fault.done, []).append(fault)
    lines = []
    for group in alike.values():
        lines += [str(fault) for fault in group[:_MOST_ALIKE]]
        if len(group) > _MOST_ALIKE:
            lines.append(f"and {len(group) - _MOST_ALIKE:,} more like that")
    return lines
