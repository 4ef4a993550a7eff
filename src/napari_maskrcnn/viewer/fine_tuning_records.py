"""What goes into the fine-tuning of a viewer, and what comes out; no torch, no Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from napari_maskrcnn.core.fine_tuning.advice import Recommendation
    from napari_maskrcnn.core.fine_tuning.config import FineTuneConfig
    from napari_maskrcnn.viewer.annotated_layers import LabelledPlane
    from napari_maskrcnn.viewer.before_after import Example


@dataclass(frozen=True, slots=True)
class Files:
    """Images in a folder, with their objects in another or in a COCO file.

    Parameters
    ----------
    images, labels : Path
        See `core.annotations.read_annotated`.
    class_name : str
        The class of the objects of label images; empty for the model's only one.
    """

    images: Path
    labels: Path
    class_name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What is to be learnt from what.

    Parameters
    ----------
    sources : tuple of LabelledPlane or Files
        Where the annotated images come from.
    model : str
        The model to start from.
    name : str
        The new one's name.
    config : FineTuneConfig
        The recipe.
    replay : tuple of LabelledPlane or Files
        Images of what the model knows already.
    device : str
        See `core.devices.choose_device`.
    """

    sources: tuple[LabelledPlane | Files, ...]
    model: str
    name: str
    config: FineTuneConfig
    replay: tuple[LabelledPlane | Files, ...] = ()
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a run would do.

    Parameters
    ----------
    text : str
        The core's plan, in lines.
    warnings : tuple of str
        Sentences for the person.
    recommendation : Recommendation or None
        What to train; None where that was not asked for.
    """

    text: str
    warnings: tuple[str, ...]
    recommendation: Recommendation | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """The history of a run that is taken up again."""

    rows: list[dict[str, float]] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The end of a run.

    Parameters
    ----------
    name : str
        The new model's name.
    path : Path or None
        Its file; None while it is only in the folder of its run.
    folder : Path
        The folder of the run.
    better : bool
        Whether it is better on what was held out.
    before, after, replay_before, replay_after : dict of str to float
        Figures of the old and the new model.
    best_step, steps : int
        The step that the model is of, and the steps done.
    seconds : float
        Time spent.
    ended : str
        Why the run ended, in words.
    advice : str
        What to train with these objects, in a sentence.
    examples : tuple of Example
        Pictures; none after a run that was cancelled.
    """

    name: str
    path: Path | None
    folder: Path
    better: bool
    before: dict[str, float]
    after: dict[str, float]
    replay_before: dict[str, float] = field(default_factory=dict)
    replay_after: dict[str, float] = field(default_factory=dict)
    best_step: int = 0
    steps: int = 0
    seconds: float = 0.0
    ended: str = ""
    advice: str = ""
    examples: tuple[Example, ...] = ()
