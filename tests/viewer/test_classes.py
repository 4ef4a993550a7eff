"""The classes of a layer, and colouring by class."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap
from review_samples import squares

from napari_maskrcnn.viewer import classes
from napari_maskrcnn.viewer.history import history_of
from napari_maskrcnn.viewer.layers import Plane

PLANE = Plane((0, 1))


@pytest.fixture
def layer() -> Labels:
    layer = Labels(squares((10, 10), (40, 40), (70, 100)))
    history_of(layer)
    return layer


def given(layer: Labels) -> list[str]:
    return layer.features["class"].tolist()


def test_the_list_joins_what_is_known(layer: Labels) -> None:
    assert classes.classes_of(layer) == []
    layer.metadata = {"napari-maskrcnn": {"class_names": ["b", "a"]}}
    layer.features = pd.DataFrame({"index": [1, 2], "class": ["z", ""]})
    assert classes.classes_of(layer, ("a", "m")) == ["b", "a", "m", "z"]


def test_a_class_is_given_in_one_step(layer: Labels) -> None:
    classes.set_class(layer, PLANE, [1, 3], "cell", ("cell", "debris"))
    assert given(layer) == ["cell", "", "cell"]
    assert classes.classes_of(layer) == ["cell", "debris"]
    classes.set_class(layer, PLANE, [3], "debris")
    assert given(layer) == ["cell", "", "debris"]
    layer.undo()
    assert given(layer) == ["cell", "", "cell"]
    layer.undo()
    assert not len(layer.features) or given(layer) == []
    layer.redo()
    assert given(layer) == ["cell", "", "cell"]


def test_classes_are_typed_in_and_renamed(layer: Labels) -> None:
    assert classes.add_class(layer, "  dead  cell ") == "dead cell"
    classes.add_class(layer, "other")
    classes.set_class(layer, PLANE, [2], "dead cell")
    assert classes.rename_class(layer, "dead cell", "dead") == "dead"
    assert classes.classes_of(layer) == ["dead", "other"]
    assert given(layer) == ["", "dead", ""]
    layer.undo()
    assert classes.classes_of(layer) == ["dead cell", "other"]
    assert given(layer) == ["", "dead cell", ""]
    layer.redo()
    assert classes.classes_of(layer) == ["dead", "other"]
    assert given(layer) == ["", "dead", ""]


def test_names_are_checked(layer: Labels) -> None:
    classes.add_class(layer, "cell")
    classes.add_class(layer, "debris")
    with pytest.raises(ValueError, match='There is a class "cell" already'):
        classes.add_class(layer, "cell")
    with pytest.raises(ValueError, match="A class needs a name"):
        classes.rename_class(layer, "cell", " ")
    with pytest.raises(ValueError, match='There is a class "debris" already'):
        classes.rename_class(layer, "cell", "debris")
    assert classes.rename_class(layer, "cell", "cell") == "cell"


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.int64]
)
def test_colours_by_class_and_back(dtype: Any) -> None:
    layer = Labels(squares((10, 10), (40, 40), (70, 100)).astype(dtype))
    former = layer.colormap
    classes.set_class(layer, PLANE, [1], "cell", ("cell", "debris"))
    classes.set_class(layer, PLANE, [2], "debris")
    classes.colour_by_class(layer, True)
    assert classes.is_coloured(layer)
    assert isinstance(layer.colormap, CyclicLabelColormap)
    first, second = (_rgb(code) for code in classes.colours_of(2))
    np.testing.assert_allclose(layer.get_color(1)[:3], first, atol=1e-3)
    np.testing.assert_allclose(layer.get_color(2)[:3], second, atol=1e-3)
    np.testing.assert_allclose(layer.get_color(3)[:3], _rgb(classes.NO_CLASS_COLOUR))
    mapped = layer.colormap.map(layer.data[[12, 42, 72, 0], [12, 42, 102, 0]])
    np.testing.assert_allclose(mapped[0, :3], first, atol=1e-3)
    np.testing.assert_allclose(mapped[1, :3], second, atol=1e-3)
    assert mapped[3, 3] == 0
    classes.colour_by_class(layer, False)
    assert layer.colormap is former
    assert not classes.is_coloured(layer)


def test_ids_beyond_the_table_have_their_colour_too() -> None:
    layer = Labels(squares((10, 10)).astype(np.int32) * 70_000)
    classes.set_class(layer, PLANE, [70_000], "cell")
    if find_spec("numba") is None:
        with pytest.raises(ValueError, match=r"up to 65,533; the highest .* 70,000"):
            classes.colour_by_class(layer, True)
        assert not classes.is_coloured(layer)
        return
    classes.colour_by_class(layer, True)
    assert isinstance(layer.colormap, DirectLabelColormap)
    (colour,) = classes.colours_of(1)
    np.testing.assert_allclose(layer.get_color(70_000)[:3], _rgb(colour), atol=1e-3)
    ours = layer.colormap
    classes.follow_classes(layer)
    assert layer.colormap is ours


def test_the_colours_follow_the_classes(layer: Labels) -> None:
    classes.add_class(layer, "cell")
    classes.colour_by_class(layer, True)
    ours = layer.colormap
    classes.follow_classes(layer)
    assert layer.colormap is ours, "nothing changed"
    classes.set_class(layer, PLANE, [2], "cell")
    classes.follow_classes(layer)
    np.testing.assert_allclose(
        layer.get_color(2)[:3], _rgb(classes.colours_of(1)[0]), atol=1e-3
    )
    layer.show_selected_label = True
    classes.set_class(layer, PLANE, [3], "cell")
    classes.follow_classes(layer)
    assert layer.colormap.use_selection
    assert layer.colormap.selection == layer.selected_label


def test_other_colours_chosen_meanwhile_stay(layer: Labels) -> None:
    classes.colour_by_class(layer, True)
    layer.new_colormap(seed=3)
    chosen = layer.colormap
    assert not classes.is_coloured(layer)
    classes.follow_classes(layer)
    classes.colour_by_class(layer, False)
    assert layer.colormap is chosen


def _rgb(code: str) -> list[float]:
    return [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
