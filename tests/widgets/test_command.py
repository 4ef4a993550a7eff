"""The copied command says what the form says."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from napari_maskrcnn.cli import app
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.widgets.command import OPTIONS, segment_command


def test_defaults_are_left_out_but_for_the_model() -> None:
    assert (
        segment_command(Recipe(), Path("a.png"))
        == "napari-maskrcnn segment a.png --out instances --model nuclei"
    )


def test_what_differs_is_said_and_quoted() -> None:
    recipe = Recipe(score_threshold=0.7, object_size=31.0, min_area=12, channel=1)
    words = shlex.split(segment_command(recipe, Path("my images/a b.tif")))
    assert words[2] == str(Path("my images/a b.tif"))
    for option, value in (
        ("--score", "0.7"),
        ("--object-size", "31.0"),
        ("--min-area", "12"),
        ("--channel", "1"),
    ):
        assert words[words.index(option) + 1] == value


def test_without_a_file_there_is_a_place_for_one() -> None:
    assert "segment IMAGE --out" in segment_command(Recipe(), None)


def test_the_command_knows_every_option() -> None:
    command = typer.main.get_command(app).commands["segment"]
    known = {name for parameter in command.params for name in parameter.opts}
    assert set(OPTIONS.values()) <= known
