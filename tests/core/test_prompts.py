"""A box or a point, and the object that belongs to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import (
    maskrcnn_inference,
    paste_masks_in_image,
)

from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.placing import object_ids_under, place
from napari_maskrcnn.core.prompts import best_window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_maskrcnn.core.checkpoints import Checkpoint
    from napari_maskrcnn.core.encoding import Encoding
    from napari_maskrcnn.core.instances import Instances

BOX = (30.0, 20.0, 62.0, 48.0)


@pytest.fixture(scope="module")
def encoding(detector: Detector, field: Any) -> Encoding:
    """At the network's own scale: a pixel of the image is one of the network's."""
    return detector.encode(field[0], object_size=detector.native_size)


@pytest.fixture
def passes(detector: Detector) -> Iterator[list[int]]:
    """Count the passes of the backbone."""
    calls: list[int] = []
    hook = detector.network.backbone.register_forward_hook(lambda *_: calls.append(1))
    yield calls
    hook.remove()


def drawn(instances: Instances) -> NDArray[np.bool_]:
    assert len(instances) == 1
    picture: NDArray[np.bool_] = instances.to_label_image() > 0
    return picture


def by_torchvision(
    detector: Detector, encoding: Encoding, box: tuple[float, ...]
) -> tuple[int, float, NDArray[np.float32]]:
    """Run the heads of torchvision's network on a box: class, score, mask."""
    window = encoding.windows[0]
    assert window is not None
    heads, shape = detector.network.roi_heads, [encoding.network_shape]
    rois = [torch.tensor([box])]
    with torch.no_grad():
        pooled = heads.box_roi_pool(window.features, rois, shape)
        logits, _ = heads.box_predictor(heads.box_head(pooled))
        probs = logits.softmax(-1)[0]
        best = int(probs[1:].argmax()) + 1
        pooled = heads.mask_roi_pool(window.features, rois, shape)
        logits = heads.mask_predictor(heads.mask_head(pooled))
        (mask,) = maskrcnn_inference(logits, [torch.tensor([best])])
    pasted = paste_masks_in_image(mask, rois[0], shape[0])
    return best, float(probs[best]), pasted[0, 0].numpy()


def test_a_box_gives_what_torchvisions_heads_give(
    detector: Detector, encoding: Encoding, passes: list[int]
) -> None:
    found = detector.prompt_box(encoding, BOX)
    class_id, score, mask = by_torchvision(detector, encoding, BOX)
    assert found.class_ids.tolist() == [class_id]
    assert found.scores[0] == pytest.approx(score, abs=1e-5)
    inside = np.zeros(mask.shape, bool)
    inside[20:48, 30:62] = True
    np.testing.assert_array_equal(drawn(found), (mask >= 0.5) & inside)
    assert not passes


def test_the_class_may_be_chosen(detector: Detector, encoding: Encoding) -> None:
    for class_id in (1, 2):
        for found in (
            detector.prompt_box(encoding, BOX, class_id),
            detector.prompt_point(encoding, (34, 46), class_id),
        ):
            assert found.class_ids.tolist() == [class_id]


def test_a_point_gives_an_object_at_the_point(
    detector: Detector, encoding: Encoding, passes: list[int]
) -> None:
    height, width = encoding.image_shape
    for y, x in ((0, 0), (34.5, 46.2), (height - 1, width - 1), (height / 2, 3)):
        found = detector.prompt_point(encoding, (y, x))
        x0, y0, x1, y1 = found.boxes[0]
        assert x0 <= x + 0.5 <= x1
        assert y0 <= y + 0.5 <= y1
        assert drawn(found).any()
    assert not passes


def test_a_point_without_proposals_gets_a_box_of_the_usual_size(
    detector: Detector, encoding: Encoding
) -> None:
    window = encoding.windows[0]
    assert window is not None
    bare = replace(encoding, windows=(replace(window, proposals=torch.zeros(0, 4)),))
    found = detector.prompt_point(bare, (80, 90))
    x0, y0, x1, y1 = found.boxes[0]
    assert x0 < 90 < x1
    assert y0 < 80 < y1
    assert 0.1 < np.sqrt((x1 - x0) * (y1 - y0)) / encoding.object_size < 10


