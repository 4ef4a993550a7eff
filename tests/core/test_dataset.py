"""Annotated images and the random views of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core import examples

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from napari_maskrcnn.core.augmentation import (
    Augmentation,
    augment_intensity,
    view_grid,
)
from napari_maskrcnn.core.dataset import (
    AnnotatedImage,
    annotated_image,
    object_size,
    pair_files,
    read_pairs,
    sampling_weights,
)
from napari_maskrcnn.core.examples import make_target, random_view
from napari_maskrcnn.core.images import write_array
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

STILL = Augmentation(scale_jitter=1.0)


def blocks(shape: tuple[int, int] = (60, 84), side: int = 12) -> NDArray[np.int32]:
    """Squares that cover the image, each with its own label."""
    rows, columns = (np.arange(length) // side for length in shape)
    return (rows[:, None] * (columns[-1] + 1) + columns + 1).astype(np.int32)


# ------------------------------------------------------------------ reading


def test_an_image_with_labels_is_prepared() -> None:
    image, labels = nuclei_field((90, 100), 12)
    item = annotated_image("a", image, labels)
    assert item.image.shape == (90, 100, 1)
    assert item.image.dtype == np.float16
    assert item.label_image.dtype == np.int32
    assert item.class_ids.tolist() == [1] * (labels.max() + 1)
    assert item.appearance == "dark"
    colour = annotated_image("b", np.stack([image, labels, image], 2), labels)
    assert colour.appearance == "colour"
    assert annotated_image("c", image.max() - image, labels).appearance == "light"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((9, 9), int), r"a: the image is \(8, 9\) pixels .* are \(9, 9\)"),
        (np.zeros((8, 9, 3), int), r"are \(8, 9, 3\)"),
        (np.full((8, 9), -2), "a: labels must not be negative, got -2"),
        (np.zeros((8, 9)), "a: labels must be integers, got dtype float64"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: NDArray[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        annotated_image("a", np.eye(8, 9), labels)


@pytest.mark.parametrize("highest", [2**24 + 1, 2**31 - 1, 2**40])
def test_labels_may_have_any_size(highest: int) -> None:
    """Views are sampled in float32, which is exact up to 2^24 only."""
    labels = np.zeros((64, 64), np.int64)
    labels[8:24, 8:24], labels[8:24, 40:56] = highest, highest - 1
    item = annotated_image("a", labels > 0, labels)
    assert np.unique(item.label_image).size == 3
    assert len(item.class_ids) < 100
    item = replace(item, class_ids=np.arange(len(item.class_ids)))
    _, target = view(item, np.random.default_rng(0), crop=128, native_size=16.0)
    # Copies beyond the edge of the image are objects too.
    assert set(target["labels"].tolist()) == {1, 2}


def test_classes_stay_with_their_labels() -> None:
    labels = np.zeros((40, 40), np.int64)
    labels[2:12, 2:12], labels[20:32, 20:32] = 3, 900_000
    class_ids = np.zeros(900_001, np.int64)
    class_ids[[3, 900_000]] = 2, 1
    item = annotated_image("a", np.eye(40), labels, class_ids)
    assert item.class_ids[item.label_image[5, 5]] == 2
    assert item.class_ids[item.label_image[25, 25]] == 1


def test_the_object_size_is_a_median_of_box_sides() -> None:
    labels = np.zeros((50, 50), np.int32)
    labels[0:4, 0:9], labels[10:20, 10:20], labels[30:50, 30:50] = 1, 5, 9
    assert object_size(labels) == 10
    assert object_size(np.zeros((5, 5), np.int32)) == 24


def test_files_are_matched_by_stem(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    image, labels = nuclei_field((64, 64), 6)
    for folder, ending, array in ((images, "png", image), (masks, "tif", labels)):
        folder.mkdir()
        for stem in ("b", "a"):
            write_array(folder / f"{stem}.{ending}", array)
    write_array(images / "only.png", image)
    (images / ".hidden.png").write_text("no image")
    (images / "notes.txt").write_text("no image")
    assert [(i.name, m.name) for i, m in pair_files(images, masks)] == [
        ("a.png", "a.tif"),
        ("b.png", "b.tif"),
    ]
    items = read_pairs(images, masks)
    assert [item.name for item in items] == ["a", "b"]
    np.testing.assert_array_equal(items[0].label_image, labels)
    with pytest.raises(ValueError, match="nothing is not a folder"):
        pair_files(images, tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no image in .* has a label image"):
        pair_files(images, tmp_path / "empty")


# ------------------------------------------------------------------ views


def view(
    item: AnnotatedImage, rng: np.random.Generator, **arguments: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    return random_view(item, rng, **{"augmentation": STILL, "crop": 64, **arguments})


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Geometry only."""
    monkeypatch.setattr(examples, "augment_intensity", lambda image, *_: image)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("seed", range(12))
