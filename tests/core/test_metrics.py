"""Agreement of objects: against hand counts, a brute-force matcher and pycocotools."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.metrics import THRESHOLDS, Evaluation, coco_map, evaluate

SMALL = arrays(np.uint16, (6, 5), elements=st.integers(0, 4))


def squares(*boxes: tuple[int, int, int, int], size: int = 20) -> np.ndarray:
    """Paint boxes (y0, x0, y1, x1) as objects 1, 2, ..."""
    label_image = np.zeros((size, size), dtype=np.int32)
    for number, (y0, x0, y1, x1) in enumerate(boxes, start=1):
        label_image[y0:y1, x0:x1] = number
    return label_image


def brute_force(truth: np.ndarray, guess: np.ndarray, threshold: float) -> list[float]:
    """Try every one-to-one matching; return the IoU of the best one."""
    true_ids = [i for i in np.unique(truth) if i]
    guess_ids = [i for i in np.unique(guess) if i]
    iou = {
        (a, b): float(((truth == a) & (guess == b)).sum())
        / float(((truth == a) | (guess == b)).sum())
        for a in true_ids
        for b in guess_ids
    }
    slots = [*guess_ids, *[None] * len(true_ids)]
    best: list[float] = []
    for chosen in set(itertools.permutations(slots, len(true_ids))):
        pairs = [iou.get(pair, 0.0) for pair in zip(true_ids, chosen, strict=True)]
        matched = [value for value in pairs if value >= threshold]
        if (len(matched), sum(matched)) > (len(best), sum(best)):
            best = matched
    return best


def test_hand_count() -> None:
    truth = squares((0, 0, 10, 10), (12, 0, 16, 10), (12, 12, 18, 18))
    # Object 1: 80 of 100 pixels, IoU 0.8.  Object 2: 40 pixels, 20 of them hit by a
    # prediction of 20: IoU 0.5.  Object 3: missed.  One prediction is nowhere.
    guess = squares((0, 0, 8, 10), (12, 0, 14, 10), (0, 15, 3, 18))
    result = evaluate(truth, guess)
    half = result.pooled.at(0.5)
    counts = (half.true_positives, half.false_positives, half.false_negatives)
    assert counts == (2, 1, 1)
    assert half.ap == 2 / 4
    assert half.precision == half.recall == half.f1 == pytest.approx(2 / 3)
    assert half.mean_matched_iou == pytest.approx((0.8 + 0.5) / 2)
    assert half.pq == pytest.approx(1.3 / 3)  # sum of IoU / (TP + (FP + FN) / 2)
    assert result.pooled.at(0.8).true_positives == 1  # the threshold itself counts
    assert result.pooled.at(0.85).true_positives == 0
    assert result.ap(0.5) == 0.5
    assert result.thresholds == THRESHOLDS


def test_mean_over_images_and_pooled_counts_differ() -> None:
    one = squares((0, 0, 5, 5))
    three = squares((0, 0, 5, 5), (0, 6, 5, 11), (6, 0, 11, 5))
    result = evaluate([one, three], [one, np.zeros_like(three)], names=["a", "b"])
    assert result.ap() == (1 + 0) / 2
    assert result.pooled.at(0.5).ap == 1 / 4
    assert [image.name for image in result.images] == ["a", "b"]


def test_one_prediction_over_two_objects_matches_one() -> None:
    truth = squares((0, 0, 10, 10), (0, 10, 10, 20))
    guess = squares((0, 0, 10, 20))  # IoU 0.5 with both
    half = evaluate(truth, guess).pooled.at(0.5)
    counts = (half.true_positives, half.false_positives, half.false_negatives)
    assert counts == (1, 0, 1)


def test_empty_images() -> None:
    empty, one = squares(), squares((0, 0, 5, 5))
    both = evaluate(empty, empty)
    assert both.mean_ap == (1.0,) * 10
    assert both.pooled.at(0.5).pq == both.pooled.at(0.5).mean_matched_iou == 1
    for truth, guess in ((empty, one), (one, empty)):
        half = evaluate(truth, guess).pooled.at(0.5)
        assert half.ap == half.precision == half.recall == half.f1 == half.pq == 0


@given(truth=SMALL, guess=SMALL, threshold=st.sampled_from([0.1, 0.3, 0.5, 0.75]))
@settings(max_examples=150)
def test_matching_is_that_of_brute_force(
    truth: np.ndarray, guess: np.ndarray, threshold: float
) -> None:
    expected = brute_force(truth, guess, threshold)
    (score,) = evaluate(truth, guess, thresholds=[threshold]).pooled.scores
    assert score.true_positives == len(expected)
    if expected:
        assert score.mean_matched_iou == pytest.approx(np.mean(expected))


@given(truth=SMALL, guess=SMALL)
def test_counts_are_consistent_and_symmetric(
    truth: np.ndarray, guess: np.ndarray
) -> None:
    there, back = evaluate(truth, guess), evaluate(guess, truth)
    for a, b in zip(there.pooled.scores, back.pooled.scores, strict=True):
        assert a.true_positives == b.true_positives
        assert a.false_positives == b.false_negatives
        assert a.ap == b.ap
        assert a.true_positives + a.false_negatives == there.pooled.true_objects
        assert a.true_positives + a.false_positives == there.pooled.predicted_objects
        assert 0 <= a.pq <= a.f1 <= 1
    assert list(there.mean_ap) == sorted(there.mean_ap, reverse=True)


@given(truth=SMALL, guess=SMALL, seed=st.integers(0, 2**16))
def test_renumbering_changes_nothing(
    truth: np.ndarray, guess: np.ndarray, seed: int
) -> None:
    values = np.random.default_rng(seed).choice(2**40, size=5, replace=False) + 1
    values[0] = 0
    assert evaluate(truth, guess) == evaluate(truth, values[guess])


@given(SMALL)
def test_perfect(truth: np.ndarray) -> None:
    assert evaluate(truth, truth.copy()).mean_ap == (1.0,) * 10


def test_result_is_json_and_a_table() -> None:
    result = evaluate(squares((0, 0, 5, 5)), squares((0, 0, 5, 4)))
    again = json.loads(result.to_json())
    assert again["pooled"]["scores"][0]["ap"] == 1
    assert again["mean_ap"] == list(result.mean_ap)
    assert "0.50" in result.to_table()
    assert isinstance(result, Evaluation)


@pytest.mark.parametrize(
    ("truth", "guess", "error", "words"),
    [
        (np.zeros((3, 3)), np.zeros((3, 3), int), TypeError, "float64"),
        (np.zeros((3, 3), bool), np.zeros((3, 3), int), TypeError, "bool"),
        (np.full((3, 3), -1), np.zeros((3, 3), int), ValueError, "-1"),
        (np.zeros((3, 3), int), np.zeros((3, 4), int), ValueError, r"\(3, 4\)"),
        ([np.zeros((3, 3), int)], [], ValueError, "1 true images, but 0 predicted"),
        ([], [], ValueError, "no image"),
    ],
)
def test_bad_input(
    truth: object, guess: object, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        evaluate(truth, guess)  # type: ignore[arg-type]


@pytest.mark.parametrize("thresholds", [[0.0], [1.5], [float("nan")], []])
def test_bad_thresholds(thresholds: list[float]) -> None:
    with pytest.raises(ValueError, match="threshold"):
        evaluate(squares(), squares(), thresholds=thresholds)
    with pytest.raises(ValueError, match=r"0\.33"):
        evaluate(squares(), squares()).ap(0.33)


def crowded(seed: int) -> tuple[Instances, Instances]:
    """Return 400 true squares and predictions of them, shifted, missing and invented.

    More than 100 objects: the cap that COCO's own evaluation puts on an image.
    """
    rng = np.random.default_rng(seed)
    true = squares(
        *[(y, x, y + 7, x + 7) for y in range(0, 200, 10) for x in range(0, 200, 10)],
        size=200,
    )
    guess = np.roll(true, (1, 1), axis=(0, 1))
    guess[np.isin(guess, rng.choice(np.arange(1, 401), 60, replace=False))] = 0
    guess[:, :50] = true[:, :50]
    count = len(np.unique(guess)) - 1
    names = ("a", "b")
    classes = 1 + np.arange(400) % 2
    return (
        Instances.from_label_image(true, class_ids=classes, class_names=names),
        Instances.from_label_image(
            guess,
            class_ids=classes[np.unique(guess)[1:] - 1],
            scores=rng.random(count).astype(np.float32),
            class_names=names,
        ),
    )


def test_coco_map_of_a_crowded_image_is_not_capped() -> None:
    pytest.importorskip("faster_coco_eval")
    true, guess = crowded(0)
    full = coco_map([true], [guess])
    found = evaluate(true, guess, thresholds=[0.5])
    assert full["mAP50"] > 0.7  # a cap of 100 an image would leave below 0.5
    assert full["recall"] <= full["mAP50"] + 0.3
    assert found.coco == full
    assert "mAP50" in found.to_table()


@pytest.mark.parametrize("seed", [1, 2])
def test_coco_map_is_that_of_pycocotools(seed: int) -> None:
    pytest.importorskip("faster_coco_eval")
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    from napari_maskrcnn.core.average_precision import _documents

    true, guess = crowded(seed)
    document, results = _documents([true], [guess])
    for number, annotation in enumerate(document["annotations"], start=1):
        annotation.update(id=number, iscrowd=0)
    api = coco.COCO()
    api.dataset = document
    api.createIndex()
    reference = cocoeval.COCOeval(api, api.loadRes(results), "segm")
    reference.params.maxDets = [1, 100, 1000]
    reference.evaluate()
    reference.accumulate()
    precision = reference.eval["precision"][:, :, :, 0, -1]
    expected = {"mAP": precision.mean(), "mAP50": precision[0].mean()}
    measured = coco_map([true], [guess])
    for key, value in expected.items():
        assert measured[key] == pytest.approx(value, abs=1e-6)
    assert coco_map(document, results) == measured


def test_coco_map_of_perfect_and_of_empty_predictions() -> None:
    pytest.importorskip("faster_coco_eval")
    true, _ = crowded(0)
    assert coco_map([true], [true])["mAP"] == pytest.approx(1)
    nothing = Instances.from_label_image(np.zeros((200, 200), dtype=np.uint16))
    assert coco_map([true], [nothing])["mAP"] == 0
    assert coco_map([nothing], [nothing])["mAP"] == 0
    label_image = squares((0, 0, 5, 5))
    for names in (("nucleus",), ("cell", "nucleus")):
        one = Instances.from_label_image(
            label_image, class_ids=[len(names)], class_names=names
        )
        assert coco_map([label_image], [one])["mAP"] == pytest.approx(1)


def test_coco_map_names_what_is_missing() -> None:
    pytest.importorskip("faster_coco_eval")
    document = {
        "images": [{"id": 7, "height": 10, "width": 10}],
        "categories": [{"id": 3, "name": "a"}],
        "annotations": [
            {
                "id": 0,
                "image_id": 7,
                "category_id": 3,
                "segmentation": [[0, 0, 5, 0, 5, 5, 0, 5]],
            }
        ],
    }
    found = {**document["annotations"][0], "id": 12}
    with pytest.raises(ValueError, match="12 has no 'score'"):
        coco_map(document, [found])
    with pytest.raises(ValueError, match="image_id 8"):
        coco_map(document, [{**found, "score": 1.0, "image_id": 8}])
    assert coco_map(document, [{**found, "score": 1.0}])["mAP"] == pytest.approx(1)


def test_without_faster_coco_eval() -> None:
    script = (
        "import sys; sys.modules['faster_coco_eval'] = None\n"
        "from napari_maskrcnn.core.metrics import coco_map\n"
        "try:\n    coco_map([], [])\n"
        "except ValueError as error:\n    print(error)\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "faster-coco-eval" in done.stdout
    assert done.stdout.endswith("False\n")
