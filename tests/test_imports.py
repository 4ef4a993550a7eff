"""Nothing heavy is imported before a network has to run."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

import napari_maskrcnn

if TYPE_CHECKING:
    from conftest import RunPython

REPORT = """
import sys
print("loaded:", *sorted(name for name in sys.modules if "." not in name))
"""

OUTER_RINGS = """
import importlib
import pkgutil

import napari_maskrcnn

for module in pkgutil.walk_packages(napari_maskrcnn.__path__, "napari_maskrcnn."):
    if not module.name.startswith("napari_maskrcnn.core."):
        importlib.import_module(module.name)
"""

MANIFEST = """
from npe2 import PluginManager, PluginManifest

PluginManifest.from_distribution("napari-maskrcnn")
PluginManager.instance().discover()
"""

WIDGETS = """
import napari
import numpy as np
from npe2 import PluginManifest

manifest = PluginManifest.from_distribution("napari-maskrcnn")
viewer = napari.Viewer(show=False)
viewer.add_image(np.zeros((32, 32), np.uint8))
for widget in manifest.contributions.widgets:
    viewer.window.add_plugin_dock_widget("napari-maskrcnn", widget.display_name)
    print("opened", widget.display_name)
viewer.window._qt_window.show()
napari.qt.get_qapp().processEvents()
"""


def _loaded(run_python: RunPython, script: str) -> set[str]:
    done = run_python(script + REPORT)
    assert done.returncode == 0, done.stderr
    line = next(x for x in done.stdout.splitlines() if x.startswith("loaded:"))
    return set(line.split()[1:])


def test_the_package_itself_imports_next_to_nothing(run_python: RunPython) -> None:
    bare = _loaded(run_python, "")
    loaded = _loaded(run_python, "import napari_maskrcnn")
    assert loaded - bare == {"napari_maskrcnn", "__future__"}


def test_reading_the_manifest_imports_nothing_of_ours(run_python: RunPython) -> None:
    loaded = _loaded(run_python, MANIFEST)
    assert not loaded & {"napari_maskrcnn", "torch", "torchvision"}


def test_the_outer_rings_import_no_torch(run_python: RunPython) -> None:
    loaded = _loaded(run_python, OUTER_RINGS)
    assert not loaded & {"torch", "torchvision", "triton", "faster_coco_eval"}


def test_opening_every_widget_imports_no_torch(run_python: RunPython) -> None:
    loaded = _loaded(run_python, WIDGETS)
    assert "napari_maskrcnn" in loaded
    assert not loaded & {"torch", "torchvision", "triton", "faster_coco_eval"}


@pytest.mark.parametrize("name", napari_maskrcnn.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(napari_maskrcnn, name).__name__ == name
    assert name in dir(napari_maskrcnn)


def test_version_is_the_installed_one() -> None:
    assert napari_maskrcnn.__version__ == version("napari-maskrcnn")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        napari_maskrcnn.no_such_name  # noqa: B018
