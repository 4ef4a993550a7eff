"""The dock widget "Fine-tune": teach a model your objects and see if it helped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFormLayout

from napari_maskrcnn.core.fine_tuning.config import PARTS
from napari_maskrcnn.core.model_store import run_folder
from napari_maskrcnn.core.progress import duration
from napari_maskrcnn.viewer.drawn_words import correcting
from napari_maskrcnn.viewer.fine_tuning import fine_tuning_of
from napari_maskrcnn.viewer.fine_tuning_records import Request
from napari_maskrcnn.viewer.models import models_of
from napari_maskrcnn.viewer.settings import device_choice
from napari_maskrcnn.viewer.workers import describe_error
from napari_maskrcnn.widgets.dock import Dock
from napari_maskrcnn.widgets.fine_tune_curves import Curves
from napari_maskrcnn.widgets.fine_tune_form import TrainingForm
from napari_maskrcnn.widgets.fine_tune_result import ResultPanel
from napari_maskrcnn.widgets.fine_tune_sources import LAYERS, ReplayPanel, SourcePanel
from napari_maskrcnn.widgets.parts import (
    PrimaryButton,
    ProgressRow,
    StatusLine,
    align,
    button,
    paragraph,
)

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent

    from napari_maskrcnn.viewer.fine_tuning_records import Checked, Trained
    from napari_maskrcnn.viewer.session import Session

CHECK, START = "Check the data", "Start fine-tuning"
CURVES_NAME = "curves.png"
PER_CENT = 100


class FineTuneWidget(Dock):
    """Choose what to learn from, see what will be done, train, compare, use.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer, or napari's proxy of it.
    session : Session, optional
        By default the viewer's own.
    """

    def __init__(self, napari_viewer: Any, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.tuning = fine_tuning_of(self.session)
        # What the summary, and the run that was started last, are about.
        self._checked_for: Any = None
        self._started_for: Any = None
        self._recommended = ""
        # The image that "Segment the next image" is about.
        self._segmenting = ""
        self._make_parts()
        self._lay_out()
        self._connect()
        self.use_theme()
        self._on_models()
        self._on_layers()
        self._take_up()

    # ---- building

    def _make_parts(self) -> None:
        self.sources = SourcePanel(self.session)
        self.replay = ReplayPanel(self.session)
        self.form = TrainingForm()
        self.summary_label = paragraph()
        self.remarks = StatusLine()
        self.follow_button = button("", "Train what is recommended for these objects")
        self.run_button = PrimaryButton(CHECK)
        self.run_row = ProgressRow(
            "How far the run has come", "Stop; the best model so far is kept"
        )
        self.status = StatusLine()
        self.curves = Curves()
        self.result = ResultPanel()
        for part in (
            self.summary_label, self.remarks, self.follow_button, self.curves,
            self.result,
        ):  # fmt: skip
            part.hide()

    def _lay_out(self) -> None:
        self.stack(
            self.sources,
            self.replay,
            self.form,
            self.summary_label,
            self.remarks,
            self.follow_button,
            self.run_button,
            self.run_row,
            self.status,
            self.curves,
            self.result,
            width=320,
        )

    def _connect(self) -> None:
        session, tuning = self.session, self.tuning
        session.layers_changed.connect(self._on_layers)
        session.shown_changed.connect(self._on_marks)
        session.finished.connect(self._on_segmented)
        models_of(session).changed.connect(self._on_models)
        models_of(session).chosen.connect(self.form.model_box.choose)
        tuning.changed.connect(self._on_job)
        tuning.progressed.connect(self._on_progress)
        tuning.measured.connect(self._on_measured)
        tuning.checked.connect(self._on_checked)
        tuning.trained.connect(self._on_trained)
        tuning.used.connect(self._on_used)
        tuning.failed.connect(self._on_failed)
        tuning.warned.connect(self._on_warned)
        self.sources.changed.connect(self._on_changed)
        self.replay.changed.connect(self._on_changed)
        self.form.model_changed.connect(self._on_model)
        self.run_button.clicked.connect(self._on_run)
        self.run_row.cancel_button.clicked.connect(self._on_cancel)
        self.follow_button.clicked.connect(self._on_follow)
        self.result.use_wanted.connect(self._on_use)
        self.result.next_wanted.connect(self._on_next)

    def _take_up(self) -> None:
        """Show what went on while no such widget was open."""
        tuning = self.tuning
        if tuning.losses or tuning.scores:
            self._on_measured()
        if tuning.outcome is not None:
            self._on_trained(tuning.outcome)
        elif tuning.last is not None and tuning.training:
            self._on_progress(tuning.last)

    # ---- the session tells

    def showEvent(self, event: QShowEvent | None) -> None:
        """Look for new marks and models."""
        super().showEvent(event)
        align(self.findChildren(QFormLayout))
        self._on_models()
        self._on_marks()

    def _on_layers(self) -> None:
        for panel in (self.sources, self.replay):
            panel.layers.list_layers()
        self._on_changed()

    def _on_marks(self) -> None:
        changed = [panel.layers.count() for panel in (self.sources, self.replay)]
        if any(changed):
            self._on_changed()

    def _on_models(self) -> None:
        self.form.list_models()
        self._use_classes()

    def _on_model(self) -> None:
        self._use_classes()
        self._on_changed()

    def _use_classes(self) -> None:
        for panel in (self.sources, self.replay):
            panel.use_classes(self.form.class_names())

    def _choice(self) -> Any:
        """Return what the plan depends on."""
        return (
            self.form.model_box.name(),
            self.sources.signature(),
            self.replay.signature(),
        )

    def _on_changed(self) -> None:
        """Say that what was checked is no longer what is chosen."""
        if self._checked_for is not None and self._checked_for != self._choice():
            self._checked_for = None
            self._show_summary("", (), "")
        self._on_job()

    def _on_job(self) -> None:
        jobs, training = self.tuning.jobs, self.tuning.training
        empty = self.sources.is_empty() or self.replay.is_empty()
        self.run_button.setText(CHECK if self._checked_for is None else START)
        self.run_button.setEnabled(not jobs.running and not empty)
        self.run_row.set_running(jobs.running)
        for panel in (self.sources, self.replay):
            panel.setEnabled(not training)
        self.form.setEnabled(not training)
        if jobs.waiting:
            self.status.say("Waiting for the last run to stop")
        elif empty and not jobs.running and self.tuning.outcome is None:
            self.status.say(self._invitation())

    def _invitation(self) -> str:
        if not self.sources.is_empty():
            return "Choose what to replay, or None"
        if self.sources.kind != LAYERS:
            return "Choose the images and their labels to begin"
        if self.session.all_labels():
            return "Tick a layer to learn from"
        text = "Open an image with its labels to begin, or choose Files above"
        if correcting(self.session):
            return f"Boxes and keypoints without masks teach nothing yet. {text}"
        return text

    def _on_progress(self, record: Any) -> None:
        if hasattr(record, "fraction"):
            text = record.message
            if record.step:
                text += f", step {record.step}"
            self.run_row.show_progress(round(PER_CENT * record.fraction), PER_CENT)
            if 0 < record.fraction < 1:
                text += f", about {duration(record.seconds_left)} left"
        else:
            text = record.message
            self.run_row.show_progress(record.done, record.total)
        self.status.say(text)

    def _on_measured(self) -> None:
        tuning = self.tuning
        self.curves.setVisible(bool(tuning.losses or tuning.scores))
        self.curves.follow(tuning.losses, tuning.scores)

    def _on_checked(self, checked: Checked) -> None:
        advice = checked.recommendation
        self._recommended = advice.train if advice is not None else self._recommended
        if not self.tuning.training:
            self._checked_for = self._choice()
            self.status.say("")
        text = checked.text
        if advice is not None:
            text += f"\n{advice.sentence}"
        self._show_summary(text, checked.warnings, self._recommended)
        self._on_job()

    def _show_summary(
        self, text: str, warnings: tuple[str, ...], recommended: str
    ) -> None:
        self.summary_label.setText(text)
        self.summary_label.setVisible(bool(text))
        self.remarks.say("\n".join(warnings), "warning" if warnings else "info")
        self.remarks.setVisible(bool(warnings))
        self._recommended = recommended
        other = bool(recommended) and recommended != self.form.config().train
        self.follow_button.setVisible(other and not self.tuning.training)
        if other:
            self.follow_button.setText(f"Train {PARTS[recommended]}")

    def _on_trained(self, outcome: Trained) -> None:
        self.result.show_outcome(outcome)
        self.result.show()
        self.status.say(outcome.advice)
        if outcome.path is not None:
            self.form.propose_name()
        self._save_curves(outcome)
        self._on_job()

    def _save_curves(self, outcome: Trained) -> None:
        try:
            self._on_measured()
            self.curves.save(outcome.folder / CURVES_NAME)
        except OSError as error:
            self.status.say(describe_error(error), "warning")

    def _on_used(self, name: str) -> None:
        following = self.tuning.next_image()
        self.result.show_used(name, following[0].name if following else None)
        self.form.propose_name()
        self._on_job()

    def _on_failed(self, sentence: str) -> None:
        self.status.say(sentence, "error")

    def _on_warned(self, sentence: str) -> None:
        self.status.say(sentence, "warning")

    # ---- the person acts

    def _request(self) -> Request:
        self.replay.refuse_same(self.sources)
        return Request(
            sources=self.sources.sources(),
            model=self.form.model_box.name(),
            name=self.form.name(),
            config=self.form.config(),
            replay=self.replay.sources(),
            device=device_choice(),
        )

    def _on_run(self) -> None:
        checking = self._checked_for is None
        try:
            if checking:
                self.tuning.check(self._request())
                self.status.say("Looking at the data")
            else:
                self._start()
        except (ValueError, OSError, MemoryError) as error:
            self.status.say(describe_error(error), "error")

    def _start(self) -> None:
        choice = (self._choice(), self.form.config().train)
        name = self.form.name()
        # A run that was stopped goes on under its name; another one needs another.
        stopped = self._started_for == choice and run_folder(name).exists()
        if not stopped and self.form.name_is_ours:
            self.form.propose_name()
        self.result.hide()
        self.follow_button.hide()
        self.tuning.start(self._request())
        self._started_for = choice
        self.status.say("Starting")

    def _on_cancel(self) -> None:
        training = self.tuning.training
        self.tuning.cancel()
        if not training:
            self.status.say("Cancelled")
        elif self.tuning.outcome is not None:
            self.status.say("Cancelled; the best model so far is kept")
        else:
            self.status.say("Cancelled before the first validation: nothing to keep")

    def _on_follow(self) -> None:
        self.form.train(self._recommended)
        self.follow_button.hide()

    def _on_use(self) -> None:
        self.tuning.use()

    def _on_next(self) -> None:
        image = self.tuning.segment_next()
        if image is None:
            self.status.say("All open images were learnt from: open another one")
        else:
            self._segmenting = image.name
            self.status.say(f"Segmenting {image.name} with the new model")

    def _on_segmented(self, _outcome: Any) -> None:
        if self._segmenting:
            self.status.say(f"Segmented {self._segmenting} with the new model")
            self._segmenting = ""
