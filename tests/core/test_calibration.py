"""Calibrated scores: what they look at, and how they are found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.transform import rescale
from tiny_network import NATIVE_SIZE, tiny_checkpoint

from napari_maskrcnn.core.calibrating import are_right, calibrate, fit
from napari_maskrcnn.core.calibration import (
    FARTHEST,
    FEATURES,
    Calibration,
    calibrated,
    find_features,
)
from napari_maskrcnn.core.checkpoint_config import CALIBRATION
from napari_maskrcnn.core.checkpoints import (
    Checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from napari_maskrcnn.core.dataset import annotated_image
from napari_maskrcnn.core.detector import Detector, load_model
from napari_maskrcnn.core.instances import Instances, empty_instances
from napari_maskrcnn.core.model_list import find_model
from napari_maskrcnn.core.progress import Progress, exhaust
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ONE = (1.0, 1.0)
SCORE, CLARITY, SIZE, RELATIVE, FILL, OTHERS = range(FEATURES)
# Clear masks are likely right, whatever the score.
BY_CLARITY = Calibration(
    (0.0,) * FEATURES,
    (1.0,) * FEATURES,
    tuple(float(term == 1 + CLARITY) for term in range(CALIBRATION["weights"])),
)


def discs(radii: list[float], level: int = 255, scores: float = 0.9) -> Instances:
    """Discs in a row."""
    masks, offsets, boxes = [], [], []
    at = 2
    for radius in radii:
        side = int(2 * radius) + 4
        rows, columns = np.mgrid[:side, :side] + 0.5 - side / 2
        masks.append(np.where(np.hypot(rows, columns) < radius, level, 0))
        offsets.append((2, at))
        middle = (at + side / 2, 2 + side / 2)
        boxes.append([m + s * radius for s in (-1, 1) for m in middle])
        at += side + 2
    count = len(radii)
    return Instances(
        (int(max(radii) * 2) + 10, at + 2),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.ones(count, np.int64),
        np.full(count, scores, np.float32),
        tuple(mask.astype(np.uint8) for mask in masks),
        np.array(offsets, np.int64),
        np.arange(1, count + 1),
        ("disc",),
    )


def test_the_features_of_discs() -> None:
    found = find_features(discs([10, 10, 10, 5], level=204), (2.0, 2.0))
    assert found.shape == (4, FEATURES)
    np.testing.assert_allclose(found[:, SCORE], np.log(9), rtol=1e-5)
    np.testing.assert_allclose(found[:, [CLARITY, OTHERS]], np.log(4), rtol=1e-5)
    # The root of the area of a disc of 10 pixels, at twice the size.
    np.testing.assert_allclose(
        found[:, SIZE], np.log1p(np.sqrt(np.pi) * np.array([20, 20, 20, 10])), rtol=0.02
    )
    np.testing.assert_allclose(found[:3, RELATIVE], 0, atol=1e-9)
    np.testing.assert_allclose(found[3, RELATIVE], -np.log(4), atol=0.05)
    np.testing.assert_allclose(found[:, FILL], np.pi / 4, rtol=0.05)


def test_sure_finds_alone_say_what_objects_are_like() -> None:
    few = discs([10, 10, 3, 3, 3])
    few = replace(few, scores=np.array([0.9, 0.9, 0.2, 0.2, 0.2], np.float32))
    assert find_features(few, ONE)[0, RELATIVE] == 0
    none_sure = replace(few, scores=np.full(5, 0.2, np.float32))
    assert find_features(none_sure, ONE)[2, RELATIVE] == 0


def test_an_enlarged_image_has_the_same_features() -> None:
    small = discs([12, 9, 17, 6], level=230)
    large = replace(
        small,
        image_shape=tuple(2 * side for side in small.image_shape),
        boxes=small.boxes * 2,
        offsets=small.offsets * 2,
        masks=tuple(
            rescale(mask, 2, order=0, preserve_range=True).astype(np.uint8)
            for mask in small.masks
        ),
    )
    np.testing.assert_allclose(
        find_features(large, (0.5, 0.5)), find_features(small, ONE), atol=0.01
    )


FINITE = st.floats(-1e6, 1e6)


@settings(deadline=None, max_examples=40)
@given(
    features=arrays(np.float64, (5, FEATURES), elements=FINITE),
    weights=arrays(np.float64, CALIBRATION["weights"], elements=st.floats(-100, 100)),
)
def test_probabilities_are_probabilities(
    features: NDArray[np.float64], weights: NDArray[np.float64]
) -> None:
    spread = (0.5,) * FEATURES
    found = Calibration((0.1,) * FEATURES, spread, tuple(weights))
    values = found.probabilities(features)
    assert ((values >= 0) & (values <= 1)).all()


def test_beyond_what_was_seen_nothing_changes() -> None:
    far = np.full((1, FEATURES), FARTHEST)
    values = BY_CLARITY.probabilities(np.concatenate([far, far * 10, far * 0.5]))
    assert values[0] == values[1] != values[2]


def test_objects_keep_their_masks_when_their_order_changes() -> None:
    found = discs([8, 9, 10])
    faint = (found.masks[0] // 2 + 10, *found.masks[1:])
    found = replace(found, masks=faint, scores=np.array([0.9, 0.8, 0.7], np.float32))
    new = calibrated(found, BY_CLARITY, ONE)
    assert new.scores.dtype == np.float32
    assert (np.diff(new.scores) <= 0).all()
    np.testing.assert_array_equal(new.ids, [1, 2, 3])
    np.testing.assert_array_equal(new.masks[2], found.masks[0])
    np.testing.assert_array_equal(new.boxes[2], found.boxes[0])
    np.testing.assert_array_equal(new.offsets[0], found.offsets[1])


def test_nothing_to_calibrate_stays_as_it_is() -> None:
    found = discs([8, 9])
    assert calibrated(found, None, ONE) is found
    empty = empty_instances((9, 9), ("disc",))
    assert calibrated(empty, BY_CLARITY, ONE) is empty
    boxes = replace(found, masks=(), has_masks=False)
    assert calibrated(boxes, BY_CLARITY, ONE) is boxes


def test_a_fit_finds_what_decides() -> None:
    """Here objects that are neither small nor large, which a score alone can't say."""
    rng = np.random.default_rng(0)
    features = rng.normal(2.0, 3.0, (4000, FEATURES))
    true = 1 / (1 + np.exp((features[:, RELATIVE] - 2.0) ** 2 / 3 - 3))
    right = rng.random(4000) < true
    found = fit(features[:3000], right[:3000], np.ones(3000))
    values = found.probabilities(features[3000:])
    assert np.abs(values - true[3000:]).mean() < 0.05
    assert np.corrcoef(values, true[3000:])[0, 1] > 0.97
    assert found == fit(features[:3000], right[:3000], np.ones(3000))
    # A weight of three is three of them.
    thrice = np.concatenate([features[:500]] * 3 + [features[500:900]])
    answers = np.concatenate([right[:500]] * 3 + [right[500:900]])
    heavy = np.where(np.arange(900) < 500, 3.0, 1.0)
    one = fit(features[:900], right[:900], heavy).probabilities(features[900:])
    other = fit(thrice, answers, np.ones(1900)).probabilities(features[900:])
    np.testing.assert_allclose(one, other, atol=0.03)


