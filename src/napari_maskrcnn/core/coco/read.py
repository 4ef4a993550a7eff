"""Reading COCO files, as the wild contains them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core.coco.document import CocoDataset, CocoImage, Source
from napari_maskrcnn.core.coco.errors import CocoError, Fault
from napari_maskrcnn.core.coco.files import ImageFiles, image_size
from napari_maskrcnn.core.coco.json_file import load_json
from napari_maskrcnn.core.coco.read_rows import read_categories, read_objects
from napari_maskrcnn.core.coco.rle import MAX_FRAME
from napari_maskrcnn.core.coco.values import shown, whole

if TYPE_CHECKING:
    from napari_maskrcnn.core.coco.document import Category

_IMAGE_KEYS = frozenset(("id", "file_name", "width", "height", "source"))
_DTYPES = frozenset(
    f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)
)


def read_coco(path: str | Path, *, folder: str | Path | None = None) -> CocoDataset:
    """Read a COCO file with masks: polygons or RLE of any kind.

    Whatever is wrong and can be understood is put right, whatever is wrong and cannot
    be is skipped, and each case is one of the result's ``faults``.  Nothing is resized.

    Parameters
    ----------
    path : str or Path
        The file.
    folder : str or Path, optional
        Where its images are; the file's own folder if not given.  No image is looked
        for outside it.

    Returns
    -------
    CocoDataset

    Raises
    ------
    CocoError
        If the file is no COCO file; the message names the key.
    OSError
        If the file cannot be opened.
    ValueError
        If it holds polygons and faster-coco-eval is not installed.
    """
    path = Path(path)
    document = load_json(path)
    for key in ("images", "annotations"):
        if not isinstance(document.get(key), list):
            raise CocoError(
                f"{path.name}: {key!r} is {shown(document.get(key))}, no list"
            )
    files = ImageFiles(Path(folder) if folder is not None else path.absolute().parent)
    reader = _Reader(files, document)
    extra = {
        key: value
        for key, value in document.items()
        if key not in ("images", "annotations", "categories")
    }
    images, categories = reader.read()
    return CocoDataset(path, images, categories, tuple(reader.faults), extra)


@dataclass(slots=True)
class _Rows:
    """The annotations of one image, with the names that faults give them."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


class _Reader:
    """Goes through a document once and notes what is wrong."""

    def __init__(self, files: ImageFiles, document: dict[str, Any]) -> None:
        self.files = files
        self.document = document
        self.faults: list[Fault] = []

    def report(self, where: str, what: str, done: str) -> None:
        self.faults.append(Fault(where, what, done))

    def read(self) -> tuple[tuple[CocoImage, ...], tuple[Category, ...]]:
        rows_of = self._rows_by_image()
        categories = read_categories(
            self.document.get("categories"),
            (row for rows in rows_of.values() for row in rows.rows),
            self.report,
        )
        images = []
        known: set[int | str] = set()
        for place, row in enumerate(self.document["images"]):
            key = _key(row.get("id")) if isinstance(row, dict) else None
            if key is None or key in known:
                twice = "has an id that is there twice" if key in known else "has no id"
                what = f"{twice}: {shown(row)}"
                self.report(f"images[{place}]", what, "skipped")
                continue
            known.add(key)
            image = self._image(key, row, rows_of.pop(key, _Rows()), categories)
            if image is not None:
                images.append(image)
        for key, rows in rows_of.items():
            for name in rows.names:
                self.report(name, f"image_id {shown(key)} is no image", "skipped")
        return tuple(images), tuple(categories.values())

    def _rows_by_image(self) -> dict[int | str | None, _Rows]:
        rows_of: dict[int | str | None, _Rows] = {}
        seen: set[int] = set()
        for place, row in enumerate(self.document["annotations"]):
            name = f"annotations[{place}]"
            if not isinstance(row, dict):
                self.report(name, f"is {shown(row)}", "skipped")
                continue
            annotation_id = whole(row.get("id"))
            if annotation_id is None or annotation_id < 1 or annotation_id in seen:
                twice = "is there twice" if annotation_id in seen else "is no id"
                what = f"id {shown(row.get('id'))} {twice}"
                self.report(name, what, "a new export gives it another one")
                row = {**row, "id": 0}
            else:
                seen.add(annotation_id)
                name = f"annotation {annotation_id}"
            rows = rows_of.setdefault(_key(row.get("image_id")), _Rows())
            rows.rows.append(row)
            rows.names.append(name)
        return rows_of

    def _image(
        self,
        key: int | str,
        row: dict[str, Any],
        rows: _Rows,
        categories: dict[int, Category],
    ) -> CocoImage | None:
        where = f"image {shown(key)}"
        name, path = self._file(where, row.get("file_name"))
        shape = self._shape(where, row, path)
        if shape is None:
            for annotation in rows.names:
                self.report(annotation, f"{where} is skipped", "skipped, too")
            return None
        return CocoImage(
            name,
            read_objects(rows.rows, rows.names, shape, categories, self.report),
            source=self._source(where, row.get("source")),
            id=key if isinstance(key, int) and key >= 0 else None,
            path=path,
            extra={k: v for k, v in row.items() if k not in _IMAGE_KEYS},
        )

    def _file(self, where: str, file_name: Any) -> tuple[str, Path | None]:
        if not isinstance(file_name, str) or not file_name:
            name = where.replace(" ", "_")
            self.report(where, f"file_name is {shown(file_name)}", f"named {name!r}")
            return name, None
        path, what = self.files.find(file_name)
        if path is None:
            what = f"file_name {shown(file_name)} {what}"
            self.report(where, what, "read without its image")
            return PurePosixPath(file_name.replace("\\", "/")).name or where, None
        if what is None:
            return file_name, path
        name = path.relative_to(self.files.folder).as_posix()
        self.report(where, f"file_name {shown(file_name)} {what}", f"read as {name!r}")
        return name, path

    def _shape(
        self, where: str, row: dict[str, Any], path: Path | None
    ) -> tuple[int, int] | None:
        height, width = whole(row.get("height")), whole(row.get("width"))
        if height is not None and width is not None and height > 0 and width > 0:
            if height * width <= MAX_FRAME:
                return height, width
            what = f"{height} x {width} are more pixels than COCO holds"
            self.report(where, what, "skipped")
            return None
        given = f"height is {shown(row.get('height'))}, width {shown(row.get('width'))}"
        size = None if path is None else image_size(path)
        done = (
            "skipped" if size is None else f"{size[0]} x {size[1]} from the image file"
        )
        self.report(where, given, done)
        return size

    def _source(self, where: str, value: Any) -> Source | None:
        """Return our own key, unless somebody else uses its name."""
        if not isinstance(value, dict):
            return None
        path, axis = value.get("path", ""), value.get("axis")
        dtype = value.get("dtype")
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            if dtype is not None:
                self.report(where, f"source dtype is {shown(dtype)}", "ignored")
            dtype = None
        return Source(
            path=path if isinstance(path, str) else "",
            axis=axis if isinstance(axis, str) else None,
            index=whole(value.get("index")),
            dtype=dtype,
        )


def _key(value: Any) -> int | str | None:
    """Return an image id: a whole number, also from text, or other text."""
    key = whole(value)
    return value if key is None and isinstance(value, str) else key
