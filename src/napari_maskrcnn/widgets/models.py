"""The dock widget "Manage models": what models there are, and what to do with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QGridLayout,
    QInputDialog,
    QMessageBox,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)
from superqt.utils import signals_blocked

from napari_maskrcnn.core.checkpoints import SUFFIX
from napari_maskrcnn.core.model_list import FOREIGN_SUFFIXES, add_model, models_folder
from napari_maskrcnn.core.model_store import (
    ModelDetails,
    delete_model,
    export_model,
    list_details,
    rename_model,
)
from napari_maskrcnn.core.progress import Progress
from napari_maskrcnn.viewer.models import models_of
from napari_maskrcnn.viewer.torch_start import import_torch
from napari_maskrcnn.viewer.workers import JobRunner, describe_error
from napari_maskrcnn.widgets.dock import Dock
from napari_maskrcnn.widgets.download_row import DownloadRow
from napari_maskrcnn.widgets.model_rows import COLUMNS, model_in_words, model_row
from napari_maskrcnn.widgets.parts import StatusLine, button, paragraph

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from qtpy.QtGui import QShowEvent

    from napari_maskrcnn.viewer.session import Session

FILTER = f"Models (*{SUFFIX})"
IMPORTED = f"Models ({' '.join(f'*{end}' for end in (SUFFIX, *FOREIGN_SUFFIXES))})"


class ModelsWidget(Dock):
    """A table of the models with buttons to rename, delete, import and export.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer, or napari's proxy of it.
    session : Session, optional
        By default the viewer's own.
    """

    def __init__(self, napari_viewer: Any, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.jobs = JobRunner(self)
        self._details: dict[str, ModelDetails] = {}
        self._done = ""
        self._make_parts()
        self._lay_out()
        self._connect()
        self.use_theme()
        self.list_models()

    # ---- building

    def _make_parts(self) -> None:
        self.table = QTreeWidget()
        self.table.setHeaderLabels(list(COLUMNS))
        self.table.setRootIsDecorated(False)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.details_label = paragraph()
        self.download_row = DownloadRow(self.session)
        self.use_button = button("Use", "Segment with this model from now on")
        self.rename_button = button("Rename", "Type another name into the table")
        self.delete_button = button("Delete", "Delete the model's file; asks first")
        dots = "\N{HORIZONTAL ELLIPSIS}"
        self.import_button = button(
            f"Import{dots}", "Copy model files among your models"
        )
        self.export_button = button(
            f"Export{dots}", "Copy the model's file to another place"
        )
        self.folder_button = button("Show folder", "Open the folder of your models")
        self.status = StatusLine()

    def _lay_out(self) -> None:
        buttons = QGridLayout()
        for number, one in enumerate(
            (
                self.use_button, self.rename_button, self.delete_button,
                self.import_button, self.export_button, self.folder_button,
            )
        ):  # fmt: skip
            buttons.addWidget(one, number // 3, number % 3)
        column = QVBoxLayout(self)
        column.addWidget(self.table, 1)
        column.addWidget(self.details_label)
        column.addWidget(self.download_row)
        column.addLayout(buttons)
        column.addWidget(self.status)
        self.setMinimumWidth(320)

    def _connect(self) -> None:
        self.session.released.connect(self.jobs.cancel)
        models_of(self.session).changed.connect(self.list_models)
        self.jobs.changed.connect(self._on_selected)
        self.jobs.returned.connect(self._on_done)
        self.jobs.failed.connect(self._on_failed)
        self.table.itemSelectionChanged.connect(self._on_selected)
        self.table.itemChanged.connect(self._on_renamed)
        self.use_button.clicked.connect(self._on_use)
        self.rename_button.clicked.connect(self._on_rename)
        self.delete_button.clicked.connect(self._on_delete)
        self.import_button.clicked.connect(self._on_import)
        self.export_button.clicked.connect(self._on_export)
        self.folder_button.clicked.connect(self._on_folder)

    # ---- the table

    def showEvent(self, event: QShowEvent | None) -> None:
        """Look for models that came meanwhile."""
        super().showEvent(event)
        self.list_models()

    def list_models(self) -> None:
        """List the models as they are now; the selected one stays selected."""
        chosen = self.selected()
        self._details = {details.name: details for details in list_details()}
        with signals_blocked(self.table):
            self.table.clear()
            for details in self._details.values():
                self.table.addTopLevelItem(model_row(details))
            for column in range(len(COLUMNS)):
                self.table.resizeColumnToContents(column)
        self.select(chosen or next(iter(self._details), ""))

    def select(self, name: str) -> None:
        """Select a model, or nothing where there is none of that name."""
        found = self._item(name)
        self.table.clearSelection()
        if found is not None:
            self.table.setCurrentItem(found)
        self._on_selected()

    def selected(self) -> str:
        """Return the name of the selected model, empty for none."""
        items = self.table.selectedItems()
        return str(items[0].data(0, Qt.ItemDataRole.UserRole)) if items else ""

    def _item(self, name: str) -> QTreeWidgetItem | None:
        for number in range(self.table.topLevelItemCount()):
            item = self.table.topLevelItem(number)
            if item is not None and item.data(0, Qt.ItemDataRole.UserRole) == name:
                return item
        return None

    def _on_selected(self) -> None:
        details = self._details.get(self.selected())
        running = self.jobs.running
        source = details.entry.source if details is not None else ""
        here = details is not None and details.entry.downloaded
        free = here and not running
        self.download_row.show_entry(None if details is None else details.entry)
        self.use_button.setEnabled(here)
        self.rename_button.setEnabled(free and source == "yours")
        self.delete_button.setEnabled(free and source != "bundled")
        self.export_button.setEnabled(free)
        self.import_button.setEnabled(not running)
        self.details_label.setText("" if details is None else model_in_words(details))

    # ---- the person acts

    def _on_use(self) -> None:
        name = self.selected()
        models_of(self.session).choose(name)
        self.status.say(f"{name} is in use")

    def _on_rename(self) -> None:
        item = self._item(self.selected())
        if item is not None:
            self.table.editItem(item, 0)

    def _on_renamed(self, item: QTreeWidgetItem, column: int) -> None:
        old, new = str(item.data(0, Qt.ItemDataRole.UserRole)), item.text(0).strip()
        if column or new == old:
            return
        try:
            new = rename_model(old, new).stem
        except (ValueError, OSError) as error:
            self.status.say(describe_error(error), "error")
            self.list_models()
            return
        self.status.say(f"{old} is called {new} now")
        self._changed(new)

    def _on_delete(self) -> None:
        name = self.selected()
        question = f"Delete {name} and the history of its run? This cannot be undone."
        if self._details[name].entry.source == "torchvision":
            question = f"Delete the download of {name}? It can be downloaded again."
        answer = QMessageBox.question(self, "Delete the model", question)
        if answer != QMessageBox.StandardButton.Yes:
            return
        try:
            delete_model(name)
        except (ValueError, OSError) as error:
            self.status.say(describe_error(error), "error")
            return
        self.status.say(f"{name} was deleted")
        self._changed("")

    def _on_import(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Import models", "", IMPORTED)
        files = [(Path(name), self._ask_classes(Path(name))) for name in names]
        if files:
            self.status.say("Importing")
            self.jobs.start(import_models, files)

    def _ask_classes(self, path: Path) -> str | None:
        """Ask for the classes of weights that do not name them; None for no answer."""
        if path.suffix.lower() not in FOREIGN_SUFFIXES:
            return None
        text, _ = QInputDialog.getText(
            self,
            "Class names",
            f"The classes of {path.name}, with commas between them, or a file with one "
            "name a line, or a COCO file.\nEmpty: they are numbered.",
        )
        return text.strip() or None

    def _on_export(self) -> None:
        name = self.selected()
        target, _ = QFileDialog.getSaveFileName(
            self, "Export the model", f"{name}{SUFFIX}", FILTER
        )
        if target:
            path = Path(target)
            path = path if path.suffix else path.with_suffix(SUFFIX)
            self.status.say("Exporting")
            self.jobs.start(export, name, path)

    def _on_folder(self) -> None:
        details = self._details.get(self.selected())
        folder = models_folder()
        if details is not None and details.entry.source != "bundled":
            folder = details.entry.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def _on_done(self, result: tuple[str, str]) -> None:
        sentence, name = result
        self.status.say(sentence)
        if name:
            self._changed(name)

    def _on_failed(self, sentence: str) -> None:
        self.status.say(sentence, "error")
        self.list_models()

    def _changed(self, name: str) -> None:
        models_of(self.session).changed.emit()
        if name:
            self.select(name)


def import_models(
    files: Sequence[tuple[Path, str | None]],
) -> Generator[Progress, None, tuple[str, str]]:
    """Add files, each with its class names or None, to the person's models.

    Returns
    -------
    tuple of str
        A sentence, and the name of the last one.
    """
    yield from import_torch()
    added = []
    for number, (path, classes) in enumerate(files):
        yield Progress(number, len(files), f"Importing {path.name}")
        added.append(add_model(path, classes=classes).stem)
    return f"Imported {', '.join(added)}", added[-1]


def export(name: str, target: Path) -> Generator[Progress, None, tuple[str, str]]:
    """Copy a model's file; return a sentence, and no name since nothing changed."""
    for written in export_model(name, target):
        yield Progress(written, 0, "Exporting")
    return f"Exported to {target}", ""
