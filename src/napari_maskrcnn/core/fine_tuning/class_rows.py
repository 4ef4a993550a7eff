"""Other classes for a network: rows of its predictors come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core import preload  # noqa: F401

import torch

from napari_maskrcnn.core.checkpoints import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

# Tensors with rows of classes, and how many rows each class has.
_ROWS = {
    "roi_heads.box_predictor.cls_score": 1,
    "roi_heads.box_predictor.bbox_pred": 4,
    "roi_heads.mask_predictor.mask_fcn_logits": 1,
}


def with_classes(checkpoint: Checkpoint, class_names: Sequence[str]) -> Checkpoint:
    """Return a checkpoint for other classes.

    The rows of classes that stay are kept as they are; a new class starts from the mean
    of the rows of all classes that the network knew, the background left out: what
    makes an object an object is a better start than chance.

    Parameters
    ----------
    checkpoint : Checkpoint
        Stays unchanged; all tensors but the predictors' are shared.
    class_names : sequence of str
        The classes from now on, in order.
    """
    known = list(checkpoint.config["class_names"])
    names = list(class_names)
    if not names:
        raise ValueError("a model needs at least one class")
    if names == known:
        return checkpoint
    state = dict(checkpoint.state)
    for prefix, rows in _ROWS.items():
        for kind in ("weight", "bias"):
            key = f"{prefix}.{kind}"
            if key not in state:
                # A network without a mask branch.
                continue
            state[key] = _with_rows(state[key], rows, known, names)
    # How sure to be of classes that it did not know is not known.
    own = {k: v for k, v in checkpoint.config.items() if k != "calibration"}
    return Checkpoint({**own, "class_names": names}, state)


def _with_rows(
    tensor: Tensor, rows: int, known: Sequence[str], names: Sequence[str]
) -> Tensor:
    blocks = tensor.unflatten(0, (-1, rows))
    mean = blocks[1:].float().mean(dim=0).to(tensor.dtype)
    chosen = [blocks[0]]
    chosen += [
        blocks[known.index(name) + 1] if name in known else mean for name in names
    ]
    return torch.stack(chosen).flatten(0, 1)
