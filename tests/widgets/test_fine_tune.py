"""The Fine-tune widget, clicked in a real viewer."""

from __future__ import annotations

import csv
import gc
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QScrollArea
from widget_helpers import open_widget

from napari_maskrcnn.core.checkpoints import read_checkpoint
from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.fine_tuning.config import FineTuneConfig
from napari_maskrcnn.core.images import write_array
from napari_maskrcnn.core.model_store import free_name, model_path, run_folder
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.viewer.marks import approve_plane, set_reviewed
from napari_maskrcnn.widgets.fine_tune import CHECK, START
from napari_maskrcnn.widgets.kept_classes import KeptClasses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.widgets.fine_tune import FineTuneWidget
    from napari_maskrcnn.widgets.fine_tune_sources import SourcePanel

TIMEOUT = 120_000
BASE = FineTuneConfig(
    batch_size=1,
    crop=64,
    warm_up=1,
    save_every=2,
    validate_every=3,
    held_out=0.34,
    cache_views=2,
    precision="float32",
    learning_rate=1e-3,
)


def click(qtbot: QtBot, button: Any) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def wait(qtbot: QtBot, widget: FineTuneWidget) -> None:
    qtbot.waitUntil(lambda: not widget.tuning.jobs.running, timeout=TIMEOUT)


