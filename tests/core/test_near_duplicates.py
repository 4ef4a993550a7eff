"""Near-duplicates between what is learnt from and what judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import rescale

from napari_maskrcnn.core.images import write_array
from napari_maskrcnn.core.near_duplicates import alike, near_duplicates, thumbnail
from napari_maskrcnn.core.samples import nuclei_field

NUCLEI = Path(__file__).parents[3] / "shared" / "data" / "nuclei"


def field(seed: int) -> Any:
    return nuclei_field((120, 150), 30, seed=seed)[0].astype(np.float64)


@given(
    seed=st.integers(0, 50),
    turns=st.integers(0, 3),
    mirrored=st.booleans(),
    scale=st.floats(0.5, 2),
    gain=st.floats(0.2, 5),
    noise=st.floats(0, 0.05),
)
@settings(max_examples=25)
def test_a_changed_copy_is_found(
    seed: int, turns: int, mirrored: bool, scale: float, gain: float, noise: float
) -> None:
    image = field(seed)
    copy = np.rot90(image[:, ::-1] if mirrored else image, turns)
    copy = rescale(copy, scale, anti_aliasing=True) * gain
    rng = np.random.default_rng(seed)
    copy = copy + rng.normal(0, noise * copy.max(), copy.shape)
    assert alike([thumbnail(image)], [thumbnail(copy)]) == [(0, 0)]


def test_other_images_of_the_same_kind_are_not() -> None:
    thumbnails = [thumbnail(field(seed)) for seed in range(12)]
    assert alike(thumbnails, thumbnails) == [(k, k) for k in range(12)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (30, 30), (20, 20, 3)])
def test_an_even_image_is_like_none(shape: tuple[int, ...]) -> None:
    even = thumbnail(np.full(shape, 7, np.uint8))
    assert not even.any()
    assert alike([even], [even, thumbnail(field(0))]) == []


def test_the_files_are_named(tmp_path: Path) -> None:
    for folder, seeds in (("learnt", (1, 2, 3)), ("judges", (4, 2))):
        (tmp_path / folder).mkdir()
        for seed in seeds:
            image = nuclei_field((80, 96), 12, seed=seed)[0]
            write_array(tmp_path / folder / f"{folder} {seed}.tif", image)
    found = near_duplicates(tmp_path / "learnt", tmp_path / "judges")
    assert found == [("learnt 2.tif", "judges 2.tif")]
    (tmp_path / "empty").mkdir()
    assert near_duplicates(tmp_path / "learnt", tmp_path / "empty") == []
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        near_duplicates(tmp_path / "learnt", tmp_path / "nowhere")


@pytest.mark.skipif(not NUCLEI.is_dir(), reason="needs ../shared/data/nuclei")
def test_the_images_that_judge_the_starter_were_not_learnt_from() -> None:
    found = near_duplicates(NUCLEI / "train" / "images", NUCLEI / "val" / "images")
    assert found == []
