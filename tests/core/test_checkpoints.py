"""Checkpoint files: round trips, what is refused, and models by name."""

from __future__ import annotations

import json
import os
import pickle
import stat
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

from napari_maskrcnn.core.checkpoints import (
    FORMAT,
    Checkpoint,
    read_checkpoint,
    read_config,
    write_checkpoint,
)
from napari_maskrcnn.core.detector import load_model
from napari_maskrcnn.core.foreign import read_weights
from napari_maskrcnn.core.model_list import (
    add_model,
    find_model,
    list_models,
    models_folder,
)
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def file(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    path = tmp_path / "own.safetensors"
    write_checkpoint(path, checkpoint)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of models, not made yet."""
    folder = tmp_path / "new" / "models"
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(folder))
    return folder


def header_of(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length])


def with_config(path: Path, config: Any) -> Path:
    """Replace the configuration of a file, in place."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["config"] = json.dumps(config)
    changed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + length :])
    return path


# ------------------------------------------------------------------ round trips


def test_a_checkpoint_comes_back(file: Path, checkpoint: Checkpoint) -> None:
    back = read_checkpoint(file)
    assert back.config == {"format": FORMAT, **checkpoint.config}
    assert back.state.keys() == checkpoint.state.keys()
    for key, value in checkpoint.state.items():
        assert back.state[key].dtype == value.dtype
        assert torch.equal(back.state[key], value)
    again = back.build()
    assert not again.training
    for key, value in again.state_dict().items():
        assert torch.equal(value, checkpoint.state[key])


def test_half_precision_halves_the_file(
    tmp_path: Path, file: Path, checkpoint: Checkpoint
) -> None:
    half = tmp_path / "half.safetensors"
    write_checkpoint(half, checkpoint, dtype=torch.float16)
    assert half.stat().st_size < 0.55 * file.stat().st_size
    back = read_checkpoint(half)
    for key, value in checkpoint.state.items():
        # Running statistics overflow float16, and counters are integers.
        kept = "running_" in key or not value.is_floating_point()
        assert back.state[key].dtype == (value.dtype if kept else torch.float16)
        assert torch.equal(back.state[key], value.to(back.state[key].dtype))
    assert next(back.build().parameters()).dtype == torch.float32


def test_a_checkpoint_can_be_written_over_itself(file: Path) -> None:
    before = file.read_bytes()
    write_checkpoint(file, read_checkpoint(file))
    assert file.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o007])
def test_permissions_follow_the_umask(
    tmp_path: Path, checkpoint: Checkpoint, umask: int
) -> None:
    path = tmp_path / "a.safetensors"
    before = os.umask(umask)
    try:
        write_checkpoint(path, checkpoint)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_write_that_fails_leaves_the_old_file(
    file: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()

    def full(path: Path, content: bytes) -> None:
        with path.open("wb") as stream:
            stream.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no room left on the disk"):
        write_checkpoint(file, replace(checkpoint, config={"format": "no"}))
    assert file.read_bytes() == before
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_another_ending_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    with pytest.raises(ValueError, match=r"must end in \.safetensors, got 'a\.pt'"):
        write_checkpoint(tmp_path / "a.pt", checkpoint)


def test_the_configuration_is_read_without_torch(
    file: Path, run_python: Callable[..., Any]
) -> None:
    done = run_python(
        "import sys\n"
        "from napari_maskrcnn.core.checkpoints import read_config\n"
        "from napari_maskrcnn.core.model_list import list_models\n"
        "print(read_config(sys.argv[1])['class_names'])\n"
        "list_models()\n"
        "print('torch' in sys.modules, 'safetensors' in sys.modules)\n",
        str(file),
    )
    assert done.stdout.split("\n")[:2] == ["['disc', 'ring']", "False False"], done


# ------------------------------------------------------------------ refused files


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        b"just a text that is long enough for a header",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"\xff\xfe\x00\x00",
        struct.pack("<Q", 20_000) + b"[" * 20_000,
        struct.pack("<Q", 36) + b'{"__metadata__": {"config": "[1,2]"}}'[:36] + b"}",
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "junk.safetensors"
    path.write_bytes(content)
    for read in (read_config, read_checkpoint):
        with pytest.raises(ValueError, match=r"junk\.safetensors is not a checkpoint"):
            read(path)


def test_a_safetensors_file_of_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"foreign\.safetensors is not a checkpoint"):
        read_checkpoint(path)


def test_a_truncated_file_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"own\.safetensors is damaged"):
        read_checkpoint(file)


def test_another_format_is_refused(file: Path) -> None:
    config = json.loads(header_of(file)["__metadata__"]["config"])
    with_config(file, {**config, "format": "napari-maskrcnn/9"})
    with pytest.raises(ValueError, match="'napari-maskrcnn/9'; this version reads"):
        read_config(file)


