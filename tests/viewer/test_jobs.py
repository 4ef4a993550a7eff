"""What the worker runs, called without a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.recipe import Recipe
from napari_maskrcnn.viewer.encodings import EncodingKey, KeptEncoding
from napari_maskrcnn.viewer.jobs import LoadedModel, Outcome, segment_plane
from napari_maskrcnn.viewer.layers import Plane, PlaneSource
from napari_maskrcnn.viewer.workers import describe_error

if TYPE_CHECKING:
    from pathlib import Path


def test_an_unknown_model_is_named_before_torch_is_asked() -> None:
    source = PlaneSource(np.zeros((8, 8)), Plane((0, 1)))
    with pytest.raises(ValueError, match="'no such'"):
        list(segment_plane(LoadedModel(), source, Recipe(model="no such")))


class Broken:
    """A lazy array whose file is gone."""

    def __getitem__(self, index: Any) -> Any:
        raise FileNotFoundError("no such image file: plane_07.tif")


def test_pixels_that_cannot_be_fetched_give_one_line() -> None:
    work = segment_plane(LoadedModel(), PlaneSource(Broken(), Plane((0, 1))), Recipe())
    with pytest.raises(FileNotFoundError) as caught:
        list(work)
    assert describe_error(caught.value) == "No such image file: plane_07.tif"


def test_new_heads_use_what_is_kept_of_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After fine-tuning the heads, segmenting again runs no backbone pass."""
    import torch
    from tiny_network import tiny_checkpoint

    from napari_maskrcnn.core.checkpoints import Checkpoint, write_checkpoint

    old = tiny_checkpoint()
    key = "roi_heads.box_predictor.cls_score.bias"
    heads = {**old.state, key: old.state[key] - 0.5}
    trunk = {**old.state, "backbone.body.conv1.weight": old.state[
        "backbone.body.conv1.weight"] * 1.01}  # fmt: skip
    models = {"old": old.state, "heads": heads, "trunk": trunk}
    for name, state in models.items():
        path = tmp_path / f"{name}.safetensors"
        write_checkpoint(path, Checkpoint(old.config, state))
    image = np.random.default_rng(0).random((64, 64), np.float32)
    source = PlaneSource(image, Plane((0, 1)))
    loaded = LoadedModel()

    def segment(name: str, kept: KeptEncoding | None = None) -> Outcome:
        path = str(tmp_path / f"{name}.safetensors")
        recipe = Recipe(model=path, object_size=24, device="cpu")
        return exhaust(segment_plane(loaded, source, recipe, kept))

    first = segment("old")
    kept = KeptEncoding(first.encoding, first.encoded_as)
    passes = []
    forward = torch.nn.Module.__call__

    def counted(self: torch.nn.Module, *inputs: Any, **named: Any) -> Any:
        if type(self).__name__ == "IntermediateLayerGetter":
            passes.append(self)
        return forward(self, *inputs, **named)

    monkeypatch.setattr(torch.nn.Module, "__call__", counted)
    again = segment("heads", kept)
    assert not passes
    assert again.encoding is first.encoding
    assert again.instances.scores.tolist() != first.instances.scores.tolist()
    fresh = segment("heads")
    assert passes
    assert np.array_equal(fresh.instances.boxes, again.instances.boxes)
    # Another trunk makes encodings of its own.
    assert segment("trunk", kept).encoding is not first.encoding


@pytest.mark.parametrize(
    ("found", "usual", "fits"),
    [
        (24.0, 30.0, True),
        # The old heads took the wrinkles of a date for objects.
        (24.0, 140.0, False),
        (140.0, 24.0, False),
        (24.0, None, False),
    ],
)
def test_a_size_that_other_heads_found_serves_if_objects_usually_have_it(
    found: float, usual: float | None, fits: bool
) -> None:
    made = EncodingKey("trunk", "cpu", None, 12.0, None, "pixels")
    kept = KeptEncoding(Sized(found), made)
    assert kept.fits(made)
    assert kept.fits(made._replace(usual_size=usual)) is fits
    assert not kept.fits(made._replace(usual_size=usual, pixels="others"))
    # A size that was asked for is another matter.
    asked = made._replace(object_size=found, usual_size=None)
    assert KeptEncoding(Sized(found), asked).fits(asked)
    assert not kept.fits(asked)


class Sized(NamedTuple):
    """As much of an encoding as decides."""

    object_size: float
