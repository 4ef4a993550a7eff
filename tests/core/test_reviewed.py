"""Only what was reviewed counts, in training and in judging."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tiny_network import tiny_checkpoint

from napari_maskrcnn.core.annotations import read_annotated
from napari_maskrcnn.core.coco import CocoImage, CocoObjects, write_coco
from napari_maskrcnn.core.dataset import annotated_image
from napari_maskrcnn.core.examples import make_target
from napari_maskrcnn.core.fine_tuning.config import FineTuneConfig
from napari_maskrcnn.core.fine_tuning.frozen_part import CutNetwork
from napari_maskrcnn.core.fine_tuning.holding_out import hold_out
from napari_maskrcnn.core.fine_tuning.judging import scores
from napari_maskrcnn.core.fine_tuning.planning import object_counts, plan
from napari_maskrcnn.core.images import write_array
from napari_maskrcnn.core.instances import Instances
from napari_maskrcnn.core.reviewed import (
    HELD_OUT,
    UNREVIEWED,
    ReviewedOnly,
    mark_unreviewed,
    on_unreviewed_ground,
)
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_maskrcnn.core.dataset import AnnotatedImage

SIDE = 128


def squares(*corners: tuple[int, int], side: int = 24) -> NDArray[np.int32]:
    """Labels 1, 2 ... as squares with the given upper left corners (y, x)."""
    label_image = np.zeros((SIDE, SIDE), np.int32)
    for label, (y, x) in enumerate(corners, start=1):
        label_image[y : y + side, x : x + side] = label
    return label_image


def image_of(label_image: NDArray[Any], seed: int = 0) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).random(label_image.shape, np.float32)
    pixels: NDArray[np.float32] = (label_image > 0) * np.float32(0.7) + 0.3 * noise
    return pixels


def left_half() -> NDArray[np.bool_]:
    region = np.zeros((SIDE, SIDE), np.bool_)
    region[:, : SIDE // 2] = True
    return region


# ------------------------------------------------------------------ marks


def test_without_marks_everything_counts() -> None:
    labels = squares((4, 4))
    assert mark_unreviewed(labels, None, None) is labels


def test_reviewed_objects_count_and_the_ground_does_not() -> None:
    labels = squares((4, 4), (60, 60))
    marked = mark_unreviewed(labels, [2], None)
    assert set(np.unique(marked)) == {UNREVIEWED, 2}
    assert ((marked == 2) == (labels == 2)).all()


def test_in_a_region_the_ground_counts_too() -> None:
    # One inside, one with the most part inside, one with less, one outside.
    labels = squares((4, 4), (34, 44), (64, 56), (94, 90))
    marked = mark_unreviewed(labels, None, left_half())
    assert set(np.unique(marked)) == {UNREVIEWED, 0, 1, 2}
    # All of an object that counts, none of one that does not.
    assert ((marked == 2) == (labels == 2)).all()
    assert (marked[labels == 3] == UNREVIEWED).all()
    assert (marked[:, SIDE // 2 :][labels[:, SIDE // 2 :] == 0] == UNREVIEWED).all()


def test_a_region_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a: the labels are \(128, 128\) but"):
        mark_unreviewed(squares((4, 4)), None, np.ones((2, 2), np.bool_), "a")


def test_an_annotated_image_keeps_classes_of_what_counts() -> None:
    labels = squares((4, 4), (60, 60), (90, 4))
    class_ids = np.array([0, 1, 2, 3])
    item = annotated_image(
        "a", image_of(labels), labels, class_ids,
        class_names=("x", "y", "z"), reviewed=[1, 3],
    )  # fmt: skip
    assert object_counts(item) == {1: 1, 3: 1}
    assert item.object_size == 24
    assert item.has_objects
    assert set(np.unique(item.label_image)) == {UNREVIEWED, 1, 2}


def test_an_image_of_nan_is_refused() -> None:
    labels = squares((4, 4))
    with pytest.raises(ValueError, match="bad: no pixel of the image is a number"):
        annotated_image("bad", np.full((SIDE, SIDE), np.nan), labels)


# ------------------------------------------------------------------ losses


def target_of(labels: NDArray[Any], **marks: Any) -> dict[str, torch.Tensor]:
    marked = mark_unreviewed(labels, marks.get("reviewed"), marks.get("region"))
    return make_target(marked.astype(np.int32), np.ones(20, np.int64))


def test_targets_say_what_was_not_reviewed() -> None:
    labels = squares((4, 4), (60, 80))
    assert "unreviewed" not in target_of(labels)
    target = target_of(labels, region=left_half())
    assert len(target["boxes"]) == 1
    assert target["unreviewed"][:, 70:].all()
    assert not target["unreviewed"][:, :60].any()


def test_boxes_on_unreviewed_ground() -> None:
    labels = squares((4, 4), (60, 80))
    target = target_of(labels, reviewed=[1], region=left_half())
    boxes = torch.tensor(
        [
            [4.0, 4, 28, 28],  # the reviewed object
            [10, 60, 40, 90],  # ground of the region
            [80, 60, 104, 84],  # an object outside
            [40, 60, 80, 90],  # more inside than out
            [44, 60, 100, 90],  # more out than inside
            [-20, -20, 10, 10],  # cut by the edge
        ]
    )
    found = on_unreviewed_ground(boxes, target).tolist()
    assert found == [False, False, True, True, True, False]
    none = {**target, "boxes": torch.zeros(0, 4)}
    assert on_unreviewed_ground(boxes, none).tolist()[1:3] == [False, True]


def gradients(
    target: dict[str, torch.Tensor], part: str = "rpn"
) -> dict[str, torch.Tensor]:
    """Of one step of the tiny network over one image."""
    cut = CutNetwork(tiny_checkpoint(spread=False).build(), part, torch.float32)
    labels = squares((4, 4), (60, 80))
    image = torch.from_numpy(image_of(labels)).expand(3, -1, -1)
    torch.manual_seed(0)
    terms = cut.losses(cut.encode([image]), (SIDE, SIDE), [target])
    sum(terms.values()).backward()  # type: ignore[union-attr]
    return {
        key: value.grad.clone()
        for key, value in cut.parameters().items()
        if value.grad is not None
    }


@pytest.mark.parametrize("part", ["heads", "rpn"])
def test_the_loss_ignores_what_was_not_reviewed(part: str) -> None:
    """Whatever is labelled there: an object more, one less, all as background."""
    marks = {"reviewed": [1], "region": left_half()}
    expected = gradients(target_of(squares((4, 4), (60, 80)), **marks), part)
    for others in ([], [(20, 90), (90, 90)], [(60, 76)]):
        other = gradients(target_of(squares((4, 4), *others), **marks), part)
        assert expected.keys() == other.keys()
        assert all(torch.equal(value, other[key]) for key, value in expected.items())
    background = gradients(target_of(squares((4, 4))), part)
    assert any(not torch.equal(v, background[key]) for key, v in expected.items())


def test_only_background_on_unreviewed_ground_is_ignored() -> None:
    network = tiny_checkpoint().build()
    ReviewedOnly(network)
    target = target_of(squares((4, 4), (60, 80)), reviewed=[1], region=left_half())
    proposals = torch.tensor(
        [[5.0, 5, 28, 28], [10, 60, 40, 90], [80, 60, 104, 84], [82, 62, 100, 84]]
    )
    network.roi_heads.training = True
    chosen, _, labels, _ = network.roi_heads.select_training_samples(
        [proposals], [target]
    )
    # The object, found and as it is; the ground of the region; nothing of the rest.
    assert sorted(labels[0].tolist()) == [0, 1, 1]
    assert chosen[0][labels[0] == 0].tolist() == [[10, 60, 40, 90]]
    anchors = proposals[:3]
    assigned, _ = network.rpn.assign_targets_to_anchors([anchors], [target])
    assert assigned[0].tolist() == [1, 0, -1]


# ------------------------------------------------------------------ judging


def found_in(label_image: NDArray[Any], names: tuple[str, ...], **k: Any) -> Instances:
    return Instances.from_label_image(label_image, class_names=names, **k)


def test_what_is_found_on_unreviewed_ground_does_not_count() -> None:
    labels = squares((4, 4), (60, 80))
    item = annotated_image(
        "a", image_of(labels), labels, class_names=("x",), region=left_half()
    )
    wrong = squares((4, 4), (90, 90), (90, 60))
    assert scores([item], [found_in(wrong, ("x",))])["ap50"] == 1
    inside = squares((4, 4), (90, 20))
    assert scores([item], [found_in(inside, ("x",))])["ap50"] == 0.5


def test_an_object_of_the_wrong_class_is_wrong() -> None:
    labels = squares((4, 4), (60, 80))
    item = annotated_image(
        "a", image_of(labels), labels, np.array([0, 1, 2]), class_names=("x", "y")
    )
    # The other model has its classes in another order, and one more.
    names = ("y", "z", "x")
    right = scores([item], [found_in(labels, names, class_ids=[3, 1])])
    assert right == {"ap50": 1, "ap75": 1, "ap50_any_class": 1}
    wrong = scores([item], [found_in(labels, names, class_ids=[3, 2])])
    # One found, one missed, and one that is not there.
    assert wrong["ap50"] == pytest.approx(1 / 3)
    assert wrong["ap50_any_class"] == 1


# ------------------------------------------------------------------ holding out


def fields(count: int) -> list[AnnotatedImage]:
    return [
        annotated_image(f"field {s}", *nuclei_field((96, 128), 14, seed=s))
        for s in range(count)
    ]


def test_of_several_images_whole_ones_are_held_out() -> None:
    items = fields(5)
    training, judging, words, kind = hold_out(items, 0.2, seed=0)
    assert (len(training), len(judging), kind) == (4, 1, "images")
    assert words == [judging[0].name]
    assert judging[0] not in training
    assert {w for s in range(8) for w in hold_out(items, 0.2, seed=s)[2]} > set(words)


def test_no_class_is_held_out_as_a_whole() -> None:
    items = fields(6)
    rare = replace(items[3], class_ids=items[3].class_ids + 1)
    for seed in range(5):
        training, _, _, _ = hold_out([*items[:3], rare], 0.25, seed)
        assert rare in training


@pytest.mark.parametrize("count", [1, 2])
def test_of_few_images_a_region_is_held_out(count: int) -> None:
    training, judging, words, kind = hold_out(fields(count), 0.2, seed=0)
    assert kind == "regions"
    assert len(training) == len(judging) == len(words) == count
    for learnt, judged in zip(training, judging, strict=True):
        # Not a pixel serves both, objects on the border serve neither.
        assert ((learnt.label_image < 0) | (judged.label_image < 0)).all()
        assert learnt.has_objects
        assert judged.has_objects
        whole = set(np.unique(learnt.label_image)) & set(np.unique(judged.label_image))
        assert whole <= {HELD_OUT, 0}


def test_of_two_large_objects_one_is_held_out() -> None:
    labels = squares((4, 4), (10, 60), side=60)
    labels[50:80, 4:60] = 1
    labels[64:124, 90:124] = 2
    item = annotated_image("a", image_of(labels), labels)
    training, judging, _, kind = hold_out([item], 0.2, seed=0)
    assert kind in ("objects", "regions")
    counts = [sum(object_counts(i).values()) for i in (*training, *judging)]
    assert counts == [1, 1]


# ------------------------------------------------------------------ plan


def classed(name: str, *class_ids: int, names: tuple[str, ...]) -> AnnotatedImage:
    corners = [(y, x) for y in (4, 34, 64, 94) for x in (4, 34, 64, 94)]
    labels = squares(*corners[: len(class_ids)])
    return annotated_image(
        name, image_of(labels), labels, np.array([0, *class_ids]), class_names=names
    )


def test_the_plan_says_what_is_used() -> None:
    names = ("ring", "cross")
    items = [classed(str(i), 1, 1, 1, 2, 2, 2, names=names) for i in range(4)]
    found = plan(("disc", "ring"), items, FineTuneConfig())
    assert found.class_names == ("disc", "ring", "cross")
    assert found.new_classes == ("cross",)
    assert found.objects == {"disc": 0, "ring": 9, "cross": 9}
    assert found.held_out_objects == {"disc": 0, "ring": 3, "cross": 3}
    assert object_counts(found.training[0]) == {2: 3, 3: 3}
    text = str(found)
    assert "Learns from 9 ring, 9 cross in 3 images" in text
    assert "Held out to measure with (6 objects): 1 image" in text
    assert "New classes: cross" in text
    assert "There is no example of 'disc'" in text
    assert "Only 6 objects held out" in text
    dropped = plan(("disc", "ring"), items, FineTuneConfig(drop_classes=("disc",)))
    assert dropped.class_names == ("ring", "cross")
    assert object_counts(dropped.training[0]) == {1: 3, 2: 3}


def test_labels_without_classes_are_the_models_only_class() -> None:
    found = plan(("nucleus",), fields(3), FineTuneConfig())
    assert found.class_names == ("nucleus",)
    with pytest.raises(ValueError, match=r"labels have no classes.*knows several"):
        plan(("disc", "ring"), fields(3), FineTuneConfig())


def test_what_cannot_be_learnt_from_is_refused() -> None:
    one = classed("one", 1, names=("disc",))
    bare = replace(one, label_image=np.zeros_like(one.label_image))
    unseen = replace(one, label_image=np.full_like(one.label_image, UNREVIEWED))
    pair = [classed(str(i), 1, 1, names=("disc",)) for i in range(2)]
    config = FineTuneConfig()
    with pytest.raises(ValueError, match="there are no annotated images"):
        plan(("disc",), [], config)
    with pytest.raises(ValueError, match="none of the images holds a reviewed object"):
        plan(("disc",), [bare, unseen], config)
    with pytest.raises(ValueError, match="there is only one object"):
        plan(("disc",), [one, bare], config)
    with pytest.raises(ValueError, match="'blob' cannot be dropped"):
        plan(("disc",), pair, FineTuneConfig(drop_classes=("blob",)))
    with pytest.raises(ValueError, match="'disc' is to be dropped, but there are"):
        plan(("disc", "ring"), pair, FineTuneConfig(drop_classes=("disc",)))
    with pytest.raises(ValueError, match="odd: class id 7 has no name"):
        plan(("disc",), [*pair, classed("odd", 7, names=("disc",))], config)


def test_images_and_classes_without_examples_are_named() -> None:
    items = [classed(str(i), 1, 1, 1, names=("disc", "ghost")) for i in range(3)]
    unseen = classed("unseen", 1, names=("disc",))
    unseen = replace(unseen, label_image=np.full_like(unseen.label_image, UNREVIEWED))
    found = plan(("disc",), [*items, unseen], FineTuneConfig())
    assert found.class_names == ("disc",)
    assert "No object has the class 'ghost': it is left out" in found.warnings
    assert any("Nothing is reviewed in unseen" in line for line in found.warnings)
    assert len(found.training) == 2


# ------------------------------------------------------------------ files


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a", "b"):
        write_array(folder / f"{name}.tif", image_of(squares((4, 4), (60, 80))) * 200)
    return folder


def test_folders_give_one_class(pictures: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    for name in ("a", "b"):
        write_array(labels / f"{name}.tif", squares((4, 4), (60, 80)).astype(np.uint16))
    items = read_annotated(pictures, labels, class_name="disc")
    assert [(i.name, i.class_names) for i in items] == [
        ("a", ("disc",)),
        ("b", ("disc",)),
    ]
    assert read_annotated(pictures, labels)[0].class_names == ()
    write_array(labels / "b.tif", np.zeros((5, 5), np.uint16))
    with pytest.raises(ValueError, match=r"b: the image is .* but its labels are"):
        read_annotated(pictures, labels)


def test_a_coco_file_gives_classes_and_marks(pictures: Path, tmp_path: Path) -> None:
    labels = squares((4, 4), (60, 80))

    def write(**columns: Any) -> Path:
        objects = CocoObjects.from_label_image(
            labels, class_names=("disc", "ring"), class_ids=[2, 1], **columns
        )
        file = tmp_path / "labels.json"
        write_coco(file, [CocoImage(f"{name}.tif", objects) for name in "ab"])
        return file

    whole = read_annotated(pictures, write())
    assert [item.name for item in whole] == ["a", "b"]
    assert object_counts(whole[0]) == {1: 1, 2: 1}
    named = {whole[0].class_names[i - 1] for i in object_counts(whole[0])}
    assert named == {"disc", "ring"}
    assert (whole[0].label_image >= 0).all()
    marked = read_annotated(pictures, write(reviewed=[True, False]))
    assert sum(object_counts(marked[0]).values()) == 1
    assert set(np.unique(marked[0].label_image)) == {UNREVIEWED, 1}
    crowd = read_annotated(pictures, write(crowd=[False, True]))
    # Nobody knows how many objects a crowd is: neither object nor ground.
    assert sum(object_counts(crowd[0]).values()) == 1
    assert (crowd[0].label_image[labels == 2] == UNREVIEWED).all()
    assert (crowd[0].label_image[labels == 0] == 0).all()
    with pytest.raises(ValueError, match="class_name is for label images"):
        read_annotated(pictures, write(), class_name="disc")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="no image of labels"):
        read_annotated(empty, write())
