"""The guard works beside a real viewer, and no module can forget it."""

from __future__ import annotations

import ast
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import napari_maskrcnn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conftest import RunPython

PACKAGE = Path(napari_maskrcnn.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
GUARD = "napari_maskrcnn.core.preload"
# importing these loads torch's libraries
GUARDED = ("torch", "torchvision", "safetensors.torch")

TORCH_BESIDE_A_VIEWER = """
import sys
from pathlib import Path

import napari

viewer = napari.Viewer(show=False)
if sys.argv[1] == "guarded":
    from napari_maskrcnn.core import preload
if sys.platform == "linux" and "libLLVM" in Path("/proc/self/maps").read_text():
    print("Mesa has mapped libLLVM", flush=True)

import torch
import torchvision

rois = torch.tensor([[0.0, 0.0, 0.0, 8.0, 8.0]])
pooled = torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), rois, 2)
print("pooled", pooled.sum().item(), flush=True)
viewer.close()
"""


def test_torch_can_be_imported_beside_a_viewer(run_python: RunPython) -> None:
    done = run_python(TORCH_BESIDE_A_VIEWER, "guarded")
    assert done.returncode == 0, done.stderr
    assert "pooled 4.0" in done.stdout


def test_without_the_guard_the_process_dies(run_python: RunPython) -> None:
    done = run_python(TORCH_BESIDE_A_VIEWER, "unguarded")
    if "Mesa has mapped libLLVM" not in done.stdout:
        pytest.skip("this display's OpenGL driver brings no LLVM: nothing to collide")
    # A shell in between, such as xvfb-run, reports a signal as 128 + its number.
    died = (
        -signal.SIGSEGV,
        128 + signal.SIGSEGV,
        -signal.SIGABRT,
        128 + signal.SIGABRT,
    )
    assert done.returncode in died, (
        "torchvision survived an open viewer without the guard: if this holds for all "
        "supported versions of torch, the guard may go"
    )


def test_the_guard_imports_no_torch(run_python: RunPython) -> None:
    done = run_python(
        "import sys\n"
        "flags = getattr(sys, 'getdlopenflags', int)\n"
        "before = flags()\n"
        "from napari_maskrcnn.core import preload\n"
        "assert flags() == before\n"
        "assert not {'torch', 'torchvision', 'numpy'} & set(sys.modules)\n"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="triton matters on Linux only")
def test_the_guard_does_nothing_where_triton_is_missing(run_python: RunPython) -> None:
    done = run_python(
        "import importlib.abc, sys\n"
        "class NoTriton(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'triton':\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, NoTriton())\n"
        "before = sys.getdlopenflags()\n"
        "from napari_maskrcnn.core import preload\n"
        "preload.preload_torch_libraries()\n"
        "assert 'triton' not in sys.modules\n"
        "assert sys.getdlopenflags() == before\n"
    )
    assert done.returncode == 0, done.stderr


def _imported(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if isinstance(statement, ast.ImportFrom) and statement.module:
        names = [f"{statement.module}.{alias.name}" for alias in statement.names]
        return [statement.module, *names]
    return []


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the blocks of statements inside `statement`, except for type checkers'."""
    if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test):
        yield statement.orelse
        return
    for _, value in ast.iter_fields(statement):
        if isinstance(value, list) and value:
            if isinstance(value[0], ast.stmt):
                yield value
            elif hasattr(value[0], "body"):  # except handlers, match cases
                yield from (part.body for part in value)


def unguarded_imports(block: Iterable[ast.stmt], guarded: bool = False) -> list[int]:
    """Return the lines that import torch before the guard in their own scope."""
    lines: list[int] = []
    for statement in block:
        names = _imported(statement)
        guarded = guarded or GUARD in names
        needs = any(n == g or n.startswith(g + ".") for n in names for g in GUARDED)
        if needs and not guarded:
            lines.append(statement.lineno)
        for inner in _blocks(statement):
            lines += unguarded_imports(inner, guarded)
    return lines


@pytest.mark.parametrize(
    "module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_every_module_imports_the_guard_before_torch(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assert unguarded_imports(tree.body) == [], (
        "import napari_maskrcnn.core.preload before these lines"
    )


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import torch", [1]),
        ("from torchvision.ops import nms", [1]),
        ("from safetensors.torch import save", [1]),
        ("from safetensors import torch", [1]),
        ("from napari_maskrcnn.core import preload\nimport torch", []),
        ("import napari_maskrcnn.core.preload\nimport torchvision.ops", []),
        ("import torch\nfrom napari_maskrcnn.core import preload", [1]),
        ("def f():\n    import torchvision", [2]),
        (
            "def f():\n"
            "    from napari_maskrcnn.core import preload\n"
            "    import torchvision\n"
            "def g():\n"
            "    try:\n"
            "        pass\n"
            "    except OSError:\n"
            "        import torchvision",
            [8],
        ),
        ("if TYPE_CHECKING:\n    import torch\nelse:\n    import torch", [4]),
        ("import torchmetrics", []),
    ],
)
def test_the_check_sees_imports_wherever_they_are(
    source: str, lines: list[int]
) -> None:
    assert unguarded_imports(ast.parse(source).body) == lines
