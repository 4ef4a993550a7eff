"""Every network by name: segment, review, fine-tune and export, by the same buttons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from qtpy.QtCore import Qt

from napari_maskrcnn.core.architectures import ARCHITECTURES, build
from napari_maskrcnn.core.checkpoints import (
    Checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from napari_maskrcnn.core.coco import read_coco
from napari_maskrcnn.core.fine_tuning.config import FineTuneConfig
from napari_maskrcnn.core.kinds import output_kind
from napari_maskrcnn.core.model_store import model_path
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.viewer.export_jobs import export_jobs
from napari_maskrcnn.viewer.fine_tuning import fine_tuning_of
from napari_maskrcnn.viewer.session import session_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari.layers import Labels, Points, Shapes
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

TIMEOUT = 120_000
SIDE = 96
KEYPOINTS = {"names": ["head", "neck", "hand"], "bones": [[0, 1], [1, 2]]}
# Of the real networks, what makes them quick on a small image.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "maskrcnn_resnet50_c4": {"norm": "group", "proposals": 20},
    "keypointrcnn_resnet50_fpn": {"norm": "group", "num_keypoints": 3},
    "maskrcnn_resnet50_fpn_v2": {},
    "fasterrcnn_resnet50_fpn_v2": {},
    "small_fpn": {},
}
SHORT = FineTuneConfig(
    batch_size=1,
    crop=SIDE,
    warm_up=1,
    save_every=2,
    validate_every=2,
    held_out=0.5,
    cache_views=1,
    precision="float32",
)


def random_model(name: str, folder: Path) -> None:
    """Write a network of random weights, real in all but its boldness."""
    torch.manual_seed(0)
    arguments = ARGUMENTS.get(name, {"norm": "group"})
    if output_kind(name) != "keypoints":
        arguments = {**arguments, "rois_per_image": 16}
    class_names = ["person", "dog"]
    network = build(name, len(class_names) + 1, arguments)
    with torch.no_grad():
        # Not of one mind about all that it sees, so that some of it counts. Each mask
        # takes time, and a person will paint some.
        network.rpn.head.cls_logits.weight *= 100
        network.roi_heads.box_predictor.cls_score.weight *= 30
        shy = output_kind(name) == "masks"
        network.roi_heads.box_predictor.cls_score.bias[0 if shy else 1] += 2
    config = {
        "architecture": {"name": name, "arguments": arguments},
        "class_names": class_names,
        "image_size": [SIDE, SIDE],
    }
    if output_kind(name) == "keypoints":
        config["keypoints"] = KEYPOINTS
    path = folder / "model.safetensors"
    write_checkpoint(path, Checkpoint(config, network.state_dict()))


@pytest.fixture(params=sorted(ARCHITECTURES))
def name(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(folder))
    random_model(request.param, folder)
    found: str = request.param
    return found


@pytest.fixture
def street(viewer: Any, name: str, qtbot: QtBot) -> Iterator[Any]:
    """A photograph in the viewer."""
    session = session_of(viewer)
    yield viewer.add_image(photograph(0), name="street")
    session.cancel()
    export_jobs(session).cancel()
    fine_tuning_of(session).cancel()
    for jobs in (session.jobs, fine_tuning_of(session).jobs, export_jobs(session)):
        qtbot.waitUntil(lambda jobs=jobs: jobs._leaving is None, timeout=TIMEOUT)
    session.release()


def photograph(seed: int) -> NDArray[np.uint8]:
    grey = nuclei_field((SIDE, SIDE), 8, seed=seed)[0]
    colours = grey[..., None] / grey.max() * (250, 160, 90)
    return colours.astype(np.uint8)


def click(qtbot: QtBot, button: Any) -> None:
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def dock(viewer: Any, name: str) -> Any:
    return viewer.window.add_plugin_dock_widget("napari-maskrcnn", name)[1]


def segment(
    viewer: Any, qtbot: QtBot, model: str = "model", image: str = "street"
) -> Any:
    widget = dock(viewer, "Segment")
    widget.image_box.setCurrentText(image)
    widget.model_box.choose(model)
    widget.score_slider.set_value(0.05)
    click(qtbot, widget.run_button)
    qtbot.waitUntil(lambda: not widget.session.jobs.running, timeout=TIMEOUT)
    assert widget.status.level != "error", widget.status.text()
    return widget


def review(viewer: Any, qtbot: QtBot) -> Labels:
    """Paint what was not found, approve the first object, then the whole image."""
    widget = dock(viewer, "Review")
    layer = widget.layer()
    for corner in (4, 40, 70):
        square = np.mgrid[corner : corner + 14, corner : corner + 14].reshape(2, -1)
        layer.data_setitem(tuple(square), layer.data.max() + 1)
    qtbot.waitUntil(lambda: widget.model.rowCount() >= 3, timeout=TIMEOUT)
    click(qtbot, widget.decide_bar.approve_button)
    click(qtbot, widget.decide_bar.plane_button)
    labels: Labels = layer
    assert "left" not in widget.list.progress_bar.format()
    return labels


def fine_tune(viewer: Any, qtbot: QtBot) -> Any:
    """Check, start, and use what comes out."""
    widget = dock(viewer, "Fine-tune")
    widget.sources.class_box.setEditText("person")
    widget.form.model_box.choose("model")
    widget.form.base = SHORT
    widget.form.unit_box.setCurrentText("steps")
    widget.form.length_box.setValue(2)
    for _ in ("check", "start"):
        click(qtbot, widget.run_button)
        qtbot.waitUntil(lambda: not widget.tuning.jobs.running, timeout=TIMEOUT)
        assert widget.status.level != "error", widget.status.text()
    assert widget.tuning.outcome.steps == 2
    click(qtbot, widget.result.use_button)
    qtbot.waitUntil(lambda: not widget.tuning.jobs.running, timeout=TIMEOUT)
    return widget


def export(viewer: Any, qtbot: QtBot, path: Path) -> dict[str, Any]:
    widget = dock(viewer, "Export COCO")
    widget.form.file_edit.setText(str(path))
    qtbot.waitUntil(widget.export_button.isEnabled, timeout=TIMEOUT)
    click(qtbot, widget.export_button)
    qtbot.waitUntil(lambda: widget.heading.text() == "Written", timeout=TIMEOUT)
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_the_whole_way(
    name: str, viewer: Any, street: Any, qtbot: QtBot, tmp_path: Path
) -> None:
    segment(viewer, qtbot)
    path = tmp_path / "street.coco.json"
    if output_kind(name) == "masks":
        masks_all_the_way(name, viewer, qtbot, path)
    else:
        drawn_all_the_way(name, viewer, qtbot, path)


def masks_all_the_way(name: str, viewer: Any, qtbot: QtBot, path: Path) -> None:
    labels = review(viewer, qtbot)
    objects = np.unique(labels.data[labels.data > 0])
    assert objects.size >= 3
    fine_tune(viewer, qtbot)
    tuned = read_checkpoint(model_path("model-1"))
    assert tuned.config["architecture"]["name"] == name
    assert tuned.config["provenance"]["parent"]
    document = export(viewer, qtbot, path)
    # An object that others cover wholly is exported as well.
    assert len(document["annotations"]) >= objects.size
    # What was painted has no class yet.
    assert {row["name"] for row in document["categories"]} <= {
        "person", "dog", "object",
    }  # fmt: skip
    (image,) = read_coco(path).images
    np.testing.assert_array_equal(image.to_label_image() > 0, labels.data > 0)
    # The new model is one of those to segment with.
    viewer.add_image(photograph(1), name="next")
    widget = segment(viewer, qtbot, "model-1", "next")
    assert widget.session.loaded.detector.name == "model-1"
    assert widget.session.results.record_of(viewer.layers["next"]) is not None
    assert widget.status.level != "error"


def drawn_all_the_way(name: str, viewer: Any, qtbot: QtBot, path: Path) -> None:
    boxes: Shapes = viewer.layers["street boxes"]
    count = len(boxes.data)
    assert count > 1
    # A person's correction: one box too many.
    boxes.selected_data = {0}
    boxes.remove_selected()
    widget = dock(viewer, "Review")
    qtbot.waitUntil(lambda: "works on masks" in widget.status.text(), timeout=TIMEOUT)
    document = export(viewer, qtbot, path)
    assert len(document["annotations"]) == count - 1
    for row, box in zip(document["annotations"], boxes.data, strict=True):
        corner = box.min(axis=0) + 0.5
        assert row["bbox"][:2] == pytest.approx(corner[::-1], abs=0.02)
    if output_kind(name) == "keypoints":
        points: Points = viewer.layers["street keypoints"]
        assert document["categories"][0]["keypoints"] == KEYPOINTS["names"]
        assert len(points.data) >= 3 * (count - 1)
        widget = dock(viewer, "Fine-tune")
        words = "Boxes and keypoints without masks teach nothing yet"
        qtbot.waitUntil(lambda: widget.status.text().startswith(words), timeout=TIMEOUT)
        return
    # Boxes are learnt from objects that are drawn.
    viewer.layers.select_all()
    viewer.layers.remove_selected()
    image, label_image = photograph(2), nuclei_field((SIDE, SIDE), 8, seed=2)[1]
    viewer.add_image(image, name="field")
    viewer.add_labels(label_image, name="field objects")
    fine_tune(viewer, qtbot)
    tuned = read_checkpoint(model_path("model-1"))
    assert tuned.output_kind == "boxes"
    segment(viewer, qtbot, "model-1", "field")
    assert "field boxes" in viewer.layers
