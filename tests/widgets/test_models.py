"""Manage models, clicked in a real viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QMessageBox
from tiny_network import tiny_checkpoint
from widget_helpers import open_widget

from napari_maskrcnn.core.checkpoints import Checkpoint, write_checkpoint
from napari_maskrcnn.core.model_list import list_models

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.widgets.models import ModelsWidget


def click(qtbot: QtBot, button: Any) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def wait(qtbot: QtBot, widget: ModelsWidget) -> None:
    qtbot.waitUntil(lambda: not widget.jobs.running, timeout=60_000)


def names() -> list[str]:
    return [entry.name for entry in list_models()]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: None) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    start = tiny_checkpoint()
    source = {
        "date": "2026-03-01T10:00:00+00:00",
        "parent": {"name": "nuclei"},
        "images": ["a", "b"],
        "objects": {"disc": 7},
        "metrics": {"before": {"ap50": 0.25}, "after": {"ap50": 0.5}},
    }
    config = {
        **start.config, "provenance": source, "card": {"Fails": "On squares."},
    }  # fmt: skip
    write_checkpoint(folder / "mine.safetensors", Checkpoint(config, start.state))
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(folder))
    return folder


@pytest.fixture
def widget(viewer: Any) -> ModelsWidget:
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Manage models")
    widget.select("mine")
    return widget


def test_the_table_tells_where_a_model_comes_from(widget: ModelsWidget) -> None:
    item = widget._item("mine")
    texts = [item.text(column) for column in range(widget.table.columnCount())]
    assert texts[:4] == ["mine", "disc, ring", "nuclei", "2026-03-01"]
    assert texts[4] == "7 objects, 2 images"
    assert texts[5] == "0.25 \N{RIGHTWARDS ARROW} 0.50"
    assert texts[6].endswith("MB")
    assert widget._item("nuclei").text(2) == "comes with the package"
    assert "0.25 with nuclei" in widget.details_label.text()
    assert "Fails: On squares." in widget.details_label.text()


def test_bundled_models_stay(widget: ModelsWidget) -> None:
    assert widget.delete_button.isEnabled()
    widget.select("nuclei")
    assert not widget.delete_button.isEnabled()
    assert not widget.rename_button.isEnabled()
    assert widget.export_button.isEnabled()


def test_rename_in_the_table(widget: ModelsWidget, qtbot: QtBot, viewer: Any) -> None:
    _, segment = open_widget(viewer)
    click(qtbot, widget.rename_button)
    editor = widget.table.viewport().focusWidget() or widget.table.focusWidget()
    assert editor is not None
    widget._item("mine").setText(0, "yours")
    assert "yours" in names()
    assert "mine" not in names()
    assert widget.selected() == "yours"
    assert segment.model_box.findData("yours") >= 0
    assert segment.model_box.findData("mine") < 0
    widget._item("yours").setText(0, "nuclei")
    assert widget.status.level == "error"
    assert widget._item("yours") is not None


def test_delete_asks_first(
    widget: ModelsWidget, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    asked: list[str] = []

    def ask(_parent: Any, _title: str, text: str) -> Any:
        asked.append(text)
        return answers.pop(0)

    monkeypatch.setattr(QMessageBox, "question", ask)
    click(qtbot, widget.delete_button)
    assert "mine" in names()
    click(qtbot, widget.delete_button)
    assert "mine" not in names()
    assert "mine" in asked[0]
    assert widget.status.text() == "mine was deleted"


def test_export_and_import(
    widget: ModelsWidget, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = tmp_path / "copy.safetensors"
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "copy"), "")
    )
    click(qtbot, widget.export_button)
    wait(qtbot, widget)
    assert widget.status.text() == f"Exported to {target}"
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(target)], ""))
    click(qtbot, widget.import_button)
    wait(qtbot, widget)
    assert widget.selected() == "copy"
    assert "copy" in names()
    click(qtbot, widget.import_button)
    wait(qtbot, widget)
    assert widget.status.level == "error"
    assert "taken" in widget.status.text()


def test_a_model_is_used_and_its_folder_shown(
    widget: ModelsWidget,
    qtbot: QtBot,
    viewer: Any,
    monkeypatch: pytest.MonkeyPatch,
    store: Path,
) -> None:
    _, segment = open_widget(viewer)
    click(qtbot, widget.use_button)
    assert segment.model_box.currentData() == "mine"
    shown: list[str] = []
    monkeypatch.setattr(
        QDesktopServices, "openUrl", lambda url: shown.append(url.toLocalFile())
    )
    click(qtbot, widget.folder_button)
    assert shown == [str(store)]
