"""Compare two sets of files, true and predicted."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .atomic import replacing
from .coco import read_coco
from .images import LABELS_ENDING, image_files, read_image
from .instances import Instances, empty_instances
from .metrics import Evaluation, evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Comparison:
    """Evaluations of all images and of groups of them.

    Parameters
    ----------
    evaluations : dict of str to Evaluation
        "all", then one a group.
    missing : tuple of str
        Images of the truth without a prediction; they count as images in which nothing
        was predicted.
    """

    evaluations: Mapping[str, Evaluation]
    missing: tuple[str, ...] = ()

    def to_text(self) -> str:
        """Return a table a group, for a person."""
        parts = (
            [f"{len(self.missing)} images have no prediction"] if self.missing else []
        )
        for name, evaluation in self.evaluations.items():
            parts += [f"[{name}]", evaluation.to_table()]
        return "\n".join(parts)

    def write(self, path: Path) -> None:
        """Write all figures as JSON, atomically."""
        values = {name: e.to_dict() for name, e in self.evaluations.items()}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")


def compare(truth: Path, predicted: Path, *, groups: Path | None = None) -> Comparison:
    """Compare label images matched by stem, or COCO files matched by file name's stem.

    Parameters
    ----------
    truth, predicted : Path
        A folder of label images (``a.png`` is matched by ``a.tif`` and by
        ``a_labels.tif``), or a COCO file. A folder that ``segment`` wrote is read from
        its COCO file, so that scores and overlaps count.
    groups : Path, optional
        CSV with the columns ``id`` (the stem) and ``modality``.

    Raises
    ------
    ValueError
        When nothing matches, or sizes disagree.
    """
    true, guesses = _read(truth), _read(predicted)
    if not true.keys() & guesses.keys():
        raise ValueError(f"no name in {truth} has a match in {predicted}")
    missing = tuple(name for name in true if name not in guesses)
    guesses |= {name: _nothing_like(true[name], guesses) for name in missing}
    members = {"all": list(true), **_groups(groups, list(true))}
    return Comparison(
        {
            group: evaluate(
                [true[name] for name in names],
                [guesses[name] for name in names],
                names=names,
            )
            for group, names in members.items()
        },
        missing,
    )


def _nothing_like(
    true: Instances | NDArray[Any], guesses: Mapping[str, Instances | NDArray[Any]]
) -> Instances | NDArray[Any]:
    """An image in which nothing was predicted, of the kind of the other predictions."""
    other = next(iter(guesses.values()))
    shape = true.image_shape if isinstance(true, Instances) else true.shape
    if isinstance(other, Instances):
        return empty_instances((shape[0], shape[1]), other.class_names)
    return np.zeros(shape, np.uint8)


def _read(path: Path) -> dict[str, Instances | NDArray[Any]]:
    if path.is_dir():
        from .batch import ANNOTATIONS_NAME

        if (path / ANNOTATIONS_NAME).is_file():
            path = path / ANNOTATIONS_NAME
        else:
            return _read_folder(path)
    if not path.is_file():
        raise ValueError(f"{path} is neither a folder nor a file")
    return {
        Path(image.file_name).stem: image.to_instances()
        for image in read_coco(path).images
    }


def _read_folder(folder: Path) -> dict[str, Instances | NDArray[Any]]:
    files = image_files(folder)
    results = [path for path in files if path.stem.endswith(LABELS_ENDING)]
    found: dict[str, Instances | NDArray[Any]] = {
        path.stem.removesuffix(LABELS_ENDING): read_image(path)
        for path in results or files
    }
    if not found:
        raise ValueError(f"there is no label image in {folder}")
    return found


def _groups(path: Path | None, names: list[str]) -> dict[str, list[str]]:
    if path is None:
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"id", "modality"} <= rows[0].keys():
        raise ValueError(f"{path} must have the columns id and modality")
    known = set(names)
    groups: dict[str, list[str]] = {}
    for row in rows:
        if row["id"] in known:
            groups.setdefault(row["modality"], []).append(row["id"])
    return dict(sorted(groups.items()))
