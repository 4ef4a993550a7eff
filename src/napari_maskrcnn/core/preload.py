"""Load torch's native libraries so that an open napari viewer does not break them.

Importing this module is the guard.  Modules that import torch or torchvision import
this one first:

    from napari_maskrcnn.core import preload  # noqa: F401

Two crashes are known, both between native libraries in one process:

* Linux: torchvision brings in triton, whose library exports its own LLVM.  Once an
  OpenGL window exists, Mesa's drivers have mapped another LLVM, the symbols are mixed
  up, and the process dies with a segmentation fault.
* Windows: Qt ships its own, sometimes older, Microsoft C++ runtime.  Whichever copy is
  loaded first serves everybody, and with an old one ``c10.dll`` fails to initialise
  (WinError 1114, pytorch issue 166628).  So this helps only before Qt is loaded:
  programs that start napari themselves import this module first.

On any other system, and where torch or triton is not installed, nothing happens.
torch itself is not imported here.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ["preload_torch_libraries"]

# The parts of the C++ runtime that Qt's wheels bring along, in order of dependence.
_WINDOWS_RUNTIME = ("vcruntime140.dll", "vcruntime140_1.dll", "msvcp140.dll")


def preload_torch_libraries() -> None:
    """Load what torch needs before other libraries get in its way; never fails.

    Called when this module is imported; calling it again costs nothing.
    """
    if sys.platform == "linux":
        _bind_triton_to_its_own_llvm()
    elif sys.platform == "win32":
        _load_c10()


def _bind_triton_to_its_own_llvm() -> None:
    """Import triton so that its library looks for symbols in itself first."""
    # musl has no RTLD_DEEPBIND, and no torch wheels either.
    if "triton" in sys.modules or not hasattr(os, "RTLD_DEEPBIND"):
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
    try:
        importlib.import_module("triton")
    except (ImportError, OSError, RuntimeError):
        # Not installed, or broken: torch runs without it and says so where it matters.
        return
    finally:
        sys.setdlopenflags(flags)


def _load_c10() -> None:
    """Load ``c10.dll`` together with the C++ runtime of the system."""
    spec = find_spec("torch")  # of a top-level package: does not import it
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "lib"
    if not (folder / "c10.dll").is_file():
        return
    os.add_dll_directory(str(folder))  # type: ignore[attr-defined]
    for library in (*_WINDOWS_RUNTIME, str(folder / "c10.dll")):
        try:
            ctypes.CDLL(library)
        except OSError:
            # Missing or too late: importing torch reports it better than we could.
            continue


preload_torch_libraries()