def test_which_finds_are_right() -> None:
    found = discs([10, 10, 10, 10])
    truth = np.zeros(found.image_shape, np.int32)
    for position, shift in enumerate((0, 2, 9)):
        y, x = found.offsets[position]
        mask = found.mask(position)
        y += shift
        part = truth[y : y + mask.shape[0], x : x + mask.shape[1]]
        part[mask[: part.shape[0]]] = 7 - position
    np.testing.assert_array_equal(are_right(found, truth), [True, True, False, False])


def test_a_checkpoint_keeps_its_calibration(tmp_path: Path) -> None:
    start = tiny_checkpoint()
    assert start.calibration is None
    config = {**start.config, "calibration": BY_CLARITY.to_config()}
    path = tmp_path / "tiny.safetensors"
    write_checkpoint(path, Checkpoint(config, start.state))
    found = read_checkpoint(path)
    assert found.calibration == BY_CLARITY
    assert found.trunk_id == start.trunk_id


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": [0.0] * 27},
        {"center": [0.0] * 5 + ["x"]},
        {"center": [0.0] * 5 + [float("nan")]},
        {"spread": [1.0] * 5 + [0.0]},
        {"more": [1.0]},
    ],
)
def test_a_wrong_calibration_is_refused(tmp_path: Path, wrong: dict) -> None:
    start = tiny_checkpoint()
    config = {
        **start.config, "calibration": {**BY_CLARITY.to_config(), **wrong},
    }  # fmt: skip
    path = tmp_path / "tiny.safetensors"
    write_checkpoint(path, Checkpoint(config, start.state))
    with pytest.raises(ValueError, match="6 centers, 6 spreads and 28 weights"):
        read_checkpoint(path)