@pytest.mark.parametrize("key", ["architecture", "class_names", "object_size"])
def test_a_configuration_that_lacks_a_key_is_refused(file: Path, key: str) -> None:
    config = json.loads(header_of(file)["__metadata__"]["config"])
    del config[key]
    with_config(file, config)
    with pytest.raises(ValueError, match=f"own.safetensors lacks '{key}'"):
        read_config(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": ["one"]}, "do not fit"),
        ({"class_names": []}, "class_names"),
        ({"class_names": "disc"}, "class_names"),
        ({"architecture": {"name": "yolo", "arguments": {}}}, "unknown architecture"),
        ({"architecture": {"name": "small_fpn", "arguments": {"wings": 2}}}, "wings"),
        ({"architecture": {"name": "small_fpn", "arguments": {}}}, "do not fit"),
        ({"architecture": "small_fpn"}, "architecture"),
        ({"object_size": "large"}, "object_size"),
        ({"object_size": 0}, "object_size"),
        ({"score_threshold": 7}, "score_threshold .* from 0 to 1, got 7"),
        ({"score_threshold": None}, "score_threshold"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    file: Path, change: dict[str, Any], message: str
) -> None:
    config = json.loads(header_of(file)["__metadata__"]["config"])
    with_config(file, {**config, **change})
    with pytest.raises(ValueError, match=message) as error:
        load_model(file, "cpu")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such checkpoint: .*none"):
        read_checkpoint(tmp_path / "none.safetensors")


# ------------------------------------------------------------------ foreign weights


class Bomb:
    """A pickle that runs code when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_weights_of_others_are_read(tmp_path: Path) -> None:
    state = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    for name, content in (("plain", state), ("nested", {"model": state, "epoch": 3})):
        torch.save(content, tmp_path / f"{name}.pth")
        back = read_weights(tmp_path / f"{name}.pth")
        assert back.keys() == state.keys()
        assert torch.equal(back["a"], state["a"])


def test_code_in_weights_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for name, write in (
        ("torch.pth", lambda path: torch.save({"a": Bomb(mark)}, path)),
        ("plain.pth", lambda path: path.write_bytes(pickle.dumps(Bomb(mark)))),
    ):
        write(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name} holds more than weights"):
            read_weights(tmp_path / name)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04broken"])
def test_damaged_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pth"):
        read_weights(path)


def test_weights_must_be_a_dictionary_of_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    for content in ([torch.zeros(2)], {"a": 3}):
        torch.save(content, path)
        with pytest.raises(ValueError, match=r"a\.pth is not a dictionary of tensors"):
            read_weights(path)


def test_a_model_may_have_its_own_thresholds(file: Path, folder: Path) -> None:
    config = json.loads(header_of(file)["__metadata__"]["config"])
    with_config(file, {**config, "score_threshold": 0.7, "nms_threshold": 0.4})
    add_model(file, "mine")
    (entry,) = [entry for entry in list_models() if entry.name == "mine"]
    assert (entry.score_threshold, entry.nms_threshold) == (0.7, 0.4)
    detector = load_model("mine", "cpu")
    found = detector.detect(nuclei_field((96, 96), 12)[0], object_size=24)
    assert (found.score_threshold, found.nms_threshold) == (0.7, 0.4)
    shown = Recipe(nms_threshold=0.5).apply(found)
    assert len(shown) == (found.scores >= 0.7).sum() < len(found)


def test_models_of_photographs_let_objects_overlap() -> None:
    usual = {entry.name: entry.nms_threshold for entry in list_models()}
    assert usual["nuclei"] == 0.2
    assert usual["maskrcnn_resnet50_fpn"] == 0.5


# ------------------------------------------------------------------ models by name


def test_a_model_can_be_added_and_found(file: Path, folder: Path) -> None:
    assert folder not in [entry.path.parent for entry in list_models()]
    path = add_model(file, "mine")
    assert path == folder / "mine.safetensors"
    (entry,) = [entry for entry in list_models() if entry.name == "mine"]
    assert entry.class_names == ("disc", "ring")
    assert entry.description == "Random weights"
    assert not entry.bundled
    assert entry.score_threshold == 0.5
    assert find_model("mine") == path
    assert find_model(file) == file
    assert add_model(file).name == file.name


def test_a_taken_or_impossible_name_is_refused(file: Path, folder: Path) -> None:
    add_model(file, "mine")
    for name in ("mine", "a/b", "../up", "..", "."):
        with pytest.raises(ValueError, match="taken or not a file name"):
            add_model(file, name)
    assert [entry.name for entry in folder.iterdir()] == ["mine.safetensors"]


def test_only_a_checkpoint_can_be_added(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_text("not a checkpoint")
    with pytest.raises(ValueError, match=r"a\.safetensors is not a checkpoint"):
        add_model(path)
    assert not folder.exists()


def test_a_broken_file_does_not_break_the_list(file: Path, folder: Path) -> None:
    add_model(file, "mine")
    (folder / "broken.safetensors").write_bytes(b"junk")
    names = [entry.name for entry in list_models()]
    assert "mine" in names
    assert "broken" not in names


def test_an_unknown_model_names_the_known_ones(file: Path, folder: Path) -> None:
    add_model(file, "mine")
    with pytest.raises(ValueError, match=r"no model named 'nukleus' .* known .*mine"):
        find_model("nukleus")


def test_the_folder_can_be_moved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models_folder() == folder
    monkeypatch.delenv("NAPARI_MASKRCNN_MODELS")
    assert models_folder().is_absolute()
