"""Read broken COCO files by the thousand: ``python coco_fuzz.py --files 20000``.

Each file is a valid one with a few random changes, to its values or to its bytes.
Reading it may succeed or raise CocoError with a message; anything else is a failure,
and so is taking longer than a second.  The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import copy
import faulthandler
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from napari_maskrcnn.core.coco import CocoError, read_coco, write_coco

LIMIT = 1.0  # seconds

JUNK: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 7, 12, 0.5, -0.0, 1e308, -1e308, 10**400, 2**31),
    *(2**32, 2**53 + 1, 2**63, 2**64, 4294967296.5, float("nan"), float("inf"), 65536),
    *("", "0", "1", "12", "1e3", "nan", "-1", " 7 ", "a" * 5000, "\x00", "\ud800", "é"),
    *("../../etc/passwd", "/etc/passwd", "C:\\x.png", "a/b/c.png", ".", "..", "~", "/"),
    *([], {}, [[]], [None], [[None]], [1, 2, 3, 4], [[1, 1, 5, 5]], [[[0, 0, 5, 0]]]),
    *([[0, 0, 5, 0, 5, 5]], [0, 0, 5, 0, 5, 5], [[0, 0], [5, 0], [5, 5]], [[[[[[]]]]]]),
    *([1e9, 0, 0, 1e9, 5, 5], [[1e9, 0, 0, -1e9, 5, 5]], [["1", "2", 3, 4, 5, 6]]),
    *({"size": [12, 10]}, {"counts": "PPYo0"}, {"size": [12, 10], "counts": [120]}),
    *(
        {"size": [12, 10], "counts": [0, 60, 60]},
        {"size": [10, 12], "counts": [60, 60]},
    ),
    *({"size": [12, 10], "counts": "o" * 999}, {"size": [12, 10], "counts": "0" * 999}),
    *({"size": [12, 10], "counts": [60, -60, 120]}, {"size": 3, "counts": {}}),
    *(
        {"size": [12, 10], "counts": [2**63, 120 - 2**63]},
        {"size": [0, 0], "counts": ""},
    ),
]


def valid_document() -> dict[str, Any]:
    """Return a small document with every kind of segmentation and key."""
    encodings: list[Any] = [
        [[1, 1, 6, 1, 6, 6, 1, 6]],
        [[0.5, 0.5, 4.2, 1, 3, 9.9], [7, 7, 9, 7, 9, 9]],
        {"size": [12, 10], "counts": [14, 3, 9, 3, 91]},
        {"size": [12, 10], "counts": ">39000m01ROMI1725"},
        {"size": [12, 10], "counts": [0, 120]},
        [],
    ]
    annotations = [
        {
            "id": number,
            "image_id": 1 + number % 2,
            "category_id": 3 + 4 * (number % 2),
            "segmentation": segmentation,
            "bbox": [1, 1, 5, 5],
            "area": 25,
            "iscrowd": int(number == 5),
            "score": 0.5,
            "track_id": number,
            "label_id": number,
            "reviewed": True,
            "attributes": {"track_id": number},
        }
        for number, segmentation in enumerate(encodings, start=1)
    ]
    source = {"path": "s.tif", "axis": "t", "index": 0, "dtype": "uint16"}
    images = [
        {"id": 1, "file_name": "a.png", "width": 10, "height": 12, "source": source},
        {"id": 2, "file_name": "b/b.png", "width": 10, "height": 12},
    ]
    categories = [{"id": 3, "name": "a", "supercategory": ""}, {"id": 7, "name": "b"}]
    return {
        "info": {},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def places(node: Any) -> list[tuple[Any, Any]]:
    """Return every container of a document with each of its keys."""
    found: list[tuple[Any, Any]] = []
    if isinstance(node, dict | list):
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            found.append((node, key))
            found += places(node[key])
    return found


def mutated_values(chance: random.Random, document: dict[str, Any]) -> None:
    """Change one to four values, keys or rows of a document."""
    for _ in range(chance.randint(1, 4)):
        found = places(document)
        if not found:
            return
        node, key = chance.choice(found)
        action = chance.random()
        if action < 0.6:
            node[key] = copy.deepcopy(chance.choice(JUNK))
        elif action < 0.75:
            del node[key]
        elif action < 0.9 and isinstance(node, list):
            node.insert(key, copy.deepcopy(node[key]))
        else:
            other, place = chance.choice(found)
            node[key] = copy.deepcopy(other[place]) if other is not node else None


def mutated_bytes(chance: random.Random, data: bytes) -> bytes:
    """Change, remove or repeat a few bytes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(changed) or 1)
        action = chance.random()
        if action < 0.5 and changed:
            changed[place] = chance.choice(b'0123456789-.eE[]{},:"\\nN \x00\xff')
        elif action < 0.7:
            del changed[place : place + chance.randint(1, 30)]
        elif action < 0.9:
            changed[place:place] = changed[place : place + chance.randint(1, 30)]
        else:
            changed[place:place] = b"[" * chance.choice((1, 5, 200_000))
    return bytes(changed)


def mutated_file(seed: int, number: int) -> bytes:
    """Return the bytes of file `number`."""
    chance = random.Random(f"{seed} {number}")
    document = valid_document()
    kind = chance.random()
    if kind < 0.75:
        mutated_values(chance, document)
    data = json.dumps(document).encode("utf-8", "surrogatepass")
    return mutated_bytes(chance, data) if kind > 0.65 else data


def read_one(path: Path) -> str:
    """Read a file and use what it holds; return what came of it."""
    try:
        dataset = read_coco(path)
        for fault in dataset.faults:
            if not fault.where or not fault.what or "\n" in str(fault):
                raise TypeError(f"a fault without words: {fault!r}")
        for image in dataset.images:
            height, width = image.to_objects().image_shape
            if height * width < 1 << 20:
                image.to_label_image()
                image.to_instances()
        write_coco(path.with_suffix(".out"), dataset.images, mode="auto")
    except CocoError as error:
        if not str(error):
            raise TypeError("an error without words") from error
        return "refused"
    return "read with faults" if dataset.faults else "read"


def fuzz(files: int, seed: int, folder: Path) -> tuple[Counter[str], float, list[str]]:
    """Return how the files went, the longest time, and the failures."""
    counts: Counter[str] = Counter()
    failures, longest = [], 0.0
    for number in range(files):
        path = folder / "fuzz.json"
        path.write_bytes(mutated_file(seed, number))
        begin = time.perf_counter()
        try:
            counts[read_one(path)] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            failures.append(f"file {number}: {type(error).__name__}: {error}")
        took = time.perf_counter() - begin
        longest = max(longest, took)
        if took > LIMIT:
            failures.append(f"file {number}: took {took:.1f} s")
    return counts, longest, failures


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as folder:
        counts, longest, failures = fuzz(options.files, options.seed, Path(folder))
    results = ", ".join(f"{value} {key}" for key, value in counts.most_common())
    sys.stdout.write(f"{options.files} files: {results}; longest {longest:.3f} s\n")
    sys.stdout.write("".join(f"{failure}\n" for failure in failures))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