@pytest.fixture(autouse=True)
def store(
    junk_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: None
) -> Path:
    """A folder of models of each test's own, with the network of random weights."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / junk_model.name).write_bytes(junk_model.read_bytes())
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(folder))
    return folder


def open_fine_tune(viewer: Any) -> tuple[Any, FineTuneWidget]:
    """Dock the widget, set to a short run of the network of random weights."""
    dock, widget = viewer.window.add_plugin_dock_widget("napari-maskrcnn", "Fine-tune")
    widget.form.model_box.choose("junk")
    widget.form.base = BASE
    widget.form.unit_box.setCurrentText("steps")
    widget.form.length_box.setValue(4)
    return dock, widget


@pytest.fixture
def widget(viewer: Any, qtbot: QtBot) -> Iterator[FineTuneWidget]:
    _, widget = open_fine_tune(viewer)
    session, tuning = widget.session, widget.tuning
    yield widget
    tuning.cancel()
    session.cancel()
    qtbot.waitUntil(
        lambda: tuning.jobs._leaving is None and session.jobs._leaving is None,
        timeout=TIMEOUT,
    )
    session.release()


def add_fields(viewer: Any, count: int) -> list[tuple[Any, Any]]:
    """Add images, each with the labels of its objects."""
    found = []
    for seed in range(count):
        image, labels = nuclei_field((80, 96), 12, seed=seed)
        found.append(
            (
                viewer.add_image(image, name=f"field {seed}"),
                viewer.add_labels(labels, name=f"field {seed} objects"),
            )
        )
    return found


def check_and_start(qtbot: QtBot, widget: FineTuneWidget) -> None:
    assert widget.run_button.text() == CHECK
    click(qtbot, widget.run_button)
    wait(qtbot, widget)
    assert widget.run_button.text() == START, widget.status.text()
    click(qtbot, widget.run_button)


def start_endless(qtbot: QtBot, widget: FineTuneWidget) -> None:
    """Start a long run and wait until there is a model to keep."""
    widget.form.length_box.setValue(10_000)
    widget.form.base = replace(BASE, patience=0)
    check_and_start(qtbot, widget)
    qtbot.waitUntil(
        lambda: getattr(widget.tuning.last, "best_step", 0) > 0, timeout=TIMEOUT
    )


def test_without_layers_the_widget_says_how_to_begin(widget: FineTuneWidget) -> None:
    assert not widget.run_button.isEnabled()
    assert not widget.run_row.cancel_button.isEnabled()
    assert "Open an image" in widget.status.text()
    assert widget.form.name() == "junk-1"
    widget.sources.kind_box.setCurrentIndex(1)
    assert "Choose the images" in widget.status.text()


def test_check_says_what_will_be_done(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot
) -> None:
    add_fields(viewer, 3)
    click(qtbot, widget.run_button)
    wait(qtbot, widget)
    text = widget.summary_label.text()
    assert "Learns from" in text
    assert "thing" in text
    assert "Held out" in text
    # A random network.
    assert "finds few of them" in text
    assert widget.run_button.text() == START
    # Another choice is another plan.
    _, labels = add_fields(viewer, 1)[0]
    assert widget.run_button.text() == CHECK
    assert not widget.summary_label.text()
    widget.sources.layers.tick(labels, False)
    assert not widget.follow_button.isVisible()


@pytest.mark.parametrize("fault", ["empty", "one", "size", "nan", "unreviewed"])
def test_what_cannot_be_learnt_from_is_refused_in_a_sentence(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot, fault: str
) -> None:
    image, labels = nuclei_field((80, 96), 12)
    words = {
        "empty": "reviewed object",
        "one": "only one object",
        "size": "has no image",
        "nan": "all are NaN",
        "unreviewed": "reviewed object",
    }[fault]
    if fault == "empty":
        labels[:] = 0
    elif fault == "one":
        labels[labels > 1] = 0
    pixels = np.full(image.shape, np.nan, np.float32) if fault == "nan" else image
    viewer.add_image(pixels[:40] if fault == "size" else pixels, name="cells")
    layer = viewer.add_labels(labels)
    if fault == "unreviewed":
        ids = np.unique(labels[labels > 0])
        layer.features = {"index": ids, "class": "thing", "score": 0.9}
        widget.sources.layers.count()
        assert widget.sources.layers.topLevelItem(0).text(2) == "nothing yet"
    click(qtbot, widget.run_button)
    wait(qtbot, widget)
    expected = "no annotated images" if fault == "empty" else words
    assert expected in widget.status.text()
    assert widget.status.level == "error"
    assert "\n" not in widget.status.text()
    assert widget.run_button.text() == CHECK


def test_a_class_without_examples_is_told_of(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot, tmp_path: Path
) -> None:
    add_fields(viewer, 3)
    widget.sources.class_box.setEditText("cell")
    click(qtbot, widget.run_button)
    wait(qtbot, widget)
    assert widget.run_button.text() == START
    assert "no example of 'thing'" in widget.remarks.text()
    assert widget.remarks.level == "warning"
    # Replayed, it is no longer missed.
    write_files(tmp_path)
    choose_files(widget.replay, tmp_path)
    click(qtbot, widget.run_button)
    wait(qtbot, widget)
    assert widget.run_button.text() == START, widget.status.text()
    assert "no example" not in widget.remarks.text()


def click_tick(qtbot: QtBot, widget: FineTuneWidget, row: int) -> None:
    """Click on the box before a class."""
    classes = widget.form.classes.list
    box = classes.visualItemRect(classes.item(row))
    widget.findChild(QScrollArea).ensureWidgetVisible(classes)
    qtbot.mouseClick(
        classes.viewport(),
        Qt.MouseButton.LeftButton,
        pos=QPoint(box.left() + 10, box.center().y()),
    )


def test_a_class_whose_tick_is_cleared_is_dropped(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot
) -> None:
    add_fields(viewer, 3)
    widget.sources.class_box.setEditText("cell")
    assert [item.text() for item in widget.form.classes._items()] == ["thing"]
    # With one class there is nothing to choose all or none of.
    assert not widget.form.classes.all_button.isVisible()
    click(qtbot, widget.run_button)
    wait(qtbot, widget)
    assert "drop the class" in widget.remarks.text()
    click_tick(qtbot, widget, 0)
    assert widget.form.config().drop_classes == ("thing",)
    # Another choice is another plan.
    assert widget.run_button.text() == CHECK
    check_and_start(qtbot, widget)
    wait(qtbot, widget)
    assert widget.status.level == "info", widget.status.text()
    assert "thing" not in widget.remarks.text()
    best = read_checkpoint(run_folder("junk-1") / "best.safetensors")
    assert best.config["class_names"] == ["cell"]
    # Kept again, it is another run.
    click_tick(qtbot, widget, 0)
    assert widget.form.config().drop_classes == ()


def test_a_class_that_there_are_objects_of_is_not_dropped(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot
) -> None:
    add_fields(viewer, 3)
    click_tick(qtbot, widget, 0)
    click(qtbot, widget.run_button)
    wait(qtbot, widget)
    assert "there are objects of it" in widget.status.text()


def test_all_or_none_of_many_classes(qtbot: QtBot) -> None:
    classes = KeptClasses()
    qtbot.addWidget(classes)
    classes.use_classes(("a", "b", "c", "d", "e", "f"))
    classes.show()
    click(qtbot, classes.none_button)
    assert classes.dropped() == ("a", "b", "c", "d", "e", "f")
    classes.use_classes(("a", "b", "c", "d", "e", "f"))
    assert len(classes.dropped()) == 6
    click(qtbot, classes.all_button)
    assert classes.dropped() == ()
    click(qtbot, classes.none_button)
    classes.use_classes(("x",))
    assert classes.dropped() == ()


def test_a_run_ends_in_words_pictures_and_files(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot
) -> None:
    add_fields(viewer, 3)
    check_and_start(qtbot, widget)
    assert not widget.form.isEnabled()
    wait(qtbot, widget)
    assert widget.status.level == "info", widget.status.text()
    outcome = widget.tuning.outcome
    assert outcome.steps == 4
    assert len(widget.tuning.losses) == 4
    assert widget.tuning.scores[0][0] == 0
    folder = run_folder("junk-1")
    with (folder / "history.csv").open() as file:
        assert len(list(csv.DictReader(file))) >= 2
    picture = QPixmap(str(folder / "curves.png"))
    assert picture.width() > 100
    assert picture.height() > 100
    text = widget.result.verdict_label.text()
    assert text.startswith(("Better", "A little better", "Not better"))
    assert outcome.examples
    assert widget.result.pictures.isVisibleTo(widget)
    assert (model_path("junk-1").exists()) == outcome.better
    assert not list(folder.glob(".*"))


def test_the_new_model_is_used_and_the_next_image_segmented(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot
) -> None:
    _, segment = open_widget(viewer)
    pairs = add_fields(viewer, 3)
    fresh = viewer.add_image(nuclei_field((80, 96), 12, seed=9)[0], name="fresh")
    assert not widget.result.next_button.isEnabled()
    check_and_start(qtbot, widget)
    wait(qtbot, widget)
    click(qtbot, widget.result.use_button)
    wait(qtbot, widget)
    assert segment.model_box.currentText() == "junk-1"
    assert read_checkpoint(model_path("junk-1")).config["provenance"]["parent"]
    assert widget.form.name() == "junk-2"
    assert not widget.result.use_button.isEnabled()
    assert "fresh" in widget.result.next_button.toolTip()
    click(qtbot, widget.result.next_button)
    qtbot.waitUntil(lambda: not widget.session.jobs.running, timeout=TIMEOUT)
    assert widget.session.results.labels_of(fresh) is not None
    assert widget.status.text() == "Segmented fresh with the new model"
    assert fresh.visible
    assert not any(layer.visible for pair in pairs for layer in pair)


def test_new_heads_run_on_the_kept_encoding(
    viewer: Any,
    widget: FineTuneWidget,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, segment = open_widget(viewer)
    image, _ = add_fields(viewer, 3)[0]
    segment.image_box.setCurrentText(image.name)
    click(qtbot, segment.run_button)
    qtbot.waitUntil(lambda: not widget.session.jobs.running, timeout=TIMEOUT)
    labels = widget.session.results.labels_of(image)
    widget.sources.layers.tick(labels, False)
    encoding = widget.session.results.record_of(image).encoding
    check_and_start(qtbot, widget)
    wait(qtbot, widget)
    click(qtbot, widget.result.use_button)
    wait(qtbot, widget)
    passes = []
    encode = Detector.encode_steps

    def counted(self: Detector, *arguments: Any, **options: Any) -> Any:
        passes.append(self.name)
        return encode(self, *arguments, **options)

    monkeypatch.setattr(Detector, "encode_steps", counted)
    click(qtbot, segment.run_button)
    qtbot.waitUntil(lambda: not widget.session.jobs.running, timeout=TIMEOUT)
    assert segment.status.text().startswith("Done in"), segment.status.text()
    assert widget.session.loaded.detector.name == "junk-1"
    assert widget.session.results.record_of(image).encoding is encoding
    assert not passes


def test_cancel_answers_at_once_and_keeps_the_best(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot
) -> None:
    add_fields(viewer, 3)
    start_endless(qtbot, widget)
    begin = time.monotonic()
    click(qtbot, widget.run_row.cancel_button)
    assert widget.run_button.isEnabled()
    assert "is kept" in widget.status.text()
    assert time.monotonic() - begin < 1
    # The thread ends with its step; how long one takes depends on the machine.
    qtbot.waitUntil(lambda: widget.tuning.jobs._leaving is None, timeout=TIMEOUT)
    assert time.monotonic() - begin < 10
    assert widget.tuning.outcome.best_step >= 3
    assert not model_path("junk-1").exists()
    # The same choice goes on where it stopped.
    done = widget.tuning.outcome.steps
    assert widget.form.name() == "junk-1"
    widget.form.length_box.setValue(done + 3)
    click(qtbot, widget.run_button)
    wait(qtbot, widget)
    steps = [step for step, _ in widget.tuning.losses]
    assert steps == sorted(steps)
    assert widget.tuning.outcome.steps == done + 3
    click(qtbot, widget.result.use_button)
    wait(qtbot, widget)
    assert model_path("junk-1").exists()


def test_another_choice_gets_another_name(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot
) -> None:
    add_fields(viewer, 3)
    start_endless(qtbot, widget)
    click(qtbot, widget.run_row.cancel_button)
    widget.form.train("rpn")
    widget.form.length_box.setValue(1)
    click(qtbot, widget.run_button)
    wait(qtbot, widget)
    assert widget.status.level == "info", widget.status.text()
    assert widget.tuning.outcome.name == "junk-2"


def test_a_name_that_is_taken_is_refused(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot, store: Path
) -> None:
    add_fields(viewer, 3)
    widget.form.name_edit.setText("junk")
    before = (store / "junk.safetensors").read_bytes()
    check_and_start(qtbot, widget)
    assert "choose another name" in widget.status.text()
    assert not widget.tuning.jobs.running
    assert (store / "junk.safetensors").read_bytes() == before


def test_segment_goes_first_while_a_training_runs(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot
) -> None:
    _, segment = open_widget(viewer)
    add_fields(viewer, 3)
    start_endless(qtbot, widget)
    assert segment.run_button.isEnabled()
    click(qtbot, segment.run_button)
    assert widget.tuning._gate.busy
    qtbot.waitUntil(lambda: not widget.session.jobs.running, timeout=TIMEOUT)
    assert segment.status.text().startswith("Done in"), segment.status.text()
    assert not widget.tuning._gate.busy
    step = widget.tuning.last.step
    qtbot.waitUntil(lambda: widget.tuning.last.step > step, timeout=TIMEOUT)


def test_a_run_outlives_its_dock_and_a_new_one_finds_it(
    viewer: Any, qtbot: QtBot
) -> None:
    dock, first = open_fine_tune(viewer)
    add_fields(viewer, 3)
    start_endless(qtbot, first)
    tuning = first.tuning
    dock.destroyOnClose()  # what its X does
    del dock, first
    gc.collect()
    _, again = open_fine_tune(viewer)
    assert again.tuning is tuning
    assert again.run_row.cancel_button.isEnabled()
    assert again.curves.isVisibleTo(again)
    click(qtbot, again.run_row.cancel_button)
    assert again.result.isVisibleTo(again)
    qtbot.waitUntil(lambda: tuning.jobs._leaving is None, timeout=TIMEOUT)
    again.session.release()


def test_closing_the_viewer_leaves_no_thread_and_no_half_file(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot, store: Path
) -> None:
    add_fields(viewer, 3)
    start_endless(qtbot, widget)
    threads = threading.active_count()
    tuning, session = widget.tuning, widget.session
    session.release()
    qtbot.waitUntil(lambda: tuning.jobs._leaving is None, timeout=TIMEOUT)
    assert threading.active_count() <= threads
    assert not tuning.jobs.running
    names = {path.name for path in store.rglob("*") if path.is_file()}
    assert not {name for name in names if name.startswith(".") or ".part" in name}
    assert not model_path("junk-1").exists()
    assert read_checkpoint(run_folder("junk-1") / "best.safetensors").state


def test_a_closed_window_leaves_no_process_and_no_half_file(store: Path) -> None:
    """A process of its own, closed in mid-training, ends by itself."""
    script = Path(__file__).with_name("fine_tune_run.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "closed at step" in done.stdout
    assert "the loop has ended" in done.stdout
    assert "Traceback" not in done.stderr
    names = {path.name for path in store.rglob("*") if path.is_file()}
    assert names == {
        "junk.safetensors", "best.safetensors", "config.json", "history.csv", "state.pt"
    }  # fmt: skip
    run = run_folder("junk-1")
    assert read_checkpoint(run / "best.safetensors").state
    assert torch.load(run / "state.pt", weights_only=True)["step"] >= 2


def write_files(folder: Path) -> None:
    """Write images and label images into folders of these names."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for seed in range(3):
        image, labels = nuclei_field((80, 96), 12, seed=seed)
        write_array(folder / "images" / f"{seed}.tif", image)
        write_array(folder / "labels" / f"{seed}.tif", labels)


