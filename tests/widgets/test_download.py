"""Models that are not there yet: offered, and downloaded by a click only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import catalogue

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog, QMessageBox
from tiny_network import tiny_checkpoint
from weights_server import NAME, WeightsServer, tiny_catalogue
from widget_helpers import open_widget

from napari_maskrcnn.core.catalogue import cache_folder
from napari_maskrcnn.core.checkpoints import write_checkpoint
from napari_maskrcnn.core.downloads import cached_path
from napari_maskrcnn.viewer.downloading import downloads_of
from napari_maskrcnn.viewer.features import class_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.widgets.models import ModelsWidget
    from napari_maskrcnn.widgets.segment import SegmentWidget

TIMEOUT = 60_000


def click(qtbot: QtBot, button: Any) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def wait(qtbot: QtBot, widget: Any) -> None:
    """Wait until nothing is downloaded any more, and its thread has ended."""
    jobs = downloads_of(widget.session).jobs
    qtbot.waitUntil(lambda: not jobs.running and not jobs._leaving, timeout=TIMEOUT)


@pytest.fixture(autouse=True)
def server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: None
) -> Iterator[WeightsServer]:
    with tiny_catalogue(tmp_path / "served", monkeypatch) as server:
        yield server


@pytest.fixture
def manager(viewer: Any, qtbot: QtBot) -> Iterator[ModelsWidget]:
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Manage models")
    widget.select(NAME)
    yield widget
    downloads_of(widget.session).cancel()
    wait(qtbot, widget)


def test_a_model_is_downloaded_by_its_button_only(
    viewer: Any,
    widget: SegmentWidget,
    qtbot: QtBot,
    server: WeightsServer,
    field: NDArray[np.uint16],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 800 would take the network ten seconds.
    monkeypatch.setattr(catalogue, "IMAGE_SIZE", (160, 320))
    viewer.add_image(field)
    row, box = widget.download_row, widget.model_box
    assert not row.isVisible()
    assert widget.size_row.isVisible()
    place = box.findData(NAME)
    assert box.itemText(place) == f"{NAME}  (download 3 MB)"
    heading = box.itemText(place - 1)
    assert "torchvision" in heading
    assert not box.model().item(place - 1).isEnabled()
    box.choose(NAME)
    assert row.isVisible()
    assert not widget.size_row.isVisible()
    assert widget.class_choice.isVisible()
    assert "is not on this computer yet (3 MB)" in row.label.text()
    click(qtbot, widget.run_button)
    assert widget.status.text() == f"{NAME} must be downloaded first"
    assert not widget.session.jobs.running
    assert server.asked == []
    box.choose("junk")
    assert not row.isVisible()
    assert not widget.class_choice.isVisible()
    box.choose(NAME)
    click(qtbot, row.button)
    wait(qtbot, widget)
    assert cached_path(NAME).is_file()
    assert not row.isVisible()
    assert widget.recipe().model == NAME
    assert widget.recipe().object_size is None
    assert box.currentText() == NAME
    click(qtbot, widget.run_button)
    qtbot.waitUntil(lambda: not widget.session.jobs.running, timeout=TIMEOUT)
    assert widget.status.text().startswith("Done in")
    assert set(widget.session.all_labels()[0].features["class"]) <= {"disc", "ring"}


def test_a_download_is_followed_and_cancelled(
    viewer: Any,
    widget: SegmentWidget,
    manager: ModelsWidget,
    qtbot: QtBot,
    server: WeightsServer,
) -> None:
    server.mode = "stall"
    widget.model_box.choose(NAME)
    row, other = widget.download_row, manager.download_row
    click(qtbot, row.button)
    bar = row.progress.bar
    qtbot.waitUntil(lambda: 0 < bar.value() < bar.maximum(), timeout=TIMEOUT)
    assert row.label.text().startswith(f"Downloading {NAME}: ")
    # Manage models shows the same download.
    assert other.progress.isVisibleTo(manager)
    assert not other.button.isVisibleTo(manager)
    click(qtbot, row.progress.cancel_button)
    assert row.button.isVisible()
    assert not row.progress.isVisible()
    jobs = downloads_of(widget.session).jobs
    qtbot.waitUntil(lambda: not jobs._leaving, timeout=1000)
    assert list(cache_folder().iterdir()) == []
    server.mode = "well"
    click(qtbot, row.button)
    wait(qtbot, widget)
    assert not row.isVisible()


def test_what_goes_wrong_is_said(
    widget: SegmentWidget, qtbot: QtBot, server: WeightsServer
) -> None:
    server.mode = "missing"
    widget.model_box.choose(NAME)
    click(qtbot, widget.download_row.button)
    wait(qtbot, widget)
    status = widget.download_row.status
    assert status.isVisible()
    assert status.level == "error"
    assert status.text().startswith("The server has no http://")
    assert widget.download_row.button.isEnabled()
    server.mode = "stall"
    click(qtbot, widget.download_row.button)
    assert not status.isVisible()
    click(qtbot, widget.download_row.progress.cancel_button)
    wait(qtbot, widget)


def test_manage_models_downloads_and_deletes(
    viewer: Any,
    manager: ModelsWidget,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, segment = open_widget(viewer)
    item = manager._item(NAME)
    texts = [item.text(column) for column in range(manager.table.columnCount())]
    assert texts[1:3] == ["disc, ring", "published by torchvision"]
    assert texts[4:6] == ["COCO", "box 12.5, mask 10"]
    assert texts[6].endswith("not downloaded")
    for absent in (manager.use_button, manager.delete_button, manager.export_button):
        assert not absent.isEnabled()
    click(qtbot, manager.download_row.button)
    wait(qtbot, manager)
    assert manager.selected() == NAME
    assert not manager.download_row.isVisibleTo(manager)
    assert "not downloaded" not in manager._item(NAME).text(6)
    assert segment.model_box.name() == NAME
    assert manager.use_button.isEnabled()
    assert not manager.rename_button.isEnabled()
    asked: list[str] = []

    def ask(_parent: Any, _title: str, text: str) -> Any:
        asked.append(text)
        return QMessageBox.StandardButton.Yes

    monkeypatch.setattr(QMessageBox, "question", ask)
    click(qtbot, manager.delete_button)
    assert "can be downloaded again" in asked[0]
    assert not cached_path(NAME).exists()
    assert "not downloaded" in manager._item(NAME).text(6)


def test_the_published_file_is_imported(
    manager: ModelsWidget,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    server: WeightsServer,
    tmp_path: Path,
) -> None:
    file = tmp_path / "fetched.pth"
    file.write_bytes(server.content)
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(file)], ""))
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("", True))
    click(qtbot, manager.import_button)
    qtbot.waitUntil(lambda: not manager.jobs.running, timeout=TIMEOUT)
    assert manager.status.text() == f"Imported {NAME}"
    assert cached_path(NAME).is_file()
    assert server.asked == []


def test_classes_are_chosen_before_and_after_the_run(
    viewer: Any,
    qtbot: QtBot,
    field: NDArray[np.uint16],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(tmp_path / "two"))
    checkpoint = tiny_checkpoint()
    # As it is, the network hardly sees a ring.
    checkpoint.state["roi_heads.box_predictor.cls_score.bias"][2] += 4
    (tmp_path / "two").mkdir()
    write_checkpoint(tmp_path / "two" / "tiny.safetensors", checkpoint)
    viewer.add_image(field, name="cells")
    _, widget = open_widget(viewer)
    widget.model_box.choose("tiny")
    widget.score_slider.move_to(0.05)
    choice = widget.class_choice
    qtbot.waitUntil(choice.isVisible)
    assert choice.button.text() == "All"
    assert not choice.list.isVisible()

    def tick(name: str) -> None:
        (item,) = choice.list.findItems(name, Qt.MatchFlag.MatchExactly)
        choice.list.scrollToItem(item)
        place = choice.list.visualItemRect(item)
        # The box stands at the left of the name.
        point = place.center()
        point.setX(place.left() + 9)
        qtbot.mouseClick(choice.list.viewport(), Qt.MouseButton.LeftButton, pos=point)

    click(qtbot, choice.button)
    assert choice.list.isVisible()
    tick("ring")
    assert widget.recipe().classes == ("ring",)
    assert choice.button.text() == "ring"
    click(qtbot, widget.run_button)
    session = widget.session
    qtbot.waitUntil(lambda: not session.jobs.running, timeout=TIMEOUT)
    (labels,) = session.all_labels()
    assert set(labels.features["class"]) == {"ring"}
    ring = len(labels.features)
    tick("disc")
    both = set(labels.features["class"])
    assert both == {"disc", "ring"}
    assert len(labels.features) > ring
    tick("ring")
    assert set(labels.features["class"]) == {"disc"}
    click(qtbot, choice.clear_button)
    assert choice.button.text() == "All"
    assert set(labels.features["class"]) == both
    assert class_names(labels) == []
    tick("ring")
    click(qtbot, widget.copy_button)
    assert "--classes ring" in QApplication.clipboard().text()
    # The starter knows no rings.
    widget.model_box.choose("nuclei")
    assert widget.recipe().classes == ()
    qtbot.waitUntil(lambda: session.jobs._leaving is None, timeout=TIMEOUT)
    session.release()
