"""Build hook that puts the top-level ``napari.yaml`` where npe2 looks for it.

npe2 finds a manifest only inside the package's folder, while this project keeps the
one real file beside ``pyproject.toml``.  A wheel gets a copy; an editable install
gets a link, so that edits to the manifest are live.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MANIFEST = "napari.yaml"
PACKAGE = "napari_maskrcnn"


class ManifestHook(BuildHookInterface[Any]):
    """Place the manifest in the package while a wheel is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Copy the manifest into a wheel, or link it into an editable install."""
        manifest = Path(self.root, MANIFEST)
        if version == "editable":
            link_manifest(manifest, Path(self.root, "src", PACKAGE, MANIFEST))
        else:
            build_data["force_include"][str(manifest)] = f"{PACKAGE}/{MANIFEST}"


def link_manifest(manifest: Path, link: Path) -> None:
    """Make `link` lead to `manifest`: a relative symlink, else a hard link."""
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(os.path.relpath(manifest, link.parent))
    except OSError:
        # Windows allows symlinks only to administrators and in developer mode.
        link.hardlink_to(manifest)
