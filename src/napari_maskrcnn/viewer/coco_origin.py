"""What a Labels layer keeps of the COCO file that it was read from.

A label image holds one object a pixel and no categories.  So that a file that is opened
and exported again keeps its overlaps, crowd regions, boxes without masks, ids and
unknown keys, the layer's metadata hold what was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_maskrcnn.core.coco import Category, CocoImage

# Where the layer's metadata hold what concerns the whole layer.
METADATA = "napari-maskrcnn"
# The keys in there that are COCO's: a `CocoOrigin`, and a list of `Category`.
ORIGIN, CATEGORIES = "coco", "categories"
# Key of an image in a file: boxes in which a person found everything right.
REGIONS_KEY = "reviewed_regions"


@dataclass(frozen=True, slots=True, eq=False)
class CocoOrigin:
    """The file of a layer, and what was read of each of its planes.

    Parameters
    ----------
    path : Path
        The COCO file.
    planes : dict of int to CocoImage
        By the index of the plane, 0 for a layer that has only one; the objects are
        `CocoObjects` with the layer's labels as ids.
    axis : str or None
        Axis of the planes, ``"t"`` or ``"z"``.
    """

    path: Path
    planes: Mapping[int, CocoImage]
    axis: str | None = None


def kept_metadata(metadata: Any) -> dict[str, Any]:
    """Return our part of a layer's metadata, empty where there is none."""
    kept = metadata.get(METADATA) if isinstance(metadata, dict) else None
    return kept if isinstance(kept, dict) else {}


def origin_of(metadata: Any) -> CocoOrigin | None:
    """Return where a layer was read from, None if from elsewhere."""
    origin = kept_metadata(metadata).get(ORIGIN)
    return origin if isinstance(origin, CocoOrigin) else None


def categories_of(metadata: Any) -> tuple[Category, ...]:
    """Return the categories of the file that a layer was read from."""
    return tuple(kept_metadata(metadata).get(CATEGORIES, ()))
