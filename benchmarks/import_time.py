"""What `import napari_maskrcnn` costs beyond Python's own start.

    python benchmarks/import_time.py [RUNS]

Fresh interpreters are started in turn with and without the import, so that a busy
machine slows both alike; medians are compared.  The goal is under 50 ms.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

GOAL_MS = 50.0


def seconds(code: str) -> float:
    """Return how long a fresh interpreter takes for `code`, in seconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def main(runs: int = 20) -> int:
    """Print both medians and their difference; return 1 when the goal is missed."""
    codes = ("pass", "import napari_maskrcnn")
    for code in codes:  # byte code and disk cache
        seconds(code)
    rounds = [[1000 * seconds(code) for code in codes] for _ in range(runs)]
    bare = statistics.median(first for first, _ in rounds)
    ours = statistics.median(second for _, second in rounds)
    print(f"python -c 'pass'                    {bare:8.1f} ms (median of {runs})")
    print(f"python -c 'import napari_maskrcnn'  {ours:8.1f} ms (median of {runs})")
    print(f"difference {ours - bare:.1f} ms (goal: under {GOAL_MS:g} ms)")
    print(f"ratio {ours / bare:.2f}")
    return int(ours - bare >= GOAL_MS)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
