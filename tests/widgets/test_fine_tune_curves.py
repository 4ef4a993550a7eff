"""The curves of a run."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from qtpy.QtGui import QColor, QPixmap
from qtpy.QtWidgets import QApplication

from napari_maskrcnn.widgets.fine_tune_curves import SCORES, Curves, smoothed
from napari_maskrcnn.widgets.parts import theme_named

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

LOSSES = [(step, 3.0 / step) for step in range(1, 60)]
FIGURES = [(0, {"ap50": 0.2, "ap75": 0.1}), (50, {"ap50": 0.6, "ap75": 0.4})]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_curves_are_drawn_in_the_theme_and_saved(
    qtbot: QtBot, tmp_path: Path, theme: str
) -> None:
    curves = Curves()
    qtbot.addWidget(curves)
    curves.use_theme(theme_named(theme))
    curves.resize(300, 320)
    curves.follow(LOSSES, FIGURES)
    path = tmp_path / "curves.png"
    curves.save(path)
    picture = QPixmap(str(path)).toImage()
    assert picture.width() == 300
    colours = {
        picture.pixelColor(x, y).name().upper()
        for x in range(0, picture.width())
        for y in range(0, picture.height())
    }
    assert QColor(theme_named(theme).background.as_hex()).name().upper() in colours
    assert {colour for _, colour in SCORES.values()} <= colours
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_to_draw_is_nothing_to_save(qtbot: QtBot, tmp_path: Path) -> None:
    curves = Curves()
    qtbot.addWidget(curves)
    curves.save(tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())


def test_plots_leave_no_widgets_behind(qtbot: QtBot) -> None:
    before = {id(widget) for widget in QApplication.topLevelWidgets()}
    for _ in range(3):
        curves = Curves()
        curves.follow(LOSSES, FIGURES)
        curves.draw()
        curves.show()
        QApplication.processEvents()
        curves.close()
        curves.deleteLater()
        del curves
        qtbot.wait(10)
        gc.collect()
    assert {id(widget) for widget in QApplication.topLevelWidgets()} <= before


def test_the_smooth_curve_forgets_its_start() -> None:
    assert smoothed([]) == []
    assert smoothed([4.0]) == [4.0]
    found = smoothed([10.0] + [1.0] * 200)
    assert found[-1] == pytest.approx(1.0, abs=0.01)
