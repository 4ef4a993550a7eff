"""The table of actions: no key twice, none of napari's, and the guide has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from napari import Viewer  # noqa: F401  # registers napari's actions
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.action_manager import action_manager
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.shortcuts import default_shortcuts

from napari_maskrcnn.viewer.actions import ACTIONS, action_named, key_table

GUIDE = Path(__file__).parents[2] / "docs" / "correct.md"
OURS = [action for action in ACTIONS if action.group != "napari" and action.key]


def test_no_key_is_napari_s() -> None:
    """Only actions of Labels layers and of the viewer share keys with ours."""
    taken = {
        coerce_keybinding(key)
        for name, keys in default_shortcuts.items()
        if action_manager._actions[name].keymapprovider in (Labels, ViewerModel)
        for key in keys
    }
    taken |= {key for key in Labels.class_keymap if key is not Ellipsis}
    taken |= {key for key in ViewerModel.class_keymap if key is not Ellipsis}
    assert coerce_keybinding("Control-Z") in taken
    assert coerce_keybinding("M") in taken
    for action in OURS:
        assert coerce_keybinding(action.key) not in taken, action.name


def test_no_key_and_no_name_twice() -> None:
    keys = [coerce_keybinding(action.key) for action in ACTIONS if action.key]
    assert len(keys) == len(set(keys))
    names = [action.name for action in ACTIONS]
    assert len(names) == len(set(names))


def test_tooltips_have_the_key() -> None:
    assert action_named("grow").tooltip.endswith("[G]")
    with pytest.raises(ValueError, match="no action 'nothing'"):
        action_named("nothing")


@pytest.mark.skipif(not GUIDE.is_file(), reason="the guide is not installed")
@pytest.mark.parametrize("group", ["Edit", "Review"])
def test_the_guide_has_the_tables_of_keys(group: str) -> None:
    assert key_table(group) in GUIDE.read_text("utf-8")
