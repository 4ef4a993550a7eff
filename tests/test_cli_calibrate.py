"""The command ``calibrate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_maskrcnn.core.checkpoints import read_checkpoint
from napari_maskrcnn.core.images import write_array
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def annotated(tmp_path: Path) -> tuple[Path, Path]:
    """Nuclei of which every other one is annotated."""
    folders = tmp_path / "images", tmp_path / "labels"
    for folder in folders:
        folder.mkdir()
    for seed in range(2):
        image, labels = nuclei_field((256, 256), seed=seed)
        write_array(folders[0] / f"{seed}.png", image)
        write_array(folders[1] / f"{seed}.tif", np.where(labels % 2, labels, 0))
    return folders


def test_a_calibrated_model_is_written(
    annotated: tuple[Path, Path],
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_maskrcnn.core.calibrating.MIN_FINDS", 10)
    out = tmp_path / "mine.safetensors"
    code, text, errors = run("calibrate", *annotated, "--out", out, "--device", "cpu")
    assert code == 0, errors
    assert "2 annotated images" in text
    assert "before: AP 0." in text
    assert f"Wrote {out}" in text
    made = read_checkpoint(out)
    assert made.calibration is not None
    assert f"score threshold {made.score_threshold:g}" in text.partition("after")[2]
    # Stored as the model that it came from, so that encodings hold for both.
    first = tmp_path / "again.safetensors"
    again = ("calibrate", *annotated, "--out", first, "--model", out)
    code, _, errors = run(*again, "--device", "cpu")
    assert code == 0, errors
    assert read_checkpoint(first).trunk_id == made.trunk_id
    code, _, errors = run("calibrate", *annotated, "--out", out, "--model", out)
    assert code == 1
    assert "--out is the model to start from, mine.safetensors" in errors
    # The calibration that it had is not calibrated once more.
    assert read_checkpoint(first).calibration == made.calibration


def test_what_cannot_be_calibrated_is_said_in_one_line(
    annotated: tuple[Path, Path], tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "mine.safetensors"
    code, _, errors = run("calibrate", *annotated, "--out", out, "--device", "cpu")
    assert code == 1
    assert "a calibration needs 200 right and 200 wrong ones" in errors
    assert len(errors.splitlines()) == 1
    assert not out.exists()
    wrong = ("calibrate", *annotated, "--out", tmp_path / "mine.pt")
    code, _, errors = run(*wrong)
    assert code == 1
    assert "--out must end in .safetensors, got 'mine.pt'" in errors
