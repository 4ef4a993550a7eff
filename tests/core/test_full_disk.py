"""Every file on a disk without room: the old one stays, and the message says why.

The temporary file is a link to ``/dev/full``, which refuses whatever is written to it.
"""

from __future__ import annotations

import errno
import gc
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tiny_network import tiny_checkpoint

from napari_maskrcnn.core.atomic import replacing
from napari_maskrcnn.core.batch import write_objects
from napari_maskrcnn.core.checkpoints import write_checkpoint
from napari_maskrcnn.core.coco.json_file import write_json
from napari_maskrcnn.core.corrections import (
    Corrections,
    ImageIdentity,
    SavedPlane,
    Summary,
)
from napari_maskrcnn.core.fine_tuning.state import write_history
from napari_maskrcnn.core.images import write_array
from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.core.recovery import write_corrections
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.core.stacks import write_frames, write_label_stack
from napari_maskrcnn.core.training_state import write_state, write_text
from napari_maskrcnn.core.words import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason=f"there is no {FULL}")

IMAGE, LABELS = nuclei_field((64, 64), 5)


def objects() -> Instances:
    return Instances.from_label_image(LABELS)


def corrections() -> Corrections:
    image = ImageIdentity("/data/a.tif", LABELS.shape, "uint16", "0123456789abcdef")
    summary = Summary(image, "a", datetime(2026, 3, 4, tzinfo=UTC), 1, 0, 0, {})
    plane = SavedPlane((0, 1), (), LABELS, (1,), 0, LABELS == 1)
    return Corrections(summary, (plane,))


WRITERS: dict[str, Callable[[Path], Any]] = {
    "model.safetensors": lambda path: write_checkpoint(path, tiny_checkpoint()),
    "state.pt": lambda path: write_state(path, {"weights": torch.zeros(100_000)}),
    "history.csv": lambda path: write_history(path, [{"step": 1, "seconds": 2.0}]),
    "config.json": lambda path: write_text(path, "{}"),
    "recipe.json": lambda path: Recipe().write(path),
    "a.coco.json": lambda path: write_json(path, {"images": []}),
    "a.npz": lambda path: write_corrections(path, corrections()),
    "a.tif": lambda path: write_array(path, IMAGE),
    "a.png": lambda path: write_array(path, IMAGE),
    "a_objects.csv": lambda path: write_objects(path, objects()),
    "a_frames.csv": lambda path: write_frames(path, [objects()]),
    "a_labels.tif": lambda path: write_label_stack(path, [objects()]),
}


# imageio complains once more when what it could not write is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("as it was")
    ending = path.suffix if path.suffix in (".npz", ".tif", ".png") else ""
    path.with_name(f".{name}.part{ending}").symlink_to(FULL)
    with pytest.raises(OSError, match="no room left on the disk") as caught:
        WRITERS[name](path)
    assert caught.value.errno == errno.ENOSPC
    assert one_line(caught.value) == f"there is no room left on the disk: {path}"
    assert path.read_text() == "as it was"
    gc.collect()
    assert list(tmp_path.iterdir()) == [path]


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="positions"),
        replacing(tmp_path / "a"),
    ):
        raise RuntimeError("positions")
    with (
        pytest.raises(FileNotFoundError) as caught,
        replacing(tmp_path / "nowhere" / "a") as temporary,
    ):
        temporary.write_text("")
    assert one_line(caught.value).startswith(os.strerror(errno.ENOENT) + ": ")
    assert not list(tmp_path.iterdir())
