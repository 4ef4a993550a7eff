"""Writing COCO files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_maskrcnn.core.coco.json_file import LISTS, empty, existing, write_json
from napari_maskrcnn.core.coco.segmentations import Mode
from napari_maskrcnn.core.coco.writer import Writer, WriteSummary
from napari_maskrcnn.core.progress import Progress, exhaust

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from napari_maskrcnn.core.coco.document import Category, CocoImage


def write_coco(
    path: str | Path,
    images: Iterable[CocoImage],
    *,
    mode: Mode = "auto",
    categories: Iterable[Category] | None = None,
    append: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> WriteSummary:
    """Write images and their objects as one COCO file.

    The file appears whole or not at all: it is written beside `path` and then renamed.

    Parameters
    ----------
    path : str or Path
        The file; ``.coco.json`` is its usual ending.
    images : iterable of CocoImage
        Images with their objects; a generator is consumed image by image.
    mode : str
        ``"auto"``: polygons along the pixel edges, and run-length encoding for objects
        with holes and crowd regions; lossless.  ``"rle"``: run-length encoding for
        all; lossless, and the fastest.  ``"polygon"``: for readers that know nothing
        else; holes are filled, and the summary says where.
    categories : iterable of Category, optional
        To keep their ids, in whatever gaps; classes of other names get new ones.
    append : bool
        Add to the file if there is one.  What is there keeps its ids.
    extra : mapping, optional
        Top-level keys to write too, ``info`` and ``licenses`` for example.

    Returns
    -------
    WriteSummary

    Raises
    ------
    CocoError
        If two images have the same file name, an image is too large for COCO, or the
        file to append to is no COCO file.
    ValueError
        If `mode` is unknown.
    """
    return exhaust(
        write_steps(
            path, images, mode=mode, categories=categories, append=append, extra=extra
        )
    )


def write_steps(
    path: str | Path,
    images: Iterable[CocoImage],
    *,
    mode: Mode = "auto",
    categories: Iterable[Category] | None = None,
    append: bool = False,
    extra: Mapping[str, Any] | None = None,
    rehearse: bool = False,
) -> Generator[Progress, None, WriteSummary]:
    """Do what `write_coco` does, step by step; see there.

    Parameters
    ----------
    rehearse : bool
        Do everything but write the file: the summary and the errors are those that
        writing would give.

    Yields
    ------
    Progress
        One an image; the total is that of a sequence, 0 of a generator.
    """
    path = Path(path)
    if mode not in get_args(Mode):
        raise ValueError(f"mode is one of {', '.join(get_args(Mode))}; got {mode!r}")
    document = existing(path) if append and path.exists() else empty()
    document.update({k: v for k, v in (extra or {}).items() if k not in LISTS})
    writer = Writer(path, mode, document)
    writer.add_categories(categories or ())
    total = 0
    if isinstance(images, Sequence):
        total = len(images)
        writer.keep_ids(images)
    for done, image in enumerate(images, start=1):
        writer.add(image)
        yield Progress(done, total, str(image.file_name))
    if not rehearse:
        write_json(path, document)
    return writer.summary()
