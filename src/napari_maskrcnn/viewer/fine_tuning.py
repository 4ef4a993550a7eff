"""A viewer's training: it goes on when its widget is closed, and is found again.

It has a thread of its own beside the session's, and gives way to it: while Segment, a
prompt or an export runs, the training waits between two of its steps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from qtpy.QtCore import QObject, Qt, QTimer, Signal

from napari_maskrcnn.core.model_list import find_model
from napari_maskrcnn.core.model_store import check_new_name
from napari_maskrcnn.viewer.annotated_layers import LabelledPlane
from napari_maskrcnn.viewer.export_parts import likely_image
from napari_maskrcnn.viewer.fine_tuning_job import (
    Gate,
    best_so_far,
    check,
    keep_best,
    train,
)
from napari_maskrcnn.viewer.fine_tuning_records import Checked, Past, Trained
from napari_maskrcnn.viewer.models import models_of
from napari_maskrcnn.viewer.next_image import next_image, show
from napari_maskrcnn.viewer.workers import JobRunner

if TYPE_CHECKING:
    import weakref

    from napari.layers import Image

    from napari_maskrcnn.viewer.fine_tuning_records import Request
    from napari_maskrcnn.viewer.layers import Plane
    from napari_maskrcnn.viewer.session import Session

CHECKING, TRAINING, KEEPING = "checking", "training", "keeping"
# How often to look whether anything else runs.
LOOK_MS = 100
KEPT_SCORES = ("ap50", "ap75")


class FineTuning(QObject):
    """Checks, trains, and takes the result into use; use `fine_tuning_of` to get it.

    Signals
    -------
    changed ()
        A job started or ended.
    progressed (object)
        A `Progress` or `FineTuneProgress`.
    measured ()
        There are more losses or scores.
    checked (Checked)
        What a run would do, or will do.
    trained (Trained)
        A run is over, or was cancelled when it had something to keep.
    used (str)
        A new model is in use, by its name.
    failed (str), warned (str)
        A sentence for the person.
    """

    changed = Signal()
    progressed = Signal(object)
    measured = Signal()
    checked = Signal(object)
    trained = Signal(object)
    used = Signal(str)
    failed = Signal(str)
    warned = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.jobs = JobRunner(self)
        self.jobs.changed.connect(self._on_job)
        self.jobs.progressed.connect(self._on_progress)
        self.jobs.returned.connect(self._on_returned)
        self.jobs.failed.connect(self.failed)
        self.jobs.warned.connect(self.warned)
        session.job_changed.connect(self._look)
        session.released.connect(self.release)
        self._gate = Gate()
        self._looking = QTimer(self)
        self._looking.setInterval(LOOK_MS)
        self._looking.timeout.connect(self._look)
        #: What the job that runs, or ran last, does.
        self.doing = ""
        #: (step, loss) of every step, and (step, scores) of every validation.
        self.losses: list[tuple[float, float]] = []
        self.scores: list[tuple[float, dict[str, float]]] = []
        self.last: Any = None
        self.outcome: Trained | None = None
        self._name = ""
        self._taken_up = False
        self._learnt_from: list[tuple[weakref.ref[Image], Plane]] = []

    @property
    def session(self) -> Session:
        """The session: this object's parent, which a reference would keep alive."""
        return cast("Session", self.parent())

    @property
    def training(self) -> bool:
        """Whether a training runs."""
        return self.jobs.running and self.doing == TRAINING

    # ---- the person's acts

    def check(self, request: Request) -> None:
        """Find out what a run would do; a check that runs is given up."""
        if self.jobs.running and self.doing != CHECKING:
            return
        self.jobs.cancel()
        self.doing = CHECKING
        self.jobs.start(check, request)

    def start(self, request: Request) -> None:
        """Start a training.

        Raises
        ------
        ValueError
            When the new name will not do, or the model is gone.
        """
        if self.jobs.running and self.doing != CHECKING:
            return
        self._name = check_new_name(request.name)
        find_model(request.model)
        self.jobs.cancel()
        self.losses, self.scores = [], []
        self.last = self.outcome = None
        self._taken_up = False
        self._learnt_from = [
            (source.layer, source.image.plane)
            for source in (*request.sources, *request.replay)
            if isinstance(source, LabelledPlane)
        ]
        self.doing = TRAINING
        self._gate.busy = self._others_run()
        self._looking.start()
        self.jobs.start(train, request, self._gate)
        self.measured.emit()

    def cancel(self) -> None:
        """Give the job up; of a training the best model so far is kept."""
        training, last = self.training, self.last
        self.jobs.cancel()
        if training and last is not None and last.best_step:
            self.outcome = best_so_far(self._name, last.step, last.seconds)
            if self.outcome is not None:
                self.trained.emit(self.outcome)

    def use(self) -> None:
        """Use the new model in this viewer, written first where it is not yet."""
        if self.outcome is None or self.jobs.running:
            return
        if self.outcome.path is None:
            self.doing = KEEPING
            self.jobs.start(keep_best, self.outcome.name)
        else:
            self._take_into_use()

    def _take_into_use(self) -> None:
        if self.outcome is not None:
            models_of(self.session).choose(self.outcome.name)
            self.used.emit(self.outcome.name)

    # ---- the next image

    def next_image(self) -> tuple[Image, Plane] | None:
        """Return what follows the images that were learnt from."""
        viewer = self.session.viewer
        if viewer is None:
            return None
        used = [(ref(), plane) for ref, plane in self._learnt_from]
        return next_image(
            viewer,
            [(x, plane) for x, plane in used if x is not None and x in viewer.layers],
        )

    def segment_next(self) -> Image | None:
        """Show the next image and segment it with the new model; None without one."""
        viewer, found = self.session.viewer, self.next_image()
        if viewer is None or found is None or self.outcome is None:
            return None
        image, plane = found
        seen = [x for ref, _ in self._learnt_from if (x := ref()) is not None]
        # Objects of an image that is hidden would lie over the one that is shown.
        objects = [
            labels
            for labels in self.session.all_labels()
            if (owner := likely_image(self.session, labels)) is not image
            and any(owner is x for x in seen)
        ]
        show(viewer, image, plane, [*seen, *objects])
        recipe = models_of(self.session).recipe(self.outcome.name)
        self.session.segment(image, recipe, keep_edited=True)
        return image

    # ---- what the job tells

    def _on_progress(self, record: Any) -> None:
        if isinstance(record, Checked):
            self.checked.emit(record)
            return
        if isinstance(record, Past):
            self._take_past(record)
            return
        if self.doing == TRAINING and hasattr(record, "step"):
            self.last = record
            if record.losses:
                self.losses.append((record.step, record.losses["loss"]))
            if record.validation and self._taken_up:
                # The old model's figures, told again with the step that is reached.
                self._taken_up = False
            elif record.validation:
                self._add_scores(record.step, record.validation)
            if record.losses or record.validation:
                self.measured.emit()
        self.progressed.emit(record)

    def _take_past(self, past: Past) -> None:
        self._taken_up = True
        for row in past.rows:
            if "loss" in row:
                self.losses.append((row["step"], row["loss"]))
            if "ap50" in row:
                self._add_scores(row["step"], row)
        self.measured.emit()

    def _add_scores(self, step: float, scores: dict[str, float]) -> None:
        if not self.scores or self.scores[-1][0] < step:
            kept = {key: scores[key] for key in KEPT_SCORES if key in scores}
            self.scores.append((step, kept))

    def _on_returned(self, result: Any) -> None:
        if isinstance(result, Checked):
            self.checked.emit(result)
        elif isinstance(result, Trained):
            self.outcome = result
            if result.path is not None:
                models_of(self.session).changed.emit()
            self.trained.emit(result)
        elif self.outcome is not None:
            self.outcome = replace(self.outcome, path=result)
            self._take_into_use()

    def _on_job(self) -> None:
        if not self.jobs.running:
            self._looking.stop()
        self.changed.emit()

    # ---- giving way

    def _look(self) -> None:
        self._gate.busy = self._others_run()

    def _others_run(self) -> bool:
        runners = self.session.findChildren(JobRunner)
        return any(x.running for x in runners if x is not self.jobs)

    def release(self) -> None:
        """Let go of everything; called when the window is closed."""
        self.jobs.cancel()
        self._looking.stop()
        self._gate.busy = False
        self._learnt_from = []
        self.outcome = self.last = None


def fine_tuning_of(session: Session) -> FineTuning:
    """Return the session's only `FineTuning`."""
    direct = Qt.FindChildOption.FindDirectChildrenOnly
    found = session.findChild(FineTuning, "", direct)
    return found if isinstance(found, FineTuning) else FineTuning(session)
