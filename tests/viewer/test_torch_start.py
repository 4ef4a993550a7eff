"""torch is imported in steps, with the garbage collector at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import RunPython

SCRIPT = """
import gc
import sys

from napari_maskrcnn.viewer.torch_start import import_torch

work = import_torch()
next(work)
assert gc.isenabled()
next(work)
assert not gc.isenabled()
if sys.argv[1] == "stop":
    work.close()
    assert "torchvision" not in sys.modules
else:
    assert len(list(work)) >= 1
    assert "torchvision" in sys.modules
    assert not list(import_torch())
assert gc.isenabled()
import torch
assert torch.ones(3).sum() == 3
print("ok")
"""


@pytest.mark.parametrize("how", ["stop", "finish"])
def test_it_can_be_stopped_between_the_steps(run_python: RunPython, how: str) -> None:
    done = run_python(SCRIPT, how)
    assert done.stdout.endswith("ok\n"), done.stderr
