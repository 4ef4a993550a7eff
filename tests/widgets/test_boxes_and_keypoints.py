"""Networks without masks through the real buttons: segment, filter, correct, export."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from qtpy.QtCore import Qt
from torchvision.models.detection import FasterRCNN, KeypointRCNN
from torchvision.models.detection.keypoint_rcnn import (
    KeypointRCNNHeads,
    KeypointRCNNPredictor,
)
from torchvision.ops import MultiScaleRoIAlign
from widget_helpers import open_widget

from napari_maskrcnn.core.architectures import ARCHITECTURES, build, small_fpn
from napari_maskrcnn.core.checkpoints import Checkpoint, write_checkpoint
from napari_maskrcnn.viewer.export_jobs import export_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.widgets.segment import SegmentWidget

TIMEOUT = 60_000
CHANNELS, LEVELS = 16, ["0", "1"]
KEYPOINTS = {"names": ["head", "neck", "hand"], "bones": [[0, 1], [1, 2]]}


def tiny_boxes(num_classes: int, **arguments: Any) -> FasterRCNN:
    """Build a Faster R-CNN on the starter's trunk: small enough to run at once."""
    return _tiny(FasterRCNN, num_classes, **arguments)


def tiny_keypoints(num_classes: int, **arguments: Any) -> KeypointRCNN:
    """Build a Keypoint R-CNN on the same trunk."""
    return _tiny(
        KeypointRCNN,
        num_classes,
        keypoint_roi_pool=MultiScaleRoIAlign(LEVELS, 14, 2),
        keypoint_head=KeypointRCNNHeads(CHANNELS, (CHANNELS,)),
        keypoint_predictor=KeypointRCNNPredictor(CHANNELS, len(KEYPOINTS["names"])),
    )


def _tiny(network: Any, num_classes: int, **arguments: Any) -> Any:
    arguments.pop("num_keypoints", None)
    small = small_fpn(
        num_classes, stages=2, channels=CHANNELS, anchor_sizes=(16, 32, 64)
    )
    return network(
        small.backbone,
        num_classes,
        rpn_anchor_generator=small.rpn.anchor_generator,
        box_roi_pool=MultiScaleRoIAlign(LEVELS, 7, 2),
        **arguments,
    )


def checkpoint(name: str, class_names: list[str], **more: Any) -> Checkpoint:
    """Return a network of random weights whose scores differ."""
    torch.manual_seed(1)
    network = build(name, len(class_names) + 1, {})
    with torch.no_grad():
        network.rpn.head.cls_logits.weight *= 1000
        network.roi_heads.box_predictor.cls_score.weight *= 30
        network.roi_heads.box_predictor.cls_score.bias[1:] += 1
    config = {
        "architecture": {"name": name, "arguments": {}},
        "class_names": class_names,
        "image_size": [160, 200],
        "description": "Random weights",
        **more,
    }
    return Checkpoint(config, network.state_dict())


