"""The command line that does what the form says."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from napari_maskrcnn.core.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

# Fields of a recipe that the command takes as options, in the order they are written.
OPTIONS = {
    "model": "--model",
    "object_size": "--object-size",
    "channel": "--channel",
    "score_threshold": "--score",
    "mask_threshold": "--mask",
    "nms_threshold": "--overlap",
    "min_area": "--min-area",
    "device": "--device",
}


def segment_command(recipe: Recipe, image: Path | None) -> str:
    """Return the ``napari-maskrcnn segment`` command with the same result.

    Parameters
    ----------
    recipe : Recipe
        What the form says; what is as the command has it anyway is left out.
    image : Path or None
        The file; without one the word IMAGE stands in its place.
    """
    words = ["napari-maskrcnn", "segment", str(image) if image else "IMAGE"]
    words += ["--out", "instances"]
    default = Recipe()
    for name, option in OPTIONS.items():
        value = getattr(recipe, name)
        if name == "model" or value != getattr(default, name):
            words += [option, str(value)]
    if recipe.classes:
        words += ["--classes", ",".join(recipe.classes)]
    return shlex.join(words)
