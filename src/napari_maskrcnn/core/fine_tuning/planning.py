"""What a fine-tuning run will learn from and be judged by, known before it starts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_maskrcnn.core.reviewed import UNREVIEWED
from napari_maskrcnn.core.words import counted

from .holding_out import hold_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_maskrcnn.core.checkpoints import Checkpoint
    from napari_maskrcnn.core.dataset import AnnotatedImage

    from .config import FineTuneConfig

# Below these numbers a person is told that figures and results mean little.
FEW_OBJECTS = 10
FEW_EXAMPLES = 5


@dataclass(frozen=True, slots=True, eq=False)
class FineTunePlan:
    """What a run will do with the images it is given.

    Parameters
    ----------
    class_names : tuple of str
        The classes of the new model.
    new_classes : tuple of str
        Those of them that the old model does not know.
    objects, held_out_objects : dict of str to int
        How many objects of each class are learnt from and judged by.
    held_out : tuple of str
        What is held out: names of images, or parts of images in words.
    kind : str
        "images", "regions" or "objects".
    warnings : tuple of str
        Sentences for the person.
    sure_ground : bool
        Whether the old model is asked which unreviewed ground is background.
    training, judging : tuple of AnnotatedImage
        The images for either purpose, class ids by ``class_names``. What is not for the
        purpose is marked as held out.
    """

    class_names: tuple[str, ...]
    new_classes: tuple[str, ...]
    objects: dict[str, int]
    held_out_objects: dict[str, int]
    held_out: tuple[str, ...]
    kind: str
    warnings: tuple[str, ...] = ()
    sure_ground: bool = False
    training: tuple[AnnotatedImage, ...] = field(default=(), repr=False)
    judging: tuple[AnnotatedImage, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        """Say in a few lines what is used for what."""
        judged = sum(self.held_out_objects.values())
        what = {
            "images": f"{counted(len(self.held_out), 'image')}: "
            + ", ".join(self.held_out),
            "regions": "a part of the image, since there are few images: "
            + "; ".join(self.held_out),
            "objects": "single objects, since they are few",
        }[self.kind]
        lines = [
            f"Learns from {_listed(self.objects)} in "
            f"{counted(len(self.training), 'image')}",
            f"Held out to measure with ({counted(judged, 'object')}): {what}",
        ]
        if self.new_classes:
            lines.append(f"New classes: {', '.join(self.new_classes)}")
        if self.sure_ground:
            lines.append(
                "Ground that nobody looked at counts as background where the model "
                "finds nothing at all; the rest is left out"
            )
        return "\n".join([*lines, *self.warnings])


def _listed(objects: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in objects.items() if number)


def plan(
    known_classes: Sequence[str],
    annotated: Sequence[AnnotatedImage],
    config: FineTuneConfig,
    replay: Sequence[AnnotatedImage] = (),
) -> FineTunePlan:
    """Decide what is learnt from and what is held out; costs next to nothing.

    Parameters
    ----------
    known_classes : sequence of str
        The classes of the model to start from.
    annotated : sequence of AnnotatedImage
        All images of the person.
    config : FineTuneConfig
        Its seed, held-out part and dropped classes are used.
    replay : sequence of AnnotatedImage
        Classes that are replayed are not missed among the images; see `replay_plan`.

    Raises
    ------
    ValueError
        When there is nothing to learn from, or classes do not agree; the message says
        what to do.
    """
    known = tuple(known_classes)
    names, warnings = _classes(known, annotated, config.drop_classes)
    used = [_recoded(item, known, names) for item in annotated]
    if idle := [item.name for item in used if _is_idle(item)]:
        warnings.append(
            f"Nothing is reviewed in {', '.join(idle)}: not used. Approve objects or "
            "draw a region in which everything is right"
        )
    used = [item for item in used if not _is_idle(item)]
    total = _total(used)
    if total < 2:
        raise ValueError(
            "none of the images holds a reviewed object: there is nothing to learn from"
            if not total
            else "there is only one object, and one is held out to measure with: "
            "annotate at least two, better ten"
        )
    training, judging, held_out, kind = hold_out(used, config.held_out, config.seed)
    objects, judged = _by_name(training, names), _by_name(judging, names)
    again = {name for item in replay for name in _present_classes(item, known)}
    missed = {name: number for name, number in objects.items() if name not in again}
    new_classes = tuple(name for name in names if name not in known)
    warnings += _scarcity(missed, known, judged)
    return FineTunePlan(
        class_names=names,
        new_classes=new_classes,
        objects=objects,
        held_out_objects=judged,
        held_out=tuple(held_out),
        kind=kind,
        warnings=tuple(warnings),
        sure_ground=config.sure_ground
        and not new_classes
        and any(map(shows_objects_only, training)),
        training=tuple(training),
        judging=tuple(judging),
    )


def replay_plan(
    class_names: Sequence[str],
    replay: Sequence[AnnotatedImage],
    known_classes: Sequence[str],
    config: FineTuneConfig,
) -> tuple[tuple[AnnotatedImage, ...], tuple[AnnotatedImage, ...]]:
    """Split replay images into those learnt from and those that show forgetting.

    Raises
    ------
    ValueError
        When they hold too few objects, or such of a class that the new model lacks.
    """
    if not replay:
        return (), ()
    names, known = tuple(class_names), tuple(known_classes)
    for item in replay:
        missing = set(_own_classes(item, known)) - set(names)
        if missing & set(_present_classes(item, known)):
            raise ValueError(
                f"replay image {item.name} has objects of the class "
                f"{sorted(missing)[0]!r}, which the new model does not have"
            )
    used = [_recoded(item, known, names) for item in replay]
    used = [item for item in used if item.has_objects]
    if _total(used) < 2:
        raise ValueError(
            "the replay images hold fewer than two objects that count: approve more, "
            "or leave them out"
        )
    training, judging, _, _ = hold_out(used, config.held_out, config.seed)
    return tuple(training), tuple(judging)


def replay_in_words(
    training: Sequence[AnnotatedImage], judging: Sequence[AnnotatedImage]
) -> str:
    """Say what is replayed, for `replay_plan`'s result; empty without any."""
    if not judging:
        return ""
    return (
        f"Replays {counted(_total(training), 'object')} in "
        f"{counted(len(training), 'image')}, and measures with "
        f"{counted(_total(judging), 'object')} more whether they are forgotten"
    )