@pytest.fixture(autouse=True)
def two_models(
    tmp_path: Path, junk_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make the two networks by their real names, in a tiny size."""
    boxes, keypoints = "fasterrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn"
    monkeypatch.setitem(ARCHITECTURES, boxes, tiny_boxes)
    monkeypatch.setitem(ARCHITECTURES, keypoints, tiny_keypoints)
    folder = tmp_path / "models"
    folder.mkdir()
    write_checkpoint(folder / "boxes.safetensors", checkpoint(boxes, ["cat", "dog"]))
    write_checkpoint(
        folder / "keypoints.safetensors",
        checkpoint(keypoints, ["person"], keypoints=KEYPOINTS),
    )
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(folder))


@pytest.fixture
def widget(viewer: Any, qtbot: QtBot, field: NDArray[np.uint16]) -> Iterator[Any]:
    viewer.add_image(field, name="street")
    _, widget = open_widget(viewer)
    session = widget.session
    yield widget
    session.cancel()
    export_jobs(session).cancel()
    qtbot.waitUntil(lambda: session.jobs._leaving is None, timeout=20_000)
    session.release()


def click(qtbot: QtBot, button: Any) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def segment(qtbot: QtBot, widget: SegmentWidget, model: str) -> None:
    widget.model_box.choose(model)
    widget.score_slider.set_value(0.05)
    click(qtbot, widget.run_button)
    qtbot.waitUntil(lambda: not widget.session.jobs.running, timeout=TIMEOUT)
    assert widget.status.level != "error", widget.status.text()


def dock(viewer: Any, name: str) -> Any:
    return viewer.window.add_plugin_dock_widget("napari-maskrcnn", name)[1]


def wait_for_words(qtbot: QtBot, widget: Any, words: str) -> None:
    qtbot.waitUntil(lambda: widget.status.text().startswith(words), timeout=TIMEOUT)


def export(viewer: Any, qtbot: QtBot, path: Path) -> dict[str, Any]:
    """Write what is open with the Export COCO widget, and return the document."""
    exporting = dock(viewer, "Export COCO")
    exporting.form.file_edit.setText(str(path))
    click(qtbot, exporting.export_button)
    qtbot.waitUntil(lambda: exporting.heading.text() == "Written", timeout=TIMEOUT)
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_boxes_from_segment_to_export(
    viewer: Any, widget: SegmentWidget, qtbot: QtBot, tmp_path: Path
) -> None:
    segment(qtbot, widget, "boxes")
    layer = viewer.layers["street boxes"]
    found = len(layer.data)
    assert found > 3
    assert widget.count_label.text() == f"{found} objects"
    assert not widget.mask_slider.isEnabled()
    # A slider, without the network.
    scores = np.sort(layer.features["score"])
    widget.score_slider.move_to(float(scores[-3]) - 0.01)
    widget.session.commit()
    fewer = len(layer.data)
    assert 3 <= fewer < found
    assert widget.count_label.text() == f"{fewer} objects"
    assert not widget.session.jobs.running
    # What a person deletes and draws stays through another run.
    layer.selected_data = {0}
    layer.remove_selected()
    layer.add_rectangles(np.array([[-0.5, -0.5], [9.5, 4.5]]))
    click(qtbot, widget.run_button)
    qtbot.waitUntil(lambda: not widget.session.jobs.running, timeout=TIMEOUT)
    assert len(layer.data) == fewer
    document = export(viewer, qtbot, tmp_path / "a.coco.json")
    rows = document["annotations"]
    assert len(rows) == fewer
    assert all(row["segmentation"] == [] for row in rows)
    assert [0, 0, 5, 10] in [row["bbox"] for row in rows]
    assert [row["name"] for row in document["categories"]][:2] == ["cat", "dog"]


def test_keypoints_from_segment_to_export(
    viewer: Any, widget: SegmentWidget, qtbot: QtBot, tmp_path: Path
) -> None:
    segment(qtbot, widget, "keypoints")
    boxes, points = viewer.layers["street boxes"], viewer.layers["street keypoints"]
    assert len(points.data) == 3 * len(boxes.data) > 0
    count = len(boxes.data)
    document = export(viewer, qtbot, tmp_path / "a.coco.json")
    assert len(document["annotations"]) == count
    person = document["categories"][0]
    assert person["keypoints"] == KEYPOINTS["names"]
    assert person["skeleton"] == [[1, 2], [2, 3]]
    first = document["annotations"][0]
    assert first["keypoints"][:2] == pytest.approx(points.data[0][::-1], abs=0.01)


def test_widgets_for_masks_say_where_boxes_are_corrected(
    viewer: Any, widget: SegmentWidget, qtbot: QtBot
) -> None:
    segment(qtbot, widget, "keypoints")
    where = (
        'Boxes in the Shapes layer "street boxes" and keypoints in the Points layer '
        '"street keypoints" are corrected with napari\'s own tools'
    )
    for name in ("Review", "Edit"):
        wait_for_words(qtbot, dock(viewer, name), f"{name} works on masks. {where}")
    prompt = dock(viewer, "Prompt")
    wait_for_words(qtbot, prompt, f"Prompts draw masks. {where}")
    prompt.model_box.choose("keypoints")
    click(qtbot, prompt.box_button)
    prompt.tool.prompt_in([10, 10], [40, 40])
    qtbot.waitUntil(lambda: not prompt.tool.jobs.running, timeout=TIMEOUT)
    assert "choose a model that gives masks" in prompt.status.text()
    tuning = dock(viewer, "Fine-tune")
    wait_for_words(qtbot, tuning, "Boxes and keypoints without masks teach nothing yet")
