"""Unsaved corrections are offered in whichever widget is open, and once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_maskrcnn.core.corrections import Corrections, SavedPlane, Summary, identify
from napari_maskrcnn.core.recovery import corrections_path, write_corrections
from napari_maskrcnn.viewer.recovery import recovery_of
from napari_maskrcnn.viewer.session import session_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_maskrcnn.viewer.session import Session

NAMES = ("Edit", "Review", "Prompt", "Segment")


@pytest.fixture
def session(viewer: Any, qtbot: QtBot) -> Iterator[Session]:
    session = session_of(viewer)
    yield session
    session.release()
    jobs = recovery_of(session).queue.jobs
    qtbot.waitUntil(lambda: jobs._leaving is None, timeout=20_000)


@pytest.fixture
def left(field: NDArray[np.uint16], state_folder: Path) -> NDArray[np.uint16]:
    """Leave a file of corrections, as a window that is gone does; return its labels."""
    labels = np.zeros(field.shape, np.uint16)
    labels[20:40, 30:60] = 7
    identity = identify(field)
    owner = {"token": "gone", "session": "gone", "pid": 2**22 + 1, "started": 0}
    summary = Summary(identity, "cells", datetime.now(UTC), 1, 0, 0, owner)
    plane = SavedPlane((0, 1), (), labels, (7,))
    table: dict[str, list[Any]] = {"index": [7], "class": ["thing"]}
    path = corrections_path(state_folder, identity, "gone")
    write_corrections(path, Corrections(summary, (plane,), table))
    return labels


def docked(viewer: Any, name: str) -> Any:
    return viewer.window.add_plugin_dock_widget("napari-maskrcnn", name)[1]


def press(qtbot: QtBot, button: Any) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.mark.parametrize("name", ["Edit", "Review"])
def test_a_widget_that_is_open_alone_offers(
    viewer: Any, session: Session, left: Any, field: Any, qtbot: QtBot, name: str
) -> None:
    widget = docked(viewer, name)
    bar = widget.recovery_bar
    assert not bar.isVisible()
    image = viewer.add_image(field, name="cells")
    qtbot.waitUntil(bar.isVisible, timeout=20_000)
    assert "1 edited" in bar.line.text()
    press(qtbot, bar.restore_button)
    labels = session.results.labels_of(image)
    assert labels is not None
    np.testing.assert_array_equal(labels.data, left)
    assert widget.layer() is labels
    assert bar.line.text().startswith("Restored in")
    assert not bar.restore_button.isVisible()
    bar._fading.timeout.emit()
    assert not bar.isVisible()


@pytest.mark.parametrize("act", ["restore", "decline"])
def test_one_bar_acts_and_the_others_go(
    viewer: Any,
    session: Session,
    left: Any,
    field: Any,
    qtbot: QtBot,
    act: str,
    state_folder: Path,
) -> None:
    early = docked(viewer, "Edit").recovery_bar
    image = viewer.add_image(field, name="cells")
    qtbot.waitUntil(early.isVisible, timeout=20_000)
    # Those that are opened later find the offer, inside of their docks.
    bars = [early, *(docked(viewer, name).recovery_bar for name in NAMES[1:])]
    assert all(not bar.isHidden() and not bar.isWindow() for bar in bars)
    qtbot.waitUntil(bars[1].isVisible)
    press(qtbot, getattr(bars[1], f"{act}_button"))
    for bar in (bars[0], *bars[2:]):
        assert bar.isHidden()
        # A press that was on its way does nothing any more.
        bar.restore_button.click()
        bar.decline_button.click()
    labels = session.results.labels_of(image)
    assert (labels is not None) == (act == "restore")
    assert len(list(state_folder.iterdir())) == (act == "restore")
    if labels is not None:
        np.testing.assert_array_equal(labels.data, left)


def test_what_went_wrong_is_shown_until_it_goes_well(
    viewer: Any, session: Session, qtbot: QtBot
) -> None:
    bars = [docked(viewer, name).recovery_bar for name in ("Edit", "Review")]
    keeper = recovery_of(session)
    # The name of a file has no place to break it: it must not make the dock wider.
    width = bars[0].minimumSizeHint().width()
    keeper.said.emit(f"No room left: /{'x' * 500}", "error")
    assert all(not bar.isHidden() and bar.line.level == "error" for bar in bars)
    assert bars[0].minimumSizeHint().width() == width
    keeper.said.emit("Saved again", "info")
    assert [bar.line.text() for bar in bars] == ["Saved again"] * 2
    for bar in bars:
        bar._fading.timeout.emit()
        assert bar.isHidden()
    # Nobody waits for this one.
    keeper.said.emit("Restored", "info")
    assert all(bar.isHidden() for bar in bars)
