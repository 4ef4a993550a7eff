"""What napari calls by name: the COCO reader and writer, and the samples.

Layers come and go as (data, properties, kind).  The samples download nothing: their
pictures are generated, or ship with scikit-image.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core.words import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

LayerData = tuple[Any, dict[str, Any], str]
# Sentences shown of a file with many faults.
_MOST_FAULTS = 3


def coco_reader(path: str | list[str]) -> Callable[[str], list[Any]] | None:
    """Return what reads a COCO file, None for any other JSON."""
    from napari_maskrcnn.viewer.coco_sniff import is_coco

    if not isinstance(path, str) or not is_coco(Path(path)):
        return None
    return open_coco


def open_coco(path: str | list[str]) -> list[Any]:
    """Open a COCO file as layers; one notification says what is wrong."""
    from napari import current_viewer
    from napari.utils.notifications import show_error, show_warning

    from napari_maskrcnn.viewer.coco_layers import read_layers
    from napari_maskrcnn.viewer.drawn_edits import follow_drawn

    file = Path(path if isinstance(path, str) else path[0])
    try:
        layers, problems = read_layers(file)
    except (ValueError, OSError, MemoryError) as error:
        show_error(f"{file.name} was not opened: {one_line(error)}")
        return [(None,)]
    if problems:
        lines = problems[:_MOST_FAULTS]
        if len(problems) > len(lines):
            more = len(problems) - len(lines)
            lines.append(f"and {more:,} more: napari-maskrcnn check lists all")
        show_warning(f"{file.name}:\n" + "\n".join(lines))
    viewer = current_viewer()
    if viewer is not None:
        follow_drawn(viewer)
    return list(layers) or [(None,)]


def write_coco_layers(path: str, layers: list[LayerData]) -> list[str]:
    """Save labels, boxes, keypoints, and the images chosen with them, as COCO."""
    from napari_maskrcnn.core.progress import exhaust
    from napari_maskrcnn.viewer.coco_writer import request_for
    from napari_maskrcnn.viewer.export import export

    done = exhaust(export(request_for(Path(path), layers)))
    return [str(file) for file in done.files]


def sample_nuclei() -> list[LayerData]:
    """Return a generated field of fluorescent nuclei with its ground truth."""
    from napari_maskrcnn.core.samples import nuclei_field

    image, label_image = nuclei_field()
    return [
        (image, {"name": "nuclei"}, "image"),
        (label_image, {"name": "nuclei ground truth", "visible": False}, "labels"),
    ]


def sample_coins() -> list[LayerData]:
    """Return a photograph of Greek coins, grey, from scikit-image."""
    from skimage.data import coins

    return [(coins(), {"name": "coins"}, "image")]


def sample_ihc() -> list[LayerData]:
    """Return colon tissue stained for FHL2, in colour, from scikit-image."""
    from skimage.data import immunohistochemistry

    return [(immunohistochemistry(), {"name": "ihc", "rgb": True}, "image")]


def sample_coco() -> list[LayerData]:
    """Return a small COCO data set, generated, written and read again."""
    import tempfile

    from napari.utils.notifications import show_info

    from napari_maskrcnn.viewer.coco_layers import read_layers
    from napari_maskrcnn.viewer.coco_sample import write_sample

    with tempfile.TemporaryDirectory() as folder:
        layers, _ = read_layers(write_sample(Path(folder)))
    show_info("Two images and their objects, as they were in a COCO file")
    return layers
