"""What the worker runs, called without a worker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.viewer.jobs import LoadedModel, segment_plane
from napari_maskrcnn.viewer.layers import Plane, PlaneSource
from napari_maskrcnn.viewer.workers import describe_error


def test_an_unknown_model_is_named_before_torch_is_asked() -> None:
    source = PlaneSource(np.zeros((8, 8)), Plane((0, 1)))
    with pytest.raises(ValueError, match="'no such'"):
        list(segment_plane(LoadedModel(), source, Recipe(model="no such")))


class Broken:
    """A lazy array whose file is gone."""

    def __getitem__(self, index: Any) -> Any:
        raise FileNotFoundError("no such image file: plane_07.tif")


def test_pixels_that_cannot_be_fetched_give_one_line() -> None:
    work = segment_plane(LoadedModel(), PlaneSource(Broken(), Plane((0, 1))), Recipe())
    with pytest.raises(FileNotFoundError) as caught:
        list(work)
    assert describe_error(caught.value) == "No such image file: plane_07.tif"
