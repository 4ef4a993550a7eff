"""What widgets that work on masks say where there are boxes and keypoints only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.viewer.drawn_layers import BOXES, KEYPOINTS, role_of

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_maskrcnn.viewer.session import Session


def correcting(session: Session) -> str:
    """Say where boxes and keypoints are corrected; nothing where there are none."""
    viewer = session.viewer
    layers = list(reversed(viewer.layers)) if viewer is not None else []
    boxes = _first(layers, BOXES)
    points = _first(layers, KEYPOINTS)
    places = []
    if boxes is not None:
        places.append(f'boxes in the Shapes layer "{boxes.name}"')
    if points is not None:
        places.append(f'keypoints in the Points layer "{points.name}"')
    if not places:
        return ""
    sentence = " and ".join(places)
    return f"{sentence[0].upper()}{sentence[1:]} are corrected with napari's own tools"


def invitation(session: Session, widget: str, otherwise: str) -> str:
    """Return what a widget for masks says while it has nothing to work on."""
    where = correcting(session)
    return f"{widget} works on masks. {where}" if where else otherwise


def _first(layers: list[Layer], role: str) -> Layer | None:
    return next((layer for layer in layers if role_of(layer) == role), None)
