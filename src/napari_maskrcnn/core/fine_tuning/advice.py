"""What of a network to train for some objects, and why, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

from napari_maskrcnn.core.progress import Progress, relay

from .judging import Judge
from .planning import check_kind, class_objects
from .telling_apart import told_apart

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from napari_maskrcnn.core.checkpoints import Checkpoint
    from napari_maskrcnn.core.dataset import AnnotatedImage

# So many images are looked at before a run.
ADVICE_IMAGES = 6
# Below this part of the objects the old proposals are too bad for new heads alone.
ENOUGH_PROPOSED = 0.85
# Below this part of them right, the classes look too much alike to the old features.
# Fruits, of which the whole network learnt much more than new heads alone, are at 0.6
# to 0.8, where chance is 0.33.
ENOUGH_TOLD_APART = 0.85
# From this loss of AP on, classes are mixed up more than objects are missed.
MIXED_UP = 0.2
# From this AP on, whatever the classes, objects are found. A model of fluorescence has
# 0.47 on stained tissue: there the whole network, with replayed images, gained four
# times what the heads did.
ENOUGH_FOUND = 0.5


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to train, and why.

    Parameters
    ----------
    train : str
        A key of `config.PARTS`.
    proposed : float
        Part of the annotated objects that the old model's proposals cover.
    sentence : str
        For the person.
    told_apart : float or None
        Part of the objects whose class the old model's features tell; see
        `telling_apart.told_apart`. None where it was not asked.
    found : float or None
        AP at IoU 0.5 of the old model, whatever the classes. None where it was not
        measured.
    """

    train: str
    proposed: float
    sentence: str
    told_apart: float | None = None
    found: float | None = None


def recommend(
    proposed: float,
    after: Mapping[str, float] | None = None,
    *,
    trained: str = "",
    new_classes: int = 0,
    told_apart: float | None = None,
    found: float | None = None,
) -> Recommendation:
    """Recommend what to train.

    The heads look only where the region proposals point, and see only what the trunk
    makes of it. Everything has to learn where proposals do not cover the annotated
    objects, where what is seen does not tell new classes apart, and where the model
    knows the class and hardly finds it: what lies between, the pyramid, takes as long
    and brings less. What a run has shown goes before what was expected of it.

    Parameters
    ----------
    proposed : float
        See `Judge.proposed`.
    after : mapping, optional
        The figures of a model that was fine-tuned.
    trained : str
        What of it was, a key of `config.PARTS`.
    new_classes : int
        How many classes the old model does not know.
    told_apart, found : float, optional
        See `Recommendation`.
    """
    train, sentence = _after(after or {}, trained)
    if not train and new_classes and told_apart is not None:
        train, sentence = _by_classes(new_classes, told_apart, found)
    if not train and not new_classes:
        train, sentence = _by_found(found)
    if not train:
        train, sentence = _by_proposals(proposed, told_apart if new_classes else None)
    return Recommendation(train, proposed, sentence, told_apart, found)


def _after(after: Mapping[str, float], trained: str) -> tuple[str, str]:
    any_class, right = after.get("ap50_any_class", 0.0), after.get("ap50", 0.0)
    everything = trained == "all"
    if any_class - right >= MIXED_UP:
        more = "" if everything else ", or the whole network"
        return "all", (
            f"Objects are found (AP {any_class:.2f}) but their classes mixed up "
            f"(AP {right:.2f}): train longer{more}"
        )
    if not everything:
        return "", ""
    if any_class < ENOUGH_FOUND:
        return "all", (
            f"Few of the objects are found (AP {any_class:.2f}): train longer, or on "
            "more images"
        )
    return "heads", (
        f"Objects are found (AP {any_class:.2f}): for more of the same kind, the heads "
        "are enough"
    )


def _by_classes(
    new_classes: int, told_apart: float, found: float | None
) -> tuple[str, str]:
    if told_apart >= ENOUGH_TOLD_APART:
        return "", ""
    new = "1 class is new" if new_classes == 1 else f"{new_classes} classes are new"
    good = found is not None and found >= ENOUGH_FOUND
    objects = f"It finds the objects (AP {found:.2f}), but " if good else ""
    return "all", (
        f"{new} to the model. {objects}what it sees of them tells their classes apart "
        f"for {told_apart:.0%} only: train the whole network, which takes longer"
    )


def _by_found(found: float | None) -> tuple[str, str]:
    if found is None or found >= ENOUGH_FOUND:
        return "", ""
    return "all", (
        f"The model knows these objects and finds few of them (AP {found:.2f}): they "
        "look different here. Train the whole network, and replay images of the old "
        "kind, so that it does not forget them"
    )


def _by_proposals(proposed: float, told_apart: float | None) -> tuple[str, str]:
    seen = f"The model's region proposals cover {proposed:.0%} of the annotated objects"
    if proposed < ENOUGH_PROPOSED:
        return "all", (
            f"{seen}: these objects are far from what it knows. Train the whole network"
        )
    if told_apart is not None:
        seen += f", and what it sees of them tells the classes of {told_apart:.0%}"
    return "heads", f"{seen}: the heads are enough"


def advise(
    checkpoint: Checkpoint, annotated: Sequence[AnnotatedImage], device: str = "auto"
) -> Generator[Progress, None, Recommendation]:
    """Recommend what to train, before a run: a few images are segmented.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model to start from.
    annotated : sequence of AnnotatedImage
        The person's images.
    device : str
        See `core.devices.choose_device`.
    """
    check_kind(checkpoint)
    known = tuple(checkpoint.config["class_names"])
    chosen = _most_telling(annotated, known)
    if not chosen:
        raise ValueError("none of the images holds a reviewed object")
    yield Progress(0, 0, "Loading the model")
    judge = Judge(checkpoint, chosen, device)

    def moment() -> Progress:
        return Progress(0, 0, "Looking at the objects")

    proposed = yield from relay(judge.proposed(), moment)
    found = yield from relay(judge.found(), moment)
    new = {n for item in annotated for n in class_objects(item, known)} - set(known)
    apart = None
    if new:
        seen = yield from relay(judge.seen(), moment)
        apart = told_apart(*seen)
    return recommend(proposed, new_classes=len(new), told_apart=apart, found=found)


def _most_telling(
    annotated: Sequence[AnnotatedImage], known: tuple[str, ...]
) -> list[AnnotatedImage]:
    """The images with most objects of the classes that were seldom seen so far."""
    left = [(item, class_objects(item, known)) for item in annotated]
    left = [pair for pair in left if pair[1]]
    seen: dict[str, int] = {}
    chosen: list[AnnotatedImage] = []
    while left and len(chosen) < ADVICE_IMAGES:
        gains = [
            sum(number / (1 + seen.get(name, 0)) for name, number in counts.items())
            for _, counts in left
        ]
        item, counts = left.pop(gains.index(max(gains)))
        chosen.append(item)
        for name, number in counts.items():
            seen[name] = seen.get(name, 0) + number
    return chosen
