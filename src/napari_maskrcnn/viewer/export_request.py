"""What a person asks an export for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from napari_maskrcnn.viewer.drawn_parts import DrawnPart
from napari_maskrcnn.viewer.export_parts import Part

if TYPE_CHECKING:
    from napari_maskrcnn.core.coco.segmentations import Mode

AnyPart: TypeAlias = Part | DrawnPart
Pictures = Literal["png", "tiff", "leave", "missing"]
ENDING = ".coco.json"


@dataclass(frozen=True, slots=True)
class Request:
    """What to export, and how.

    Parameters
    ----------
    path : Path
        The COCO file; with `validation`, ``_train`` and ``_val`` are put into its name.
    parts : tuple of Part
        The layers.
    mode : str
        As of `core.coco.write_coco`.
    pictures : str
        Images are written beside the file as 8-bit PNG (``"png"``) or 16-bit TIFF
        (``"tiff"``), or ``"leave"``: named where they are.  ``"missing"`` writes PNG
        where an image has no file in the folder.
    append : bool
        Add to the file if it is there.
    validation : float or None
        Share of the images that go into a file of their own.
    seed : int
        Which ones they are.
    """

    path: Path
    parts: tuple[AnyPart, ...]
    mode: Mode = "auto"
    pictures: Pictures = "leave"
    append: bool = False
    validation: float | None = None
    seed: int = 0

    def files(self) -> list[Path]:
        """Return the COCO files."""
        if self.validation is None:
            return [self.path]
        name = self.path.name.removesuffix(".json").removesuffix(".coco")
        return [
            self.path.with_name(f"{name}_{end}{ENDING}") for end in ("train", "val")
        ]


def coco_path(text: str) -> Path:
    """Return the file that a person means; the ending is added if there is none.

    Raises
    ------
    ValueError
        If there is no name, or it is that of a folder.
    """
    if not text.strip():
        raise ValueError("Choose a file to write")
    path = Path(text.strip()).expanduser()
    if path.is_dir():
        raise ValueError(f"{path} is a folder; add the name of a file")
    return (
        path if path.suffix.lower() == ".json" else path.with_name(path.name + ENDING)
    )
