"""The command fine-tune: from folders or COCO to a model that segments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tiny_network import write_tiny

from napari_maskrcnn.core.checkpoints import read_checkpoint, read_config
from napari_maskrcnn.core.coco.convert import labels_to_coco
from napari_maskrcnn.core.images import write_array
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

SETTINGS = {
    "batch_size": 1,
    "crop": 64,
    "validate_every": 2,
    "cache_views": 2,
    "precision": "float32",
}


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of models of each test's own, with the tiny network."""
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(tmp_path / "models"))
    write_tiny(tmp_path / "models")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Images, label images, and a configuration for a quick run."""
    pictures, labels = tmp_path / "pictures", tmp_path / "labels"
    for folder in (pictures, labels):
        folder.mkdir()
    for seed in range(3):
        image, label_image = nuclei_field((80, 96), 10, seed=seed)
        write_array(pictures / f"{seed}.png", image)
        write_array(labels / f"{seed}.tif", label_image)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(SETTINGS))
    return pictures, labels, config


def test_fine_tune_then_segment(
    tmp_path: Path, run: Run, folders: tuple[Path, Path, Path]
) -> None:
    pictures, labels, config = folders
    out = tmp_path / "mine.safetensors"
    command = (
        "fine-tune", pictures, labels, "--model", "tiny", "--out", out, "--config",
        config, "--class", "ring", "--steps", 2, "--seed", 4, "--device", "cpu",
    )  # fmt: skip
    code, text, errors = run(*command)
    assert code == 0, errors
    assert "Learns from " in text
    assert "Held out to measure with" in text
    assert "before   after" in text
    assert "AP at IoU 0.5 " in text
    assert f"Wrote {out}" in text
    written = read_config(out)
    assert written["class_names"] == ["disc", "ring"]
    assert written["provenance"]["parent"]["name"] == "tiny"
    assert written["provenance"]["fine_tuning"]["seed"] == 4
    # Run again, it finds itself finished and gives the same.
    first = read_checkpoint(out)
    code, text, errors = run(*command)
    assert code == 0, errors
    again = read_checkpoint(out)
    assert first.digest() == again.digest()
    results = tmp_path / "results"
    code, _, errors = run(
        "segment", pictures, "--out", results, "--model", out, "--device", "cpu",
        "--object-size", 20,
    )  # fmt: skip
    assert code == 0, errors


def test_fine_tune_on_a_coco_file(
    tmp_path: Path, run: Run, folders: tuple[Path, Path, Path]
) -> None:
    pictures, labels, config = folders
    coco = tmp_path / "labels.json"
    labels_to_coco(labels, coco, images=pictures)
    out = tmp_path / "mine.safetensors"
    code, text, errors = run(
        "fine-tune", pictures, coco, "--model", "tiny", "--out", out, "--config",
        config, "--steps", 1, "--train", "rpn", "--drop", "ring", "--device", "cpu",
        "--replay", pictures, coco,
    )  # fmt: skip
    assert code == 0, errors
    assert "Replays " in text
    assert "AP at IoU 0.5 (replay)" in text
    assert "New classes: object" in text
    assert read_config(out)["class_names"] == ["disc", "object"]


def test_fine_tune_refuses_in_one_line(
    tmp_path: Path, run: Run, folders: tuple[Path, Path, Path]
) -> None:
    pictures, labels, _ = folders
    out = tmp_path / "mine.safetensors"
    empty = tmp_path / "empty"
    empty.mkdir()
    for seed in range(3):
        write_array(empty / f"{seed}.tif", np.zeros((80, 96), np.uint16))
    nowhere, model = tmp_path / "no", tmp_path / "models" / "tiny.safetensors"
    common = ("--model", "tiny", "--device", "cpu", "--class", "disc")
    cases: list[tuple[tuple[Any, ...], str]] = [
        ((nowhere, labels, "--out", out), "is not a folder"),
        ((pictures, nowhere, "--out", out), "is not a folder"),
        ((pictures, labels, "--out", "mine.pt"), "must end in .safetensors"),
        ((pictures, labels, "--out", model), "--out is the model to start from"),
        ((pictures, empty, "--out", out), "none of the images holds a reviewed object"),
        ((pictures, labels, "--out", out, "--minutes", -1), "minutes must be positive"),
        ((pictures, labels, "--out", out, "--drop", "disc"), "is to be dropped, but"),
        ((pictures, labels, "--out", out, "--config", nowhere), "No such file"),
        ((pictures, labels, "--out", out, "--model", "nukleus"), "no model named"),
    ]
    for arguments, message in cases:
        code, _, errors = run("fine-tune", *arguments[:2], *common, *arguments[2:])
        assert code == 1, message
        assert message in errors
        assert len(errors.splitlines()) == 1
    code, _, errors = run(
        "fine-tune", pictures, labels, "--model", "tiny", "--out", out
    )
    assert code == 1
    assert "labels have no classes, and the model knows several (disc, ring)" in errors
    assert not out.exists()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("one", "there is only one object"),
        ("size", "0: the image is (80, 96) pixels but its labels are (40, 96)"),
        ("nan", "0: no pixel of the image is a number, all are NaN"),
        ("ids", "labels must be integers"),
    ],
)
def test_a_faulty_training_set_is_refused_before_the_first_step(
    tmp_path: Path, run: Run, fault: str, message: str
) -> None:
    pictures, labels = tmp_path / "one picture", tmp_path / "one label image"
    for folder in (pictures, labels):
        folder.mkdir()
    image, objects = nuclei_field((80, 96), 10)
    if fault == "one":
        objects[objects > 1] = 0
    elif fault == "size":
        objects = objects[:40]
    elif fault == "nan":
        image = np.full(image.shape, np.nan, np.float32)
    else:
        objects = objects / 2
    write_array(pictures / "0.tif", image)
    write_array(labels / "0.tif", objects)
    out = tmp_path / "mine.safetensors"
    code, _, errors = run(
        "fine-tune", pictures, labels, "--model", "tiny", "--out", out, "--class",
        "disc", "--device", "cpu",
    )  # fmt: skip
    assert code == 1
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert not out.exists()
    assert not out.with_suffix(".run").exists()


def test_classes_without_examples_are_told_of(
    tmp_path: Path, run: Run, folders: tuple[Path, Path, Path]
) -> None:
    pictures, labels, config = folders
    coco = tmp_path / "labels.json"
    labels_to_coco(labels, coco, images=pictures)
    found = json.loads(coco.read_text())
    found["categories"].append({"id": 99, "name": "cross"})
    coco.write_text(json.dumps(found))
    code, text, errors = run(
        "fine-tune", pictures, coco, "--model", "tiny", "--out",
        tmp_path / "mine.safetensors", "--config", config, "--steps", 1, "--device",
        "cpu",
    )  # fmt: skip
    assert code == 0, errors
    assert "No object has the class 'cross': it is left out" in text
    assert "There is no example of 'disc': the model may forget it" in text


def test_two_processes_give_what_one_gives(
    tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    """Torchrun on the same command, over gloo; equal but for rounding."""
    pictures, labels, config = folders
    config.write_text(json.dumps({**SETTINGS, "batch_size": 3}))
    write_tiny(tmp_path / "models")
    script = tmp_path / "command.py"
    script.write_text("from napari_maskrcnn.cli import main\n\nmain()\n")
    environment = {
        **os.environ,
        "NAPARI_MASKRCNN_MODELS": str(tmp_path / "models"),
        "OMP_NUM_THREADS": "1",
    }
    states = []
    for count in (1, 2):
        out = tmp_path / f"{count}.safetensors"
        done = subprocess.run(
            [
                sys.executable, "-m", "torch.distributed.run", "--standalone",
                f"--nproc-per-node={count}", str(script), "fine-tune", str(pictures),
                str(labels), "--model", "tiny", "--out", str(out), "--config",
                str(config), "--class", "disc", "--steps", "3", "--device", "cpu",
            ],
            env=environment, capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Learns from") == 1
        states.append(read_checkpoint(out).state)
    for key, value in states[0].items():
        assert torch.allclose(value, states[1][key], rtol=1e-3, atol=1e-5), key
