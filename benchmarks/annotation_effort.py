"""How many acts a result saves: a simulated annotator corrects it until it is right.

    python benchmarks/annotation_effort.py --images val/images --labels val/labels \
        --groups index.csv --json effort.json

Every image is segmented with the default settings, and then corrected by deleting,
prompting, merging, splitting and repainting until AP at IoU 0.5 is 1: every true object
matched one to one, nothing left over. How the annotator chooses is told in
``annotator.py``. Drawing each object from nothing is one act an object. Images and
labels are matched by stem. Each image is told on stderr as it is done.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

from annotator import KINDS, annotate

from napari_maskrcnn.core.atomic import replacing
from napari_maskrcnn.core.dataset import pair_files
from napari_maskrcnn.core.detector import load_model
from napari_maskrcnn.core.images import read_image
from napari_maskrcnn.core.metrics import evaluate
from napari_maskrcnn.core.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_maskrcnn.core.detector import Detector

DATA = Path(__file__).parents[2] / "shared" / "data" / "nuclei"


@dataclass(frozen=True)
class Effort:
    """What it took to correct one image.

    Parameters
    ----------
    name, group : str
        The image's stem, and its modality.
    objects : int
        True ones: so many acts does drawing take.
    ap : float
        AP at IoU 0.5 of the result before it was corrected.
    acts : dict of str to int
        How many of each kind.
    in_vain : int
        How many of the prompts were taken back.
    """

    name: str
    group: str
    objects: int
    ap: float
    acts: dict[str, int]
    in_vain: int

    @property
    def total(self) -> int:
        """All acts."""
        return sum(self.acts.values())


def correct(
    detector: Detector, paths: tuple[Path, Path], group: str, recipe: Recipe
) -> Effort:
    """Segment an image and correct the result.

    Raises
    ------
    RuntimeError
        When the corrected labels do not agree with the truth.
    """
    truth = read_image(paths[1])
    encoding = detector.encode(read_image(paths[0]))
    label_image = recipe.apply(detector.detect(encoding)).to_label_image()
    done = annotate(truth, label_image, lambda box: detector.prompt_box(encoding, box))
    before, after = evaluate([truth, truth], [label_image, done.labels]).images
    if after.at(0.5).ap < 1:
        raise RuntimeError(f"{paths[0].stem} is not right yet: {after.at(0.5)}")
    acts = {kind: done.acts[kind] for kind in KINDS}
    objects = before.true_objects
    ap = before.at(0.5).ap
    return Effort(paths[0].stem, group, objects, ap, acts, done.in_vain)


def summary(efforts: Sequence[Effort]) -> dict[str, float]:
    """Return the figures of several images together."""
    acts: Counter[str] = Counter()
    for effort in efforts:
        acts.update(effort.acts)
    objects, total = sum(effort.objects for effort in efforts), acts.total()
    return {
        "images": len(efforts),
        "objects": objects,
        "ap": sum(effort.ap for effort in efforts) / len(efforts),
        **{kind: acts[kind] for kind in KINDS},
        "in_vain": sum(effort.in_vain for effort in efforts),
        "acts": total,
        "acts_an_object": total / max(objects, 1),
        "drawing_to_correcting": objects / max(total, 1),
    }


def table(groups: dict[str, dict[str, float]]) -> str:
    """Return the figures of all groups as Markdown."""
    lines = [
        "| images | objects | AP before | delete | prompt (in vain) | merge | split "
        "| repaint | acts an object | drawing takes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in groups.items():
        lines.append(
            f"| {name} ({row['images']}) | {row['objects']} | {row['ap']:.3f} "
            f"| {row['delete']} | {row['prompt']} ({row['in_vain']}) | {row['merge']} "
            f"| {row['split']} | {row['repaint']} | {row['acts_an_object']:.2f} "
            f"| {row['drawing_to_correcting']:.1f} times |"
        )
    return "\n".join(lines)


def by_group(efforts: Sequence[Effort]) -> dict[str, dict[str, float]]:
    """Return the figures of each group, and of all."""
    names = sorted({effort.group for effort in efforts})
    groups = {name: [e for e in efforts if e.group == name] for name in names}
    if len(names) > 1:
        groups["all"] = list(efforts)
    return {name: summary(members) for name, members in groups.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, default=DATA / "val" / "images")
    parser.add_argument("--labels", type=Path, default=DATA / "val" / "labels")
    parser.add_argument(
        "--groups",
        type=Path,
        default=DATA / "index.csv",
        help="CSV with columns id and modality",
    )
    parser.add_argument("--model", default="nuclei", help="name or file")
    parser.add_argument("--score", type=float, help="by default the model's own")
    parser.add_argument("--limit", type=int, help="only the first N images")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args(arguments)
    if not options.images.is_dir():
        print(f"{options.images} is not there: nothing is measured")
        return
    groups: dict[str, str] = {}
    if options.groups.is_file():
        with options.groups.open(newline="") as file:
            groups = {row["id"]: row["modality"] for row in csv.DictReader(file)}
    pairs = pair_files(options.images, options.labels)[: options.limit]
    detector = load_model(options.model, "cpu")
    recipe = Recipe(model=options.model, score_threshold=options.score)
    efforts = []
    for number, paths in enumerate(pairs, start=1):
        group = groups.get(paths[0].stem, "all")
        effort = correct(detector, paths, group, recipe)
        efforts.append(effort)
        print(
            f"{number}/{len(pairs)} {effort.name} ({group}): {effort.total} acts for "
            f"{effort.objects} objects",
            file=sys.stderr,
        )
    figures = by_group(efforts)
    print(table(figures))
    if options.json:
        values = {
            "model": options.model,
            "score_threshold": options.score,
            "groups": figures,
            "images": [{**asdict(e), "total": e.total} for e in efforts],
        }
        with replacing(options.json) as temporary:
            temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