def test_image_and_labels_move_together(seed: int) -> None:
    """The pixels of an object show that object's own grey, in every view."""
    labels = blocks()
    grey = np.random.default_rng(seed).permutation(labels.max() + 1) / labels.max()
    image = grey[labels].astype(np.float16)
    item = AnnotatedImage(
        "a", image[..., None], labels, np.ones(labels.max() + 1, np.int64), 12.0
    )
    pixels, target = view(item, np.random.default_rng(seed), native_size=24.0, crop=96)
    assert len(target["boxes"]) > 5
    for mask in target["masks"].bool():
        # Away from the outline, where neighbours are mixed in, and from the crop's.
        core = torch.zeros_like(mask)
        outside = functional.max_pool2d((~mask).float()[None], 5, 1)[0]
        core[2:-2, 2:-2] = outside == 0
        if not core.any():
            continue
        values = pixels[0][core]
        assert values.max() - values.min() < 1e-6
        assert np.abs(grey - float(values[0])).min() < 1e-3


@given(
    st.tuples(st.integers(40, 200), st.integers(40, 200)),
    st.floats(0.3, 4),
    st.integers(0, 2**31),
)
def test_a_grid_keeps_areas_up_to_its_scale(
    shape: tuple[int, int], scale: float, seed: int
) -> None:
    """Neighbouring samples lie 1 / scale apart: turned, flipped, a little stretched."""
    rng = np.random.default_rng(seed)
    centre = (shape[0] * rng.random(), shape[1] * rng.random())
    grid = view_grid(shape, centre, scale, 64, rng)[0].double().numpy()
    assert grid.shape == (64, 64, 2)
    pixels = grid * np.array(shape[::-1]) / 2
    across, down = pixels[0, 1] - pixels[0, 0], pixels[1, 0] - pixels[0, 0]
    area = abs(across[0] * down[1] - across[1] * down[0])
    assert area * scale**2 == pytest.approx(1, rel=1e-2)
    for step in (across, down):
        assert 0.85 < np.hypot(*step) * scale < 1.15
    assert abs(across @ down) * scale**2 < 0.05
    # The crop stays inside the image where it fits.
    middle = pixels.reshape(-1, 2).mean(axis=0) + np.array(shape[::-1]) / 2
    half = 64 / scale / 2
    for value, length in zip(middle, shape[::-1], strict=True):
        inside = (half, length - half) if length > 2 * half else (length / 2,) * 2
        assert inside[0] - 0.1 <= value <= inside[1] + 0.1


