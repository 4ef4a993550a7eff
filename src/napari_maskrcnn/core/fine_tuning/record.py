"""What is written down about a fine-tuning run."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.provenance import provenance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_maskrcnn.core.checkpoints import Checkpoint
    from napari_maskrcnn.core.dataset import AnnotatedImage

    from .config import FineTuneConfig
    from .planning import FineTunePlan
    from .state import FineTuneState


def record(
    old: Checkpoint,
    parent: str,
    chosen: FineTunePlan,
    config: FineTuneConfig,
    state: FineTuneState,
) -> dict[str, Any]:
    """Return the description and the provenance of the best model of a run."""
    number = sum(chosen.objects.values())
    sizes = [item.object_size for item in chosen.training]
    # Where the search for the object size begins from now on.
    usual = {} if old.object_size is None else {"usual_size": float(np.median(sizes))}
    return {
        **usual,
        "description": config.description
        or f"{parent or 'A model'}, fine-tuned on {number} objects "
        f"in {len(chosen.training)} images",
        "provenance": {
            **provenance(),
            "parent": {
                "name": parent,
                "trunk_id": old.trunk_id,
                "class_names": list(old.config["class_names"]),
                "provenance": old.config.get("provenance", {}),
            },
            "fine_tuning": config.to_dict(),
            "images": [item.name for item in chosen.training],
            "objects": chosen.objects,
            "held_out": list(chosen.held_out),
            "held_out_objects": chosen.held_out_objects,
            "steps": state.best_step,
            "seconds": round(state.seconds),
            "metrics": {"before": state.before, "after": state.best_scores},
        },
    }


def identity(
    checkpoint: Checkpoint,
    chosen: FineTunePlan,
    replay: tuple[Sequence[AnnotatedImage], Sequence[AnnotatedImage]],
    config: FineTuneConfig,
) -> dict[str, Any]:
    """Return what makes a run this one and no other, as JSON-able values."""
    return {
        "config": config.to_dict(),
        "model": checkpoint.digest(),
        "classes": list(chosen.class_names),
        "images": [_fingerprint(item) for item in (*chosen.training, *chosen.judging)],
        "replay": [_fingerprint(item) for part in replay for item in part],
    }


def _fingerprint(item: AnnotatedImage) -> list[str]:
    digest = hashlib.blake2b(digest_size=8, usedforsecurity=False)
    for array in (item.image, item.label_image, item.class_ids):
        digest.update(array.tobytes())
    return [item.name, digest.hexdigest()]