def choose_files(panel: SourcePanel, folder: Path) -> None:
    panel.kind_box.setCurrentText("Files")
    panel.images_row.line.setText(str(folder / "images"))
    panel.labels_row.line.setText(str(folder / "labels"))


def test_files_teach_as_well_as_layers(
    widget: FineTuneWidget, qtbot: QtBot, tmp_path: Path
) -> None:
    write_files(tmp_path)
    choose_files(widget.sources, tmp_path)
    widget.sources.class_box.setEditText("cell")
    click(qtbot, widget.run_button)
    wait(qtbot, widget)
    assert "New classes: cell" in widget.summary_label.text()
    # What is replayed must be something else.
    choose_files(widget.replay, tmp_path)
    assert widget.run_button.text() == CHECK
    click(qtbot, widget.run_button)
    assert "choose others" in widget.status.text()
    assert not widget.tuning.jobs.running


def test_replayed_files_show_what_is_forgotten(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot, tmp_path: Path
) -> None:
    write_files(tmp_path)
    add_fields(viewer, 3)
    widget.replay.kind_box.setCurrentText("Files")
    assert not widget.run_button.isEnabled()
    assert "what to replay" in widget.status.text()
    choose_files(widget.replay, tmp_path)
    check_and_start(qtbot, widget)
    assert "Replays " in widget.summary_label.text()
    assert not widget.replay.isEnabled()
    wait(qtbot, widget)
    outcome = widget.tuning.outcome
    before, after = outcome.replay_before["ap50"], outcome.replay_after["ap50"]
    shown = widget.result.details_label.text()
    assert f"On the replay images: {before:.2f}, then {after:.2f}" in shown


