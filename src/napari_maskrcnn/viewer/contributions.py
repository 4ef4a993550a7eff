"""What napari calls by name: the samples in File > Open Sample.

Each returns layers as (data, properties, kind).  Nothing is downloaded: the pictures
are generated, or ship with scikit-image.
"""

from __future__ import annotations

from typing import Any

LayerData = tuple[Any, dict[str, Any], str]


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
