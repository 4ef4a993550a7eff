"""Shared set-up: a display or none, settings of our own, torch before any viewer."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # A core each: threads without one of their own would spin while they wait.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before torch and torchvision, and both before any viewer: see the guard's docstring.
from napari_maskrcnn.core import preload  # noqa: F401  # isort: skip
import torchvision  # noqa: F401  # isort: skip

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., tuple[int, str, str]]
    RunPython = Callable[..., subprocess.CompletedProcess[str]]

# The person's own napari settings are neither read nor written.
_SETTINGS = Path(tempfile.mkdtemp(prefix="napari-maskrcnn-tests-"))
atexit.register(shutil.rmtree, _SETTINGS, ignore_errors=True)
os.environ["NAPARI_CONFIG"] = str(_SETTINGS / "settings.yaml")

# A test with a viewer fails when it leaves top-level widgets behind.  If yours does,
# look for a lambda or a `functools.partial` of a method connected to a signal, or for
# a widget that was neither docked nor closed.
os.environ.setdefault("NAPARI_STRICT_QT", "raise")


def _start_xvfb() -> str:
    """Start a virtual display for the length of the session and return its name."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x1200x24"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    atexit.register(server.terminate)
    os.close(write)
    with os.fdopen(read) as pipe:
        return f":{pipe.readline().strip()}"


if sys.platform == "linux" and not any(
    os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
):
    if shutil.which("Xvfb"):
        os.environ["DISPLAY"] = _start_xvfb()
    else:
        # Qt works, OpenGL does not: tests that add layers to a viewer will fail.
        os.environ["QT_QPA_PLATFORM"] = "offscreen"

settings.register_profile("project", deadline=None, print_blob=True)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The person's own corrections and downloads are neither read nor written."""
    folder = tmp_path / "state"
    monkeypatch.setenv("NAPARI_MASKRCNN_STATE", str(folder))
    monkeypatch.setenv("NAPARI_MASKRCNN_CACHE", str(tmp_path / "cache"))
    # Nothing listens there: a test that downloads brings its own server.
    monkeypatch.setenv("NAPARI_MASKRCNN_WEIGHTS_URL", "http://127.0.0.1:9")
    return folder


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """Run a script in a fresh interpreter, where nothing of ours is imported yet."""

    def run(
        script: str, *arguments: str, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "script.py"
        path.write_text(script, encoding="utf-8")
        return subprocess.run(
            [sys.executable, str(path), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process: its exit code, stdout and stderr.

    An exception that ``main`` lets through fails the test: it would be a traceback.
    """
    from napari_maskrcnn import cli

    def run(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["napari-maskrcnn", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run
