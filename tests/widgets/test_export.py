"""The Export COCO widget in a real viewer."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt

from napari_maskrcnn.core.coco import read_coco
from napari_maskrcnn.core.images import write_array
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.viewer.export_jobs import export_jobs
from napari_maskrcnn.viewer.session import session_of
from napari_maskrcnn.widgets import export as export_module

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.widgets.export import ExportWidget

IMAGE, LABELS = nuclei_field((96, 128), 9)


def dock(viewer: Any) -> ExportWidget:
    _, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Export COCO")
    found: ExportWidget = widget
    return found


@pytest.fixture
def widget(viewer: Any, qtbot: QtBot) -> Iterator[ExportWidget]:
    jobs = export_jobs(session_of(viewer))
    yield dock(viewer)
    jobs.cancel()
    qtbot.waitUntil(lambda: jobs._leaving is None, timeout=20_000)
    session_of(viewer).release()


@pytest.fixture
def layers(viewer: Any, tmp_path: Path) -> tuple[Any, Any]:
    write_array(tmp_path / "cells.tif", IMAGE)
    image = viewer.add_image(
        IMAGE,
        name="cells",
        metadata={"napari-maskrcnn": {"file": str(tmp_path / "cells.tif")}},
    )
    ids = np.unique(LABELS)[1:]
    features = pd.DataFrame({"index": ids, "class": "nucleus", "reviewed": ids < 4})
    labels = viewer.add_labels(LABELS.copy(), name="cells instances", features=features)
    return image, labels


def wait(widget: ExportWidget, qtbot: QtBot) -> None:
    qtbot.waitUntil(
        lambda: not widget.jobs.running and not widget._rest.isActive(), timeout=30_000
    )


def click(widget: ExportWidget, qtbot: QtBot, button: Any) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    wait(widget, qtbot)


def choose(box: Any, value: Any) -> None:
    box.setCurrentIndex(box.findData(value))


def test_without_layers_it_says_what_to_do(widget: ExportWidget, qtbot: QtBot) -> None:
    wait(widget, qtbot)
    assert widget.status.text() == "Tick a layer to export"
    assert not widget.export_button.isEnabled()


def test_it_shows_what_will_be_written_and_writes_it(
    widget: ExportWidget, layers: tuple[Any, Any], qtbot: QtBot, tmp_path: Path
) -> None:
    image, labels = layers
    wait(widget, qtbot)
    path = tmp_path / "annotations.coco.json"
    assert widget.form.file_edit.text() == str(path)
    assert [pair[1] for pair in widget.layer_list.pairs()] == [image]
    assert widget.heading.text() == "Will be written"
    text = widget.report_label.text()
    assert "9 objects in 1 image (9 polygons)" in text
    assert "9 nucleus" in text
    assert "3 objects reviewed" in text
    assert not path.exists()
    click(widget, qtbot, widget.export_button)
    assert widget.heading.text() == "Written"
    assert widget.status.text().startswith(f"Written to {tmp_path} in ")
    (written,) = read_coco(path).images
    np.testing.assert_array_equal(written.to_label_image(), labels.data)
    assert written.path == tmp_path / "cells.tif"
    assert written.to_objects().reviewed.sum() == 3


def test_an_edit_is_looked_at_again(
    widget: ExportWidget, layers: tuple[Any, Any], qtbot: QtBot
) -> None:
    wait(widget, qtbot)
    layers[1].data_setitem((np.array([0]), np.array([0])), 500)
    wait(widget, qtbot)
    assert "10 objects" in widget.report_label.text()
    layers[1].data_setitem(np.nonzero(layers[1].data == 500), 0)
    click(widget, qtbot, widget.check_button)
    assert "9 objects" in widget.report_label.text()


def test_polygons_fill_holes_and_say_so(
    widget: ExportWidget, layers: tuple[Any, Any], qtbot: QtBot
) -> None:
    labels = layers[1]
    y, x = (int(v) for v in np.argwhere(labels.data == 1).mean(0))
    labels.data_setitem((np.array([y]), np.array([x])), 0)
    wait(widget, qtbot)
    assert "8 polygons, 1 RLE" in widget.report_label.text()
    assert widget.remarks.text() == ""
    choose(widget.form.mode_box, "polygon")
    wait(widget, qtbot)
    assert "9 polygons" in widget.report_label.text()
    assert "label 1: 1 hole of 1 pixels; filled" in widget.remarks.text()
    assert widget.remarks.level == "warning"


def test_ticks_and_images_are_kept_when_layers_come(
    widget: ExportWidget, layers: tuple[Any, Any], viewer: Any, qtbot: QtBot
) -> None:
    image, labels = layers
    hidden = viewer.add_labels(LABELS, name="hidden", visible=False)
    assert [layer for layer, _ in widget.layer_list.pairs()] == [labels]
    widget.layer_list.tick(hidden, True)
    widget.layer_list.tick(labels, False)
    widget.layer_list.image_box(hidden).setCurrentIndex(0)
    viewer.add_image(IMAGE, name="another")
    assert widget.layer_list.pairs() == [(hidden, None)]
    widget.layer_list.tick(hidden, False)
    wait(widget, qtbot)
    assert not widget.export_button.isEnabled()
    assert widget.status.text() == "Tick a layer to export"
    viewer.layers.remove(hidden)
    widget.layer_list.tick(labels, True)
    assert widget.layer_list.pairs() == [(labels, image)]
    wait(widget, qtbot)


def test_what_cannot_be_written_is_one_sentence(
    widget: ExportWidget, layers: tuple[Any, Any], qtbot: QtBot, tmp_path: Path
) -> None:
    (tmp_path / "cells.png").write_bytes(b"mine")
    choose(widget.form.picture_box, "png")
    wait(widget, qtbot)
    assert widget.status.level == "error"
    assert widget.status.text().startswith("Cells.png is there already")
    assert widget.report_label.text() == "Nothing as it is"
    click(widget, qtbot, widget.export_button)
    assert widget.status.level == "error"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells.png", "cells.tif"]
    choose(widget.form.picture_box, "tiff")
    wait(widget, qtbot)
    assert widget.status.text() == ""
    assert "cells.tif is there already" in widget.remarks.text()
    widget.form.split_box.setChecked(True)
    wait(widget, qtbot)
    assert "two images or stacks" in widget.status.text()
    widget.form.file_edit.setText(str(tmp_path))
    click(widget, qtbot, widget.check_button)
    assert "is a folder" in widget.status.text()


def test_all_choices_reach_the_file(
    widget: ExportWidget, layers: tuple[Any, Any], viewer: Any, qtbot: QtBot,
    tmp_path: Path,
) -> None:  # fmt: skip
    viewer.add_labels(np.stack([LABELS] * 3), name="film")
    choose(widget.form.mode_box, "rle")
    choose(widget.form.picture_box, "png")
    widget.form.split_box.setChecked(True)
    widget.form.share_box.setValue(50)
    widget.form.file_edit.setText(str(tmp_path / "set.json"))
    widget.form.append_box.setChecked(True)
    click(widget, qtbot, widget.export_button)
    counts = {}
    for end in ("train", "val"):
        dataset = read_coco(tmp_path / f"set_{end}.coco.json")
        counts[end] = sorted(str(image.file_name) for image in dataset.images)
    names = sorted(counts.values())
    assert names == [["cells.png"], [f"film_t{t:04d}.png" for t in range(3)]]
    assert (tmp_path / "cells.png").is_file()
    assert "film has no image" in widget.remarks.text()


def test_an_export_can_be_cancelled(
    widget: ExportWidget, viewer: Any, qtbot: QtBot, tmp_path: Path
) -> None:
    stack = np.stack([LABELS] * 200)
    viewer.add_labels(stack, name="film")
    widget.form.file_edit.setText(str(tmp_path / "a.coco.json"))
    wait(widget, qtbot)
    qtbot.mouseClick(widget.export_button, Qt.MouseButton.LeftButton)
    assert not widget.export_button.isEnabled()
    with qtbot.waitSignal(widget.jobs.progressed, timeout=20_000):
        pass
    qtbot.mouseClick(widget.run_row.cancel_button, Qt.MouseButton.LeftButton)
    wait(widget, qtbot)
    qtbot.waitUntil(lambda: widget.jobs._leaving is None, timeout=20_000)
    assert "Cancelled" in widget.status.text()
    assert list(tmp_path.iterdir()) == []


def test_large_layers_are_looked_at_on_request(
    widget: ExportWidget, layers: tuple[Any, Any], qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(export_module, "MAX_PIXELS", 100)
    wait(widget, qtbot)
    widget.form.append_box.setChecked(True)
    wait(widget, qtbot)
    assert widget.report_label.text() == "These are large layers: press Check"
    click(widget, qtbot, widget.check_button)
    assert "9 objects" in widget.report_label.text()


def test_an_export_outlives_its_widget(
    layers: tuple[Any, Any], viewer: Any, qtbot: QtBot, tmp_path: Path
) -> None:
    docked, first = viewer.window.add_plugin_dock_widget(
        "napari-maskrcnn", "Export COCO"
    )
    jobs = first.jobs
    wait(first, qtbot)
    qtbot.mouseClick(first.export_button, Qt.MouseButton.LeftButton)
    docked.destroyOnClose()  # what its X does
    del docked, first
    gc.collect()
    qtbot.waitUntil(lambda: not jobs.running, timeout=30_000)
    assert (tmp_path / "annotations.coco.json").is_file()
    layers[1].data_setitem((np.array([0]), np.array([0])), 500)
    again = dock(viewer)
    assert again.jobs is jobs
    wait(again, qtbot)
    assert "10 objects" in again.report_label.text()
    qtbot.waitUntil(lambda: jobs._leaving is None, timeout=20_000)
    session_of(viewer).release()
