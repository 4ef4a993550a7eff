"""The classes of a Labels layer: their list, their colours, and who is of which.

The list stands in the layer's metadata, ``metadata["napari-maskrcnn"]["class_names"]``:
from the model, from an imported file, or typed in.  Classes that occur only in the
table of objects belong to it as well.

Colouring by class must not slow the brush.  napari's `DirectLabelColormap` does, on
layers of more than 16 bits, since every refresh maps all pixels on the CPU.  A
`CyclicLabelColormap` with one entry for each *id* does not: napari takes it for any
other list of colours, hands the pixels to the graphics card as they are, and the table
is looked up there.  Larger integers are folded by the length of the list, so ids beyond
it need the slow colormap.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

from napari_maskrcnn.viewer.features import class_names, has_table
from napari_maskrcnn.viewer.marks import act, ensure_rows, set_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Labels
    from numpy.typing import ArrayLike, NDArray

    from napari_maskrcnn.viewer.layers import Plane

# Okabe and Ito's colours, which people with any kind of colour vision tell apart, then
# darker and lighter ones; without black, which does not show on most images.
PALETTE = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
    "#8C510A", "#9467BD", "#17BECF", "#BCBD22", "#FF9896",
)  # fmt: skip
NO_CLASS_COLOUR = "#9A9A9A"
# napari shuffles up to so many colours, and folds large integers into 16 bits by them.
_MAX_COLOURS = 65_534


def classes_of(layer: Labels, others: Iterable[str] = ()) -> list[str]:
    """Return the layer's classes: those listed, then `others`, then the table's."""
    table = layer.features["class"] if has_table(layer) else ()
    used = sorted({str(name) for name in table if isinstance(name, str) and name})
    return list(dict.fromkeys([*class_names(layer), *others, *used]))


def colours_of(count: int) -> list[str]:
    """Return the colours of the first `count` classes, "#RRGGBB"; they repeat."""
    return [PALETTE[i % len(PALETTE)] for i in range(count)]


# ---- acts, one undo step each


def add_class(layer: Labels, name: str, others: Iterable[str] = ()) -> str:
    """Add a class to the list and return its name, without spaces around it.

    Raises
    ------
    ValueError
        When the name is empty or there already.
    """
    names = classes_of(layer, others)
    name = _checked(name, names)
    with act(layer, class_names=[*names, name]):
        pass
    return name


def rename_class(layer: Labels, old: str, new: str, others: Iterable[str] = ()) -> str:
    """Rename a class in the list and in the table; return the new name.

    Raises
    ------
    ValueError
        When the new name is empty or another class has it.
    """
    names = classes_of(layer, others)
    new = _checked(new, [name for name in names if name != old])
    with act(layer, class_names=[new if name == old else name for name in names]):
        if has_table(layer):
            table = layer.features
            ids = table["index"][table["class"] == old].to_numpy(np.int64)
            set_values(layer, ids, **{"class": new})
    return new


def set_class(
    layer: Labels, plane: Plane, ids: ArrayLike, name: str, others: Iterable[str] = ()
) -> None:
    """Set the class of some objects of a plane.

    Parameters
    ----------
    layer : Labels
        A layer with one resolution level.
    plane : Plane
        The plane that the objects are on.
    ids : array-like of int
        The objects.
    name : str
        The class; a new one joins the list. Empty takes the class away.
    others : iterable of str
        Classes that belong to the list too, such as the model's.
    """
    names = classes_of(layer, others)
    listed = names if not name or name in names else [*names, name]
    with act(layer, class_names=listed):
        ensure_rows(layer, plane)
        set_values(layer, ids, **{"class": name})


def _checked(name: str, taken: Sequence[str]) -> str:
    name = " ".join(name.split())
    if not name:
        raise ValueError("A class needs a name")
    if name in taken:
        raise ValueError(f'There is a class "{name}" already')
    return name


# ---- colouring by class


@dataclass(slots=True, eq=False)
class _Coloured:
    """A layer that is coloured by class: its former colormap, and ours."""

    former: Any
    ours: Any = None
    # The ids and their colours in `ours`.
    ids: Any = None
    colours: Any = None


_coloured: weakref.WeakKeyDictionary[Labels, _Coloured] = weakref.WeakKeyDictionary()


def is_coloured(layer: Labels) -> bool:
    """Whether the layer is coloured by class now."""
    entry = _coloured.get(layer)
    # A person who chose or shuffled colours in napari's own controls has left ours.
    return entry is not None and layer.colormap is entry.ours


def colour_by_class(layer: Labels, on: bool, others: Iterable[str] = ()) -> None:
    """Colour the objects by their class, or as before.

    Parameters
    ----------
    layer : Labels
        The layer.
    on : bool
        False brings the former colormap back.
    others : iterable of str
        Classes that belong to the list too, such as the model's.

    Raises
    ------
    ValueError
        When the ids are too large for this.
    """
    if on:
        entry = _coloured[layer] if is_coloured(layer) else _Coloured(layer.colormap)
        _put_colours(layer, entry, classes_of(layer, others))
        _coloured[layer] = entry
    elif is_coloured(layer):
        _use(layer, _coloured.pop(layer).former)
    else:
        _coloured.pop(layer, None)


def follow_classes(layer: Labels, others: Iterable[str] = ()) -> None:
    """Bring the colours up to date with the table, where colouring is on."""
    if is_coloured(layer):
        # Ids that have become too large keep the colours that they have.
        with suppress(ValueError):
            _put_colours(layer, _coloured[layer], classes_of(layer, others))


def _put_colours(layer: Labels, entry: _Coloured, names: Sequence[str]) -> None:
    """Colour the layer anew if the table or the list have changed."""
    palette = _rgba([NO_CLASS_COLOUR, *colours_of(len(names))])
    ids, colours = _colours(layer, names, palette)
    if np.array_equal(ids, entry.ids) and np.array_equal(colours, entry.colours):
        return
    entry.ours = _colormap(layer.data.dtype.itemsize, ids, colours, palette[0])
    entry.ids, entry.colours = ids, colours
    _use(layer, entry.ours)


def _use(layer: Labels, colormap: Any) -> None:
    colormap.use_selection = layer.show_selected_label
    colormap.selection = layer.selected_label
    layer.colormap = colormap


def _colours(
    layer: Labels, names: Sequence[str], palette: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the ids in the table, and a colour for each."""
    if not has_table(layer):
        return np.empty(0, np.int64), np.empty((0, 4), np.float32)
    table = layer.features.drop_duplicates("index")
    place = {name: number for number, name in enumerate(names, start=1)}
    chosen = np.array([place.get(name, 0) for name in table["class"]], np.int64)
    return table["index"].to_numpy(np.int64), palette[chosen]


