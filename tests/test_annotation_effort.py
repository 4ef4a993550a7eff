"""The simulated annotator, on objects whose shortest way to the truth is known."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from skimage.draw import disk
from skimage.io import imsave
from tiny_network import write_tiny

from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.metrics import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SHAPE = (80, 120)
Disc = tuple[int, int, int]


@pytest.fixture(scope="module", autouse=True)
def _on_path() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield


def discs(*places: Iterable[Disc]) -> NDArray[np.uint16]:
    """Draw objects, each of one disc or several (y, x, radius), with ids from 1."""
    label_image = np.zeros(SHAPE, np.uint16)
    for index, parts in enumerate(places, start=1):
        for y, x, radius in parts:
            label_image[disk((y, x), radius, shape=SHAPE)] = index
    return label_image


def ellipse(box: tuple[int, int, int, int]) -> Instances:
    """Return the ellipse in a box: a good network for discs."""
    x0, y0, x1, y1 = box
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    inside = ((x - (x0 + x1) / 2) / (x1 - x0)) ** 2
    inside += ((y - (y0 + y1) / 2) / (y1 - y0)) ** 2
    return Instances.from_label_image((inside <= 0.25).astype(np.uint16))


def corner(box: tuple[int, int, int, int]) -> Instances:
    """Return the upper left quarter of a box, a pixel at least: a bad network."""
    x0, y0, x1, y1 = box
    label_image = np.zeros(SHAPE, np.uint16)
    label_image[y0 : (y0 + y1 + 1) // 2, x0 : (x0 + x1 + 1) // 2] = 1
    return Instances.from_label_image(label_image)


def nothing(_box: tuple[int, int, int, int]) -> Instances:
    """Return no object that could be placed."""
    raise ValueError("the network sees no object there")


def annotated(truth: Any, labels: Any, prompt: Any = ellipse) -> Any:
    done = importlib.import_module("annotator").annotate(truth, labels, prompt)
    assert evaluate(truth, done.labels).ap(0.5) == 1
    return done


LEFT, RIGHT, FAR = (30, 30, 10), (30, 46, 10), (60, 90, 12)


def test_what_is_right_takes_no_act() -> None:
    truth = discs([LEFT], [FAR])
    shrunk = discs([(30, 30, 9)], [(60, 90, 10)])
    done = annotated(truth, shrunk * 300)
    assert not done.acts
    assert not annotated(discs(), discs()).acts


@pytest.mark.parametrize(
    ("truth", "labels", "acts"),
    [
        ([[FAR]], [[LEFT], [FAR]], {"delete": 1}),
        ([[FAR], [LEFT]], [[FAR]], {"prompt": 1}),
        ([[LEFT], [RIGHT]], [[(30, 30, 12), (30, 46, 12)]], {"split": 1}),
        ([[LEFT, RIGHT]], [[(30, 30, 8)], [(30, 46, 8)]], {"merge": 1}),
        # The remains of the large one are deleted, as what was put over is no half.
        ([[(60, 90, 8)]], [[(60, 84, 18)]], {"prompt": 1, "delete": 1}),
        # What is covered by more than half goes with the prompt.
        ([[FAR]], [[(60, 92, 5)]], {"prompt": 1}),
    ],
)
def test_the_shortest_way_is_found(
    truth: list[list[Disc]], labels: list[list[Disc]], acts: dict[str, int]
) -> None:
    done = annotated(discs(*truth), discs(*labels))
    assert dict(done.acts) == acts
    assert done.in_vain == 0


@pytest.mark.parametrize(
    ("width", "acts"), [(20, {"merge": 1, "delete": 1}), (12, {"merge": 2})]
)
def test_no_more_pieces_are_joined_than_it_takes(
    width: int, acts: dict[str, int]
) -> None:
    truth = np.zeros(SHAPE, np.uint16)
    truth[20:40, 30:90] = 1
    pieces = np.zeros_like(truth)
    for index in range(3):
        pieces[20:40, 30 + 20 * index : 30 + 20 * index + width] = index + 1
    assert dict(annotated(truth, pieces, nothing).acts) == acts


@pytest.mark.parametrize("bad", [corner, nothing])
def test_a_prompt_in_vain_counts_and_is_painted_over(bad: Any) -> None:
    truth = discs([FAR], [LEFT])
    done = annotated(truth, discs([FAR]), bad)
    assert dict(done.acts) == {"prompt": 1, "repaint": 1}
    assert done.in_vain == 1
    np.testing.assert_array_equal(done.labels == 2, truth == 2)


def test_a_prompt_does_not_spoil_what_is_right() -> None:
    truth = discs([(40, 40, 20)], [(40, 52, 7)])
    labels = np.where(truth == 1, 1, 0)

    def greedy(_box: Any) -> Instances:
        return Instances.from_label_image((truth > 0).astype(np.uint16))

    done = annotated(truth, labels, greedy)
    assert dict(done.acts) == {"prompt": 1, "repaint": 1}


def test_groups_do_not_disturb_each_other() -> None:
    truth = discs([LEFT], [RIGHT], [FAR], [(15, 100, 8)])
    labels = discs([(30, 30, 12), (30, 46, 12)], [FAR], [(65, 20, 6)])
    done = annotated(truth, labels)
    assert dict(done.acts) == {"split": 1, "prompt": 1, "delete": 1}


PLACES = st.tuples(st.integers(0, 79), st.integers(0, 119), st.integers(2, 18))
OBJECTS = st.lists(st.lists(PLACES, min_size=1, max_size=2), max_size=6)


# Of the first object a line of one pixel is left.
@example([[(0, 1, 2)], [(0, 0, 2)]], [], corner)
@given(OBJECTS, OBJECTS, st.sampled_from([ellipse, corner, nothing]))
def test_every_result_becomes_right(truth: Any, labels: Any, prompt: Any) -> None:
    """However bad result and network are; and no way is worse than starting anew."""
    right, result = discs(*truth), discs(*labels)
    done = annotated(right, result, prompt)
    drawn, found = len(np.unique(right)) - 1, len(np.unique(result)) - 1
    assert done.acts.total() <= 2 * drawn + found
    assert 0 <= done.in_vain <= done.acts["prompt"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for number in range(3):
        label_image = discs([LEFT], [FAR][:number])
        picture = (60 + 120 * (label_image > 0)).astype(np.uint8)
        imsave(tmp_path / "images" / f"{number}.png", picture)
        imsave(tmp_path / "labels" / f"{number}.png", label_image, check_contrast=False)
    index = tmp_path / "index.csv"
    index.write_text("id,modality\n0,bright\n1,dark\n", encoding="utf-8")
    options = {
        "images": tmp_path / "images",
        "labels": tmp_path / "labels",
        "groups": index,
        "model": write_tiny(tmp_path / "models"),
        "score": 0.2,
        "limit": 2,
        "json": tmp_path / "effort.json",
    }
    script = importlib.import_module("annotation_effort")
    script.main([f"--{name}={value}" for name, value in options.items()])
    written = json.loads(options["json"].read_text())
    assert [image["group"] for image in written["images"]] == ["bright", "dark"]
    everything = written["groups"]["all"]
    assert everything["objects"] == 3
    assert everything["acts"] == sum(image["total"] for image in written["images"])
    assert everything["acts_an_object"] == pytest.approx(everything["acts"] / 3)
    printed = capsys.readouterr()
    assert "| dark (1) | 2 |" in printed.out
    assert "2/2 1 (dark)" in printed.err
