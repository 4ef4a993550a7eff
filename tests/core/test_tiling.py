"""Windows: covering an image, and joining what each window found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.joining import concatenate, join
from napari_maskrcnn.core.samples import nuclei_field
from napari_maskrcnn.core.tiling import STRIDE, Window, plan_windows

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

MARGIN = 8.0


@given(
    st.tuples(st.integers(1, 700), st.integers(1, 700)),
    st.integers(0, 70),
    st.integers(32, 400),
)
def test_cores_cover_the_image_once(
    shape: tuple[int, int], halo: int, extra: int
) -> None:
    size = 2 * halo + extra
    covered = np.zeros(shape, int)
    for window in plan_windows(shape, size, halo):
        y0, x0, y1, x1 = window.core
        covered[y0:y1, x0:x1] += 1
        top, left, bottom, right = window.outer
        assert top % STRIDE == left % STRIDE == 0
        assert 0 <= top <= max(0, y0 - halo)
        assert 0 <= left <= max(0, x0 - halo)
        # The halo is there, but where the image ends.
        assert min(shape[0], y1 + halo) == bottom or bottom == shape[0]
        assert min(shape[1], x1 + halo) == right or right == shape[1]
    assert (covered == 1).all()


def test_an_image_that_fits_gets_one_window() -> None:
    assert plan_windows((100, 512), 512, 128) == [
        Window((0, 0, 100, 512), (0, 0, 100, 512))
    ]


def test_a_long_image_of_no_more_pixels_gets_one_window_too() -> None:
    (window,) = plan_windows((300, 800), 512, 128)
    assert window.outer == (0, 0, 300, 800)
    assert len(plan_windows((400, 800), 512, 128)) > 1


@given(st.integers(1025, 6000))
def test_windows_are_few_and_of_about_the_same_length(length: int) -> None:
    windows = plan_windows((1024, length), 1024, 128)
    # Inner ones own 768 pixels, the ones at the ends 896.
    assert len(windows) <= -(-(length - 256) // 768)
    widths = [window.outer[3] - window.outer[1] for window in windows]
    assert max(widths) <= 1024
    assert max(widths) - min(widths) <= STRIDE * len(windows)


def test_a_window_without_a_core_is_refused() -> None:
    with pytest.raises(ValueError, match="280 pixels has no core with a halo of 128"):
        plan_windows((1000, 1000), 280, 128)


def seen_by(
    label_image: NDArray[np.uint16], window: Window, rng: Generator | None
) -> Instances:
    """What a faultless network finds in a window; with ``rng``, an erring one.

    It errs as networks do: outlines differ by a pixel, and so do scores.
    """
    y0, x0, y1, x1 = window.outer
    masked = np.zeros_like(label_image)
    masked[y0:y1, x0:x1] = label_image[y0:y1, x0:x1]
    if rng is None:
        return Instances.from_label_image(masked)
    parts = []
    for label in np.unique(masked[masked > 0]):
        mask = masked == label
        change = rng.integers(3)
        if change == 1:
            mask = ndimage.binary_dilation(mask)
        elif change == 2 and mask.sum() > 80:
            mask = ndimage.binary_erosion(mask)
        inside = np.zeros_like(mask)
        inside[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
        if inside.any():
            parts.append(
                Instances.from_label_image(
                    inside.astype(np.uint8), scores=[rng.uniform(0.5, 1)]
                )
            )
    nothing = Instances.from_label_image(np.zeros_like(label_image))
    return concatenate([nothing, *parts])


def as_partition(label_image: NDArray[np.uint16]) -> set[bytes]:
    """The objects as sets of pixels, whatever their numbers."""
    return {
        (label_image == label).tobytes() for label in np.unique(label_image) if label
    }


@pytest.fixture(scope="module")
def truth() -> NDArray[np.uint16]:
    return nuclei_field((330, 410), 120, seed=3)[1]


@pytest.mark.parametrize("size", [160, 192, 224, 288, 350, 512])
def test_each_object_comes_once_and_whole(truth: NDArray[np.uint16], size: int) -> None:
    plan = plan_windows(truth.shape, size, 48)
    found = join([seen_by(truth, window, None) for window in plan], plan, MARGIN)
    assert len(found) == truth.max()
    assert as_partition(found.to_label_image()) == as_partition(truth)
    assert found.ids.tolist() == list(range(1, len(found) + 1))


@pytest.mark.parametrize("size", [160, 224])
def test_boxes_are_joined_without_masks(truth: NDArray[np.uint16], size: int) -> None:
    def boxes_only(instances: Instances) -> Instances:
        return replace(instances, masks=(), has_masks=False)

    plan = plan_windows(truth.shape, size, 48)
    parts = [boxes_only(seen_by(truth, window, None)) for window in plan]
    found = join(parts, plan, MARGIN)
    expected = boxes_only(Instances.from_label_image(truth))
    assert len(found) == len(expected)
    assert set(map(tuple, found.boxes)) == set(map(tuple, expected.boxes))
    assert set(map(tuple, found.offsets)) == set(map(tuple, expected.offsets))


@settings(max_examples=12)
@given(size=st.sampled_from([160, 192, 256, 300]), seed=st.integers(0, 2**31))
def test_windows_that_differ_by_a_pixel_still_give_each_object_once(
    size: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = nuclei_field((260, 300), 45, seed=seed % 50)[1]
    plan = plan_windows(truth.shape, size, 48)
    found = join([seen_by(truth, window, rng) for window in plan], plan, MARGIN)
    # Which object does each found one mean?
    meant = [
        np.bincount(
            truth[
                y : y + mask.shape[0],
                x : x + mask.shape[1],
            ][mask]
        )[1:].argmax() + 1
        for (y, x), mask in zip(
            found.offsets, (found.mask(i) for i in range(len(found))), strict=True
        )
    ]  # fmt: skip
    assert sorted(meant) == list(range(1, truth.max() + 1))
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("size", [160, 224])
@pytest.mark.parametrize("across", [False, True])
def test_an_object_larger_than_a_window_becomes_one(size: int, across: bool) -> None:
    label_image = np.zeros((420, 420), np.uint16)
    label_image[180:230, 20:400] = 1
    label_image[300:320, 300:320] = 2
    label_image = label_image.T.copy() if across else label_image
    plan = plan_windows(label_image.shape, size, 48)
    found = join([seen_by(label_image, w, None) for w in plan], plan, MARGIN)
    assert as_partition(found.to_label_image()) == as_partition(label_image)
    longest = found.boxes[np.argmax(found.areas)]
    expected = [180, 20, 230, 400] if across else [20, 180, 400, 230]
    assert longest.tolist() == expected


def test_a_disc_in_the_corner_of_four_windows_comes_once() -> None:
    yy, xx = np.mgrid[:400, :400]
    for halo, radius in ((48, 40), (48, 70)):
        plan = plan_windows((400, 400), 224, halo)
        y, x = plan[0].core[2:]
        disc = (np.hypot(yy - y, xx - x) < radius).astype(np.uint16)
        found = join([seen_by(disc, w, None) for w in plan], plan, MARGIN)
        np.testing.assert_array_equal(found.to_label_image(), disc)


def test_neighbours_that_touch_at_a_seam_stay_two() -> None:
    plan = plan_windows((300, 300), 224, 48)
    seam = plan[0].core[3]
    label_image = np.zeros((300, 300), np.uint16)
    label_image[40:80, seam - 20 : seam] = 1
    label_image[40:80, seam : seam + 20] = 2
    found = join([seen_by(label_image, w, None) for w in plan], plan, MARGIN)
    assert as_partition(found.to_label_image()) == as_partition(label_image)


def test_classes_are_not_joined() -> None:
    """Two objects of different class in the same place are two, as without windows."""
    plan = plan_windows((300, 300), 224, 48)
    seam = plan[0].core[3]
    label_image = np.zeros((300, 300), np.uint16)
    label_image[40:80, seam - 20 : seam + 20] = 1
    one, other = (
        Instances.from_label_image(
            label_image, class_ids=[class_id], class_names=("disc", "ring")
        )
        for class_id in (1, 2)
    )
    parts = [one if window.core[1] == 0 else other for window in plan]
    found = join(parts, plan, MARGIN)
    assert sorted(found.class_ids.tolist()) == [1, 2]


def test_warnings_of_the_windows_are_said_once() -> None:
    from dataclasses import replace

    plan = plan_windows((300, 300), 224, 48)
    nothing = Instances.from_label_image(np.zeros((300, 300), np.uint16))
    parts = [replace(nothing, warnings=("crowded",)) for _ in plan]
    assert join(parts, plan, MARGIN).warnings == ("crowded",)
    parts[0] = Instances.from_label_image(np.eye(300, dtype=np.uint8))
    assert join(parts, plan, MARGIN).warnings == ("crowded",)