def _colormap(
    itemsize: int,
    ids: NDArray[np.int64],
    colours: NDArray[np.float32],
    rest: NDArray[np.float32],
) -> Any:
    """Return a colormap with one entry for each id, for pixels of so many bytes."""
    size = min(2 ** (8 * itemsize), _MAX_COLOURS)
    if itemsize > 2 and ids.size and int(ids.max()) >= size:
        return _direct(ids, colours, rest)
    table = np.tile(rest, (size, 1))
    table[0] = 0
    inside = (ids > 0) & (ids < size)
    table[ids[inside]] = colours[inside]
    return CyclicLabelColormap(colors=table, name="class")


def _direct(
    ids: NDArray[np.int64], colours: NDArray[np.float32], rest: NDArray[np.float32]
) -> DirectLabelColormap:
    if find_spec("numba") is None:
        raise ValueError(
            f"Without numba, colouring by class takes ids up to {_MAX_COLOURS - 1:,}; "
            f"the highest here is {int(ids.max()):,}"
        )
    table: dict[int | None, Any] = {None: rest, 0: np.zeros(4, np.float32)}
    table.update(zip(ids.tolist(), colours, strict=True))
    return DirectLabelColormap(color_dict=table, name="class")


def _rgba(colours: Sequence[str]) -> NDArray[np.float32]:
    """Return "#RRGGBB" as rows of red, green, blue and 1."""
    rows = [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] + [1.0] for c in colours]
    return np.array(rows, np.float32)
