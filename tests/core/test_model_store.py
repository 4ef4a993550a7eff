"""Names and files of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from tiny_network import tiny_checkpoint, write_tiny

from napari_maskrcnn.core.checkpoints import (
    Checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from napari_maskrcnn.core.model_list import list_models
from napari_maskrcnn.core.model_store import (
    check_new_name,
    delete_model,
    export_model,
    free_name,
    list_details,
    model_path,
    rename_model,
    run_folder,
    stored_dtype,
)

if TYPE_CHECKING:
    from pathlib import Path

PROVENANCE: dict[str, Any] = {
    "date": "2026-03-01T10:00:00+00:00",
    "parent": {"name": "nuclei"},
    "images": ["a", "b"],
    "objects": {"disc": 7, "ring": 2},
    "metrics": {"before": {"ap50": 0.25}, "after": {"ap50": 0.5, "ap75": 0.125}},
}
CARD = {"For": "Discs and rings.", "Fails": "On squares."}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(tmp_path))
    return tmp_path


@pytest.fixture
def mine(store: Path) -> Path:
    start = tiny_checkpoint()
    config = {**start.config, "provenance": PROVENANCE, "card": CARD}
    path = store / "mine.safetensors"
    write_checkpoint(path, Checkpoint(config, start.state))
    run_folder("mine").mkdir()
    (run_folder("mine") / "history.csv").write_text("step\n")
    return path


def names() -> set[str]:
    return {entry.name for entry in list_models()}


@pytest.mark.usefixtures("mine")
def test_details_come_from_the_provenance() -> None:
    (found,) = (x for x in list_details() if x.name == "mine")
    assert (found.parent, found.images, found.objects) == ("nuclei", 2, 9)
    assert found.before == {"ap50": 0.25}
    assert found.after == {"ap50": 0.5, "ap75": 0.125}
    assert found.size == found.entry.path.stat().st_size
    assert found.card == CARD


def test_the_bundled_model_has_details_too(store: Path) -> None:
    bundled = [x for x in list_details() if x.entry.bundled]
    assert bundled
    assert all(x.images > 0 and x.after and not x.before for x in bundled)
    for one in bundled:
        assert one.card.keys() >= {"For", "Fails", "Data", "Licence", "Time", "AP"}


@pytest.mark.parametrize(
    "provenance", [None, "text", {"metrics": 3, "parent": "x", "images": "many"}, {}]
)
def test_details_of_a_file_that_says_nothing(store: Path, provenance: Any) -> None:
    start = tiny_checkpoint()
    config = {**start.config, "provenance": provenance}
    write_checkpoint(store / "odd.safetensors", Checkpoint(config, start.state))
    (found,) = (x for x in list_details() if x.name == "odd")
    assert (found.parent, found.images, found.after) == ("", 0, {})


def test_rename_takes_the_run_along(mine: Path) -> None:
    path = rename_model("mine", " yours ")
    assert path == model_path("yours")
    assert path.is_file()
    assert not mine.exists()
    assert (run_folder("yours") / "history.csv").is_file()
    assert not run_folder("mine").exists()


def test_delete_takes_the_run_along(mine: Path, store: Path) -> None:
    delete_model("mine")
    assert not any(store.iterdir())


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("act", [delete_model, lambda name: rename_model(name, "new")])
@pytest.mark.parametrize(
    ("name", "words"), [("nuclei", "comes with"), ("gone", "no model")]
)
def test_others_are_left_alone(act: Any, name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        act(name)
    assert {"mine", "nuclei"} <= names()


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    "name", ["", "  ", "mine", "Mine", "nuclei", "a/b", "a\\b", ".hidden", "dot.", "a?"]
)
def test_names_that_will_not_do(name: str) -> None:
    with pytest.raises(ValueError, match=r"name"):
        check_new_name(name)


def test_a_broken_file_keeps_its_name(store: Path) -> None:
    (store / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="already"):
        check_new_name("broken")


def test_free_names_count_up(store: Path) -> None:
    assert free_name("nuclei") == "nuclei-1"
    write_tiny(store, "nuclei-1")
    run_folder("nuclei-2").mkdir()
    assert free_name("nuclei") == free_name("nuclei-1") == "nuclei-3"
    assert free_name("my-cells") == "my-cells-1"


def test_export_copies_the_file(mine: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "copy.safetensors"
    target.parent.mkdir()
    assert list(export_model("mine", target))[-1] == mine.stat().st_size
    assert target.read_bytes() == mine.read_bytes()


def test_export_given_up_leaves_nothing(mine: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "copy.safetensors"
    target.parent.mkdir()
    work = export_model("mine", target)
    next(iter(work))
    work.close()  # type: ignore[attr-defined]
    assert not any(target.parent.iterdir())


def test_export_refuses_other_endings_and_itself(mine: Path) -> None:
    with pytest.raises(ValueError, match="must end in"):
        list(export_model("mine", mine.with_suffix(".pt")))
    with pytest.raises(ValueError, match="itself"):
        list(export_model("mine", mine))


def test_the_precision_of_a_file_is_found(store: Path) -> None:
    start = tiny_checkpoint()
    assert stored_dtype(start) == torch.float32
    path = store / "half.safetensors"
    write_checkpoint(path, start, dtype=torch.float16)
    assert stored_dtype(read_checkpoint(path)) == torch.float16
