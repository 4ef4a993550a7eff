"""What `npe2 validate` lets pass: unknown keys, undefined commands, dead menus."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from napari._app_model.constants import MenuId
from npe2 import PluginManifest
from npe2.manifest.contributions import ContributionPoints

import napari_maskrcnn

NAME = "napari-maskrcnn"
MANIFEST = Path(napari_maskrcnn.__file__).with_name("napari.yaml")
TOP_LEVEL = Path(__file__).parents[1] / "napari.yaml"
# npe2 reads these and napari 0.9 ignores them
DEAD = {"keybindings", "themes"}


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(MANIFEST)


def _commands_used(contributions: dict[str, Any]) -> set[str]:
    entries = [
        entry
        for kind in ("widgets", "readers", "writers", "sample_data")
        for entry in contributions.get(kind, [])
    ]
    for items in contributions.get("menus", {}).values():
        entries += items
    return {entry["command"] for entry in entries if "command" in entry}


def test_installed_manifest_is_the_one_at_the_top_level(
    manifest: PluginManifest,
) -> None:
    installed = PluginManifest.from_distribution(NAME)
    assert installed == manifest
    assert installed.contributions == manifest.contributions
    if TOP_LEVEL.is_file():
        assert MANIFEST.read_text("utf-8") == TOP_LEVEL.read_text("utf-8")


def test_every_key_is_known_and_alive(raw: dict[str, Any]) -> None:
    assert set(raw) <= set(PluginManifest.model_fields)
    known = set(ContributionPoints.model_fields)
    assert set(raw["contributions"]) <= known - DEAD


def test_every_command_used_is_defined_and_every_one_defined_is_used(
    raw: dict[str, Any],
) -> None:
    defined = [command["id"] for command in raw["contributions"]["commands"]]
    assert len(defined) == len(set(defined))
    assert set(defined) == _commands_used(raw["contributions"])


def test_every_menu_takes_contributions(raw: dict[str, Any]) -> None:
    possible = {menu.value for menu in MenuId.contributables()}
    ours = {menu for menu in raw["contributions"]["menus"] if menu.startswith("napari")}
    assert ours <= possible


def test_every_python_name_can_be_imported(manifest: PluginManifest) -> None:
    manifest.validate_imports()


def test_titles_are_sentence_case_without_a_full_stop(raw: dict[str, Any]) -> None:
    for command in raw["contributions"]["commands"]:
        assert re.fullmatch(r"[A-Z].*[^.]", command["title"])


@pytest.mark.usefixtures("plugin_settings")
def test_preferences_have_our_settings_with_their_defaults(npe2pm: Any) -> None:
    from napari.settings import get_plugin_settings

    npe2pm.register(PluginManifest.from_distribution(NAME))
    inference = get_plugin_settings(NAME).inference
    assert inference.device == "auto"
    assert inference.encoding_budget_mb == 1024