def test_replayed_layers_are_other_ones(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot
) -> None:
    (_, first), *_, (image, last) = add_fields(viewer, 4)
    assert not widget.replay.layers.isVisibleTo(widget)
    widget.replay.kind_box.setCurrentText("Open layers")
    assert widget.replay.layers.isVisibleTo(widget)
    assert not widget.replay.layers.pairs()
    widget.replay.layers.tick(last, True)
    click(qtbot, widget.run_button)
    assert f"to learn from and to replay: {last.name}" in widget.status.text()
    widget.sources.layers.tick(last, False)
    start_endless(qtbot, widget)
    assert "Replays " in widget.summary_label.text()
    click(qtbot, widget.run_row.cancel_button)
    assert widget.tuning.outcome.replay_after.keys() >= {"ap50"}
    assert "On the replay images" in widget.result.details_label.text()
    # An image that is replayed is no new one to try the model on.
    assert widget.tuning.next_image() is None
    last.data[:] = 0
    widget.form.name_edit.setText("other")
    widget.sources.layers.tick(first, False)
    click(qtbot, widget.run_button)
    wait(qtbot, widget)
    assert "othing of what is to be replayed counts" in widget.status.text()
    assert image in viewer.layers


def test_marks_decide_what_counts(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot
) -> None:
    (_, first), (_, second), _ = add_fields(viewer, 3)
    session = widget.session
    plane = session.plane_of(first)
    approve_plane(first, plane)
    set_reviewed(second, plane, [1, 2, 3])
    widget.sources.layers.count()
    texts = {
        item.text(0): item.text(2)
        for item in map(widget.sources.layers.topLevelItem, range(3))
    }
    assert "1 region" in texts[first.name]
    assert texts[second.name] == "3 approved"
    assert texts["field 2 objects"] == "everything"
    click(qtbot, widget.run_button)
    wait(qtbot, widget)
    assert widget.run_button.text() == START, widget.status.text()