def object_counts(item: AnnotatedImage) -> Counter[int]:
    """Return how many objects that count an image has, by class id."""
    labels = np.unique(item.label_image)
    return Counter(item.class_ids[labels[labels > 0]].tolist())


def class_objects(item: AnnotatedImage, known: tuple[str, ...]) -> dict[str, int]:
    """Return how many objects that count an image has, by the name of their class.

    Parameters
    ----------
    item : AnnotatedImage
        The image.
    known : tuple of str
        The model's classes, which objects without classes of their own have.
    """
    own, counts = _own_classes(item, known), object_counts(item)
    return {name: counts[own.index(name) + 1] for name in _present_classes(item, known)}


def _total(items: Sequence[AnnotatedImage]) -> int:
    return sum(object_counts(item).total() for item in items)


def shows_objects_only(item: AnnotatedImage) -> bool:
    """Whether single objects were reviewed, and no ground."""
    labels = item.label_image
    return item.has_objects and bool((labels == UNREVIEWED).any() and labels.all())


def _is_idle(item: AnnotatedImage) -> bool:
    """Whether nobody said anything about an image that could be learnt."""
    return not item.has_objects and bool((item.label_image < 0).any())


def _by_name(items: Sequence[AnnotatedImage], names: tuple[str, ...]) -> dict[str, int]:
    counts: Counter[int] = sum((object_counts(item) for item in items), Counter())
    return {name: counts[place] for place, name in enumerate(names, start=1)}


def _own_classes(item: AnnotatedImage, known: tuple[str, ...]) -> tuple[str, ...]:
    """The names of an image's class ids; labels without classes are the model's."""
    if item.class_names:
        return item.class_names
    if len(known) > 1 and item.has_objects:
        raise ValueError(
            f"{item.name}: its labels have no classes, and the model knows several "
            f"({', '.join(known)}); say which class they are"
        )
    return known


def _present_classes(item: AnnotatedImage, known: tuple[str, ...]) -> list[str]:
    own = _own_classes(item, known)
    counts = object_counts(item)
    wrong = [class_id for class_id in counts if not 1 <= class_id <= len(own)]
    if wrong:
        raise ValueError(
            f"{item.name}: class id {wrong[0]} has no name; "
            f"there are {len(own)} class names"
        )
    return [own[class_id - 1] for class_id in sorted(counts)]


def _classes(
    known: tuple[str, ...],
    annotated: Sequence[AnnotatedImage],
    drop: tuple[str, ...],
) -> tuple[tuple[str, ...], list[str]]:
    """Return the new model's classes, and what there is to say about them."""
    if not annotated:
        raise ValueError("there are no annotated images to learn from")
    for name in drop:
        if name not in known:
            raise ValueError(
                f"the class {name!r} cannot be dropped: the model knows "
                f"{', '.join(known)}"
            )
    present = dict.fromkeys(
        name for item in annotated for name in _present_classes(item, known)
    )
    for name in drop:
        if name in present:
            raise ValueError(
                f"the class {name!r} is to be dropped, but there are objects of it"
            )
    named = dict.fromkeys(name for item in annotated for name in item.class_names)
    empty = [n for n in named if n not in present and n not in known]
    warnings = [f"No object has the class {name!r}: it is left out" for name in empty]
    kept = [name for name in known if name not in drop]
    # Without any object the caller's complaint is the better one.
    names = dict.fromkeys([*kept, *present]) or dict.fromkeys(known)
    return tuple(names), warnings


def _recoded(
    item: AnnotatedImage, known: tuple[str, ...], names: tuple[str, ...]
) -> AnnotatedImage:
    """Return the image with class ids of the new model."""
    own = _own_classes(item, known)
    # Classes that no object has may be missing among the new ones.
    table = [0, *(names.index(name) + 1 if name in names else 0 for name in own)]
    inside = np.clip(item.class_ids, 0, len(own))
    return replace(item, class_ids=np.array(table)[inside], class_names=names)


def _scarcity(
    objects: dict[str, int], known: tuple[str, ...], judged: dict[str, int]
) -> list[str]:
    """Say where there is little to learn from or to measure with."""
    warnings = []
    for name, number in objects.items():
        if not number and name in known:
            warnings.append(
                f"There is no example of {name!r}: the model may forget it. "
                "Replay images of it, or drop the class"
            )
        elif number < FEW_EXAMPLES:
            warnings.append(
                f"Only {counted(number, 'object')} of the class {name!r} to learn from"
            )
        if number and not judged[name]:
            warnings.append(f"No {name!r} is held out: how well it is found is unknown")
    if sum(judged.values()) < FEW_OBJECTS:
        warnings.append(
            f"Only {counted(sum(judged.values()), 'object')} held out: "
            "the figures say little"
        )
    return warnings


def check_kind(checkpoint: Checkpoint) -> None:
    """Raise ValueError for a model that cannot be fine-tuned."""
    if checkpoint.output_kind == "keypoints":
        raise ValueError(
            "keypoint networks cannot be fine-tuned here: annotations have masks and "
            "no keypoints. Models that give masks or boxes can be"
        )