@settings(max_examples=40)
@given(st.integers(0, 2**31))
def test_targets_are_torchvisions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.zeros((48, 64), np.int32)
    for label in range(1, 8):
        y, x = rng.integers(0, 44), rng.integers(0, 60)
        labels[y : y + rng.integers(1, 16), x : x + rng.integers(1, 16)] = label
    class_ids = rng.integers(1, 4, 8)
    target = make_target(labels, class_ids)
    assert target["boxes"].shape == (len(target["labels"]), 4)
    assert target["masks"].shape == (len(target["labels"]), 48, 64)
    assert target["masks"].dtype == torch.uint8
    assert target["labels"].dtype == torch.int64
    kept = 0
    for mask, box, class_id in zip(
        target["masks"].numpy(), target["boxes"], target["labels"], strict=True
    ):
        ys, xs = np.nonzero(mask)
        # Pixel edges: one past the last pixel.
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        label = labels[ys[0], xs[0]]
        np.testing.assert_array_equal(mask.astype(bool), labels == label)
        assert class_id == class_ids[label]
        kept += 1
    large = [
        label for label in range(1, 8)
        if (labels == label).sum() >= 12
        and min(np.ptp(axis) for axis in np.nonzero(labels == label)) >= 2
    ]  # fmt: skip
    assert kept == len(large)


def test_a_view_without_objects_has_an_empty_target() -> None:
    target = make_target(np.zeros((32, 32), np.int32), np.ones(1, np.int64))
    assert target["boxes"].shape == (0, 4)
    assert target["masks"].shape == (0, 32, 32)
    item = annotated_image("a", np.eye(80), np.zeros((80, 80), int))
    pixels, target = view(item, np.random.default_rng(0), native_size=24.0)
    assert pixels.shape == (3, 64, 64)
    assert len(target["labels"]) == 0


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.booleans())
def test_intensities_stay_in_range(seed: int, grey: bool) -> None:
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.random((1 if grey else 3, 32, 32), np.float32))
    strong = Augmentation(
        invert=0.5, blur=0.5, noise=0.5, illumination=0.5, tint=0.5, to_grey=0.5,
        gamma=1.0, colour=0.5,
    )  # fmt: skip
    changed = augment_intensity(image.expand(3, -1, -1), rng, strong)
    assert changed.shape == (3, 32, 32)
    assert torch.isfinite(changed).all()
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1


def test_a_view_depends_on_its_generator_alone() -> None:
    image, labels = nuclei_field((90, 100), 12)
    item = annotated_image("a", image, labels)
    (first, a), (second, b), (other, _) = (
        random_view(
            item,
            np.random.default_rng(seed),
            crop=64,
            native_size=24.0,
            augmentation=Augmentation(),
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert torch.equal(a["masks"], b["masks"])
    assert not torch.equal(first, other)


def test_rare_appearances_are_drawn_more_often() -> None:
    image, labels = nuclei_field((64, 64), 6)
    dark = annotated_image("dark", image, labels)
    light = annotated_image("light", image.max() - image, labels)
    items = [replace(dark, name=str(i)) for i in range(9)] + [light]
    assert sampling_weights(items, 1.0) == pytest.approx([0.1] * 10)
    assert sampling_weights(items, 0.0) == pytest.approx([1 / 18] * 9 + [0.5])
    assert sampling_weights(items, 0.5) == pytest.approx([1 / 12] * 9 + [0.25])


def test_mirror_images_beyond_the_edge_are_objects_of_their_own() -> None:
    """In one box with the object they would turn what is found into background."""
    label_image = np.zeros((40, 40), np.int32)
    label_image[8:20, 8:20] = 1
    label_image[24:34, 24:34] = 2
    item = annotated_image("small", label_image * 100, label_image, np.array([0, 1, 2]))
    for seed in range(6):
        rng = np.random.default_rng(seed)
        _, target = random_view(
            item, rng, crop=128, native_size=item.object_size,
            augmentation=Augmentation(scale_jitter=1.0),
        )  # fmt: skip
        sides = target["boxes"][:, 2:] - target["boxes"][:, :2]
        # At most an object at any angle, stretched.
        assert sides.max() < 12 * 2**0.5 * 1.2 + 2
        assert len(target["boxes"]) > 4
        areas = target["masks"].flatten(1).sum(1)
        assert areas[target["labels"] == 1].max() < 12 * 12 * 1.1
        assert set(target["labels"].tolist()) == {1, 2}