def test_planes_of_a_stack_are_learnt_from_and_the_next_one_follows(
    viewer: Any, widget: FineTuneWidget, qtbot: QtBot
) -> None:
    planes = [nuclei_field((80, 96), 12, seed=seed) for seed in range(4)]
    stack = np.stack([image for image, _ in planes])
    labels = np.stack([objects for _, objects in planes])
    labels[3] = 0
    viewer.add_image(stack, name="stack")
    layer = viewer.add_labels(labels, name="stack objects")
    for number in range(3):
        viewer.dims.set_point(0, number)
        approve_plane(layer, widget.session.plane_of(layer))
    widget.sources.layers.count()
    found = widget.sources.sources()
    assert [source.name for source in found] == [f"stack [{n}]" for n in range(3)]
    check_and_start(qtbot, widget)
    wait(qtbot, widget)
    click(qtbot, widget.result.use_button)
    wait(qtbot, widget)
    click(qtbot, widget.result.next_button)
    assert viewer.dims.current_step[0] == 3
    qtbot.waitUntil(lambda: not widget.session.jobs.running, timeout=TIMEOUT)


def test_free_names(widget: FineTuneWidget) -> None:
    assert widget.form.name() == free_name("junk")
    widget.form.name_edit.setText("mine")
    widget.form.model_box.choose("nuclei")
    assert widget.form.name() == "mine"