def test_a_detector_gives_calibrated_scores() -> None:
    start = tiny_checkpoint()
    config = {**start.config, "calibration": BY_CLARITY.to_config()}
    image = nuclei_field((96, 128), 20, seed=1)[0]
    plain, new = (
        Detector(checkpoint, "cpu").detect(image, object_size=NATIVE_SIZE)
        for checkpoint in (start, Checkpoint(config, start.state))
    )
    assert len(plain) == len(new) > 2
    scale = Detector(start, "cpu").encode(image, object_size=NATIVE_SIZE).scale
    expected = calibrated(plain, BY_CLARITY, scale)
    np.testing.assert_array_equal(new.scores, expected.scores)
    np.testing.assert_array_equal(new.boxes, expected.boxes)
    assert not np.array_equal(new.scores, plain.scores)


def half_annotated(seed: int) -> tuple[str, NDArray[np.uint16], NDArray[np.uint16]]:
    """Nuclei of which the smaller half is nothing to this person."""
    image, labels = nuclei_field((384, 384), seed=seed)
    areas = np.bincount(labels.ravel())
    small = areas < np.median(areas[1:])
    return str(seed), image, np.where(small[labels], 0, labels)


def test_what_nobody_annotates_is_seldom_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_maskrcnn.core.calibrating.MIN_FINDS", 40)
    annotated = [annotated_image(*half_annotated(seed)) for seed in range(3)]
    checkpoint = read_checkpoint(find_model("nuclei"))
    work = calibrate(checkpoint, annotated, "cpu")
    assert isinstance(next(work), Progress)
    result = exhaust(work)
    assert result.after["ap50"] > result.before["ap50"] + 0.1
    assert result.checkpoint.score_threshold == result.after["score_threshold"]
    assert result.checkpoint.trunk_id == checkpoint.trunk_id
    assert result.finds > 80
    source = {"images": 3, "finds": result.finds}
    assert result.checkpoint.config["provenance"]["calibrated_on"] == source
    assert result.checkpoint.config["card"] == checkpoint.config["card"]
    _, image, labels = half_annotated(9)
    for made, least in ((checkpoint, 0.0), (result.checkpoint, 0.3)):
        found = Detector(made, "cpu").detect(image)
        sure = found.filter(score_threshold=0.1, nms_threshold=0.2)
        right = are_right(sure, labels.astype(np.int32))
        gap = sure.scores[right].mean() - sure.scores[~right].mean()
        assert gap > least


def test_too_little_to_learn_from_is_said() -> None:
    image, labels = nuclei_field((96, 96), 6, seed=1)
    annotated = [annotated_image("a", image, labels)]
    with pytest.raises(ValueError, match="200 right and 200 wrong"):
        exhaust(calibrate(read_checkpoint(find_model("nuclei")), annotated, "cpu"))
    boxes = tiny_checkpoint()
    architecture = {"name": "fasterrcnn_resnet50_fpn", "arguments": {}}
    boxes = Checkpoint({**boxes.config, "architecture": architecture}, boxes.state)
    with pytest.raises(ValueError, match="choose a model that gives masks"):
        exhaust(calibrate(boxes, annotated, "cpu"))


def test_the_bundled_model_doubts_specks() -> None:
    """Beside its like a nucleus is as sure as ever; a speck of the same score isn't."""
    calibration = load_model("nuclei", "cpu").network.calibration
    found = discs([16, 16, 16, 2.5], level=225, scores=0.9)
    values = calibration.probabilities(find_features(found, ONE))
    assert values[:3].min() > values[3] + 0.3
