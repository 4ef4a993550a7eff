"""Import torch from a worker without stopping the window.

Two things in an import hold Python's lock for long, and the window stands still:

* Mapping torch's libraries, a third of a second from a warm disk cache and several
  seconds from a cold one.  Foreign functions called through ctypes do not hold the
  lock, so the libraries are opened that way first; the import finds them in place.
* The garbage collector, which walks over the many thousand new objects again and
  again, 0.2 to 0.4 s each time.  It rests meanwhile, and then takes them for old
  without a walk: put off, the walk would come while the result is drawn.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from napari_maskrcnn.core.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator

# In the order in which torch itself loads them; the last is there with CUDA only.
_LIBRARIES = ("libtorch_global_deps.so", "libtorch_cpu.so", "libtorch_cuda.so")


def import_torch() -> Generator[Progress, None, None]:
    """Import torch and torchvision in steps, so that Cancel is heard between them."""
    if "torchvision" in sys.modules:
        return
    yield Progress(0, 0, "Starting PyTorch")
    collecting = gc.isenabled()
    gc.disable()
    try:
        import_module("napari_maskrcnn.core.preload")
        if sys.platform == "linux":
            yield from _map_libraries()
        import_module("torch")
        yield Progress(0, 0, "Starting PyTorch")
        import_module("torchvision")
        # Thawed objects are in the oldest generation, which is looked at rarely.
        gc.freeze()
        gc.unfreeze()
    finally:
        if collecting:
            gc.enable()


def _map_libraries() -> Generator[Progress, None, None]:
    """Open the libraries without Python's lock; what fails is left to the import."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "lib"
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for name in _LIBRARIES:
        # Only the first is meant to lend its symbols to others, as in torch itself.
        scope = os.RTLD_GLOBAL if name == _LIBRARIES[0] else os.RTLD_LOCAL
        if (folder / name).is_file():
            dlopen(os.fsencode(folder / name), os.RTLD_NOW | scope)
            yield Progress(0, 0, "Starting PyTorch")
