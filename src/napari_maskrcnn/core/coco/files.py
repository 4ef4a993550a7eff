"""Finding the image files that a COCO file names, inside one folder only."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from napari_maskrcnn.core.images import TIFF_SUFFIXES

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".png", ".tif", ".tiff", ".webp")
)


class ImageFiles:
    """The image files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def find(self, file_name: str) -> tuple[Path | None, str | None]:
        """Return the file of a name, and what is unusual about the way it was found.

        The name is tried as it stands, then without its folders, then with another
        extension.  What lies outside the folder is never returned, whatever the name
        or a link in the folder says.
        """
        name = PurePosixPath(file_name.replace("\\", "/"))
        rooted = name.is_absolute() or bool(PureWindowsPath(file_name).drive)
        leads_out = rooted or ".." in name.parts
        if not leads_out:
            found = self._inside(self.folder / name)
            if found is not None:
                return found, None
        why = "leads out of the folder" if leads_out else "is not there"
        candidates = [name.name] if len(name.parts) > 1 or leads_out else []
        for candidate in candidates:
            found = self._inside(self.folder / candidate)
            if found is not None:
                return found, f"{why}; the file of that name in the folder is taken"
        alike = self._stems.get(name.stem, [])
        if len(alike) == 1:
            inside = alike[0].relative_to(self.folder).as_posix()
            return alike[0], f"{why}; {inside!r}, of the same stem, is taken"
        return None, why

    def _inside(self, path: Path) -> Path | None:
        try:
            path = path.resolve()
            is_file = path.is_file()
        except (OSError, ValueError, RuntimeError):  # too long, a NUL, a loop of links
            return None
        return path if is_file and path.is_relative_to(self.folder) else None

    @cached_property
    def _stems(self) -> dict[str, list[Path]]:
        """Image files of the folder, and of the folders in it, by stem."""
        stems: dict[str, list[Path]] = {}
        try:
            inside = sorted(self.folder.iterdir())
            folders = [p for p in inside if p.is_dir() and not p.is_symlink()]
            files = [
                *inside,
                *(p for folder in folders for p in sorted(folder.iterdir())),
            ]
        except OSError:
            return stems
        for path in files:
            if path.suffix.lower() in SUFFIXES and self._inside(path) is not None:
                stems.setdefault(path.stem, []).append(path)
        return stems


def image_size(path: Path) -> tuple[int, int] | None:
    """Return ``(height, width)`` from an image's header, None if it has none."""
    try:
        if path.suffix.lower() in TIFF_SUFFIXES:
            import tifffile

            with tifffile.TiffFile(path) as file:
                page = file.pages.first
                return page.imagelength, page.imagewidth
        from PIL import Image

        with Image.open(path) as image:
            return image.height, image.width
    except (ImportError, OSError, ValueError, SyntaxError):
        return None