def test_scales_and_windows_make_no_difference_to_where(
    checkpoint: Checkpoint, field: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_maskrcnn.core.detector.WINDOWS", {"cpu": 320})
    image = np.tile(field[0], (2, 2))
    detector = Detector(checkpoint, "cpu", precision=torch.float32)
    encoding = detector.encode(image, object_size=16)
    assert len(encoding.plan) > 1
    height, width = image.shape
    for x0, y0 in ((10, 10), (width - 50, height - 40), (width // 2, height // 2)):
        box = (x0, y0, x0 + 30, y0 + 24)
        rows, columns = np.nonzero(drawn(detector.prompt_box(encoding, box)))
        assert y0 <= rows.min() <= rows.max() < y0 + 24
        assert x0 <= columns.min() <= columns.max() < x0 + 30


def test_only_the_window_that_is_needed_is_encoded_again(
    checkpoint: Checkpoint, field: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_maskrcnn.core.detector.WINDOWS", {"cpu": 320})
    image = np.tile(field[0], (2, 2))
    kept = Detector(checkpoint, "cpu", precision=torch.float32)
    lean = Detector(checkpoint, "cpu", precision=torch.float32, budget=0)
    whole = kept.encode(image, object_size=16)
    encoding = lean.encode(image, object_size=16)
    assert not any(encoding.windows)
    calls: list[int] = []
    # The trunk: windows are encoded part by part.
    lean.network.backbone.body.register_forward_hook(lambda *_: calls.append(1))
    # Both have their middle in the core of the first window.
    first, second = (14, 20, 40, 50), (16, 24, 42, 54)
    for box in (first, second):
        # Pixels are kept in half precision, so not all masks are the same to a bit.
        found = drawn(lean.prompt_box(encoding, box))
        expected = drawn(kept.prompt_box(whole, box))
        assert np.mean(found != expected) < 0.01
    assert len(calls) == 1
    lean.prompt_point(encoding, (300, 370))
    assert len(calls) == 2


def test_the_window_that_sees_most_is_taken(encoding: Encoding) -> None:
    from napari_maskrcnn.core.tiling import Window

    plan = (
        Window((0, 0, 100, 60), (0, 0, 100, 50)),
        Window((0, 40, 100, 100), (0, 50, 100, 100)),
    )
    two = replace(encoding, plan=plan, windows=(None, None))
    assert best_window(np.array([42.0, 10, 48, 20]), two) == 0
    assert best_window(np.array([52.0, 10, 58, 20]), two) == 1
    assert best_window(np.array([30.0, 10, 64, 20]), two) == 0
    assert best_window(np.array([55.0, 10, 55, 10]), two) == 1


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        ((10, 10, 10, 20), "the box is empty"),
        ((10, 20, 20, 10), "the box is empty"),
        ((500, 10, 520, 20), "outside of the image of 192 x 160"),
        ((1, 2, 3), "a box is four numbers"),
        ((np.nan, 2, 3, 4), "a box is four numbers"),
    ],
)
def test_boxes_that_are_none(
    detector: Detector, encoding: Encoding, box: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        detector.prompt_box(encoding, box)


@pytest.mark.parametrize(
    ("point", "sentence"),
    [
        ((-1, 5), "outside of the image of 192 x 160"),
        ((5, 192), "outside of the image"),
        ((np.inf, 2), "a point is two numbers"),
        ((1,), "a point is two numbers"),
    ],
)
def test_points_that_are_none(
    detector: Detector, encoding: Encoding, point: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        detector.prompt_point(encoding, point)


def test_classes_that_are_none(detector: Detector, encoding: Encoding) -> None:
    with pytest.raises(ValueError, match="class_id must be from 1 to 2, got 3"):
        detector.prompt_box(encoding, BOX, 3)


def test_a_network_without_masks_says_so(checkpoint: Checkpoint, field: Any) -> None:
    detector = Detector(checkpoint, "cpu", precision=torch.float32)
    encoding = detector.encode(field[0], object_size=detector.native_size)
    detector.network.roi_heads.mask_roi_pool = None
    with pytest.raises(ValueError, match="boxes only"):
        detector.prompt_box(encoding, BOX)


class TestPlacing:
    """A new object among others."""

    @pytest.fixture
    def new(self, detector: Detector, encoding: Encoding) -> Instances:
        """An object of 10 x 10 pixels at (20, 30)."""
        found = detector.prompt_box(encoding, (30, 20, 40, 30))
        return replace(
            found,
            masks=(np.full((10, 10), 255, np.uint8),),
            offsets=np.array([[20, 30]]),
        )

    @pytest.fixture
    def labels(self, encoding: Encoding) -> NDArray[np.uint16]:
        return np.zeros(encoding.image_shape, np.uint16)

    @staticmethod
    def after(labels: NDArray[Any], edit: Any) -> NDArray[Any]:
        picture = labels.copy()
        (y, x), (height, width) = edit.offset, edit.after.shape
        np.testing.assert_array_equal(
            labels[y : y + height, x : x + width], edit.before
        )
        picture[y : y + height, x : x + width] = edit.after
        return picture

    def test_on_free_ground(self, new: Instances, labels: Any) -> None:
        edit = place(labels, new, 7)
        picture = self.after(labels, edit)
        assert np.count_nonzero(picture == 7) == 100
        assert (picture[20:30, 30:40] == 7).all()
        assert edit.origins == {7: ()}
        assert not edit.vanished

    def test_others_give_up_pixels_or_go(self, new: Instances, labels: Any) -> None:
        labels[0:22, 30:40] = 1  # of 220 pixels, 20 are covered
        labels[24:28, 36:42] = 2  # of 24, 16
        assert object_ids_under(labels, new).tolist() == [1, 2]
        edit = place(labels, new, 3)
        picture = self.after(labels, edit)
        assert np.count_nonzero(picture == 1) == 200
        assert 2 not in picture
        assert np.count_nonzero(picture == 3) == 100
        assert edit.vanished == {2}
        assert edit.origins == {3: (), 1: (1,)}

    def test_untouched_ones_keep_all(self, new: Instances, labels: Any) -> None:
        labels[24:28, 36:42] = 2
        edit = place(labels, new, 3, {2})
        picture = self.after(labels, edit)
        assert np.count_nonzero(picture == 2) == 24
        assert np.count_nonzero(picture == 3) == 84
        labels[20:30, 30:40] = 2
        with pytest.raises(ValueError, match="edited or approved"):
            place(labels, new, 3, {2})

    def test_an_id_has_to_fit(self, new: Instances, labels: Any) -> None:
        with pytest.raises(ValueError, match="70000 does not fit"):
            place(labels, new, 70_000)
