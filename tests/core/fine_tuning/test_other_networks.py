"""Fine-tuning C4, models that see whole images, and models that give boxes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from narrow_resnet import NAME, narrow_resnet

from napari_maskrcnn import fine_tune
from napari_maskrcnn.core.architectures import build
from napari_maskrcnn.core.checkpoints import Checkpoint
from napari_maskrcnn.core.dataset import AnnotatedImage, annotated_image
from napari_maskrcnn.core.detector import Detector
from napari_maskrcnn.core.fine_tuning import FineTuneResult, advise
from napari_maskrcnn.core.fine_tuning.box_scores import box_scores
from napari_maskrcnn.core.fine_tuning.config import FineTuneConfig
from napari_maskrcnn.core.fine_tuning.judging import Judge
from napari_maskrcnn.core.instances import empty_instances
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = (48, 64)
CONFIG = FineTuneConfig(
    steps=2,
    batch_size=1,
    crop=64,
    warm_up=1,
    validate_every=2,
    held_out=0.34,
    cache_views=2,
    precision="float32",
)
SMALL = {"trunk": NAME, "norm": "group", "roi_size": 4, "rois_per_image": 8}


@pytest.fixture(autouse=True)
def trunk() -> Iterator[None]:
    with narrow_resnet():
        yield


def photographs() -> list[AnnotatedImage]:
    items = []
    for seed in range(3):
        image, label_image = nuclei_field((48, 64), 8, seed=seed)
        grey = 60 + 100 * (image / image.max())
        colours = np.stack([grey, grey * 0.8, grey * 0.5], axis=2).astype(np.uint8)
        name = f"photograph {seed}"
        items.append(annotated_image(name, colours, label_image, class_names=("disc",)))
    return items


def start(name: str, arguments: dict[str, Any], **config: Any) -> Checkpoint:
    torch.manual_seed(0)
    network = build(name, 2, arguments)
    return Checkpoint(
        {
            "architecture": {"name": name, "arguments": arguments},
            "class_names": ["disc"],
            "image_size": list(SIZE),
            **config,
        },
        network.state_dict(),
    )


def run(checkpoint: Checkpoint, config: FineTuneConfig = CONFIG) -> FineTuneResult:
    return exhaust(fine_tune(checkpoint, photographs(), config, device="cpu"))


def changed(old: Checkpoint, new: Checkpoint) -> set[str]:
    return {
        ".".join(key.split(".")[:2])
        for key, value in old.state.items()
        if not torch.equal(value, new.state[key])
    }


@pytest.mark.parametrize(
    ("part", "learns"),
    [
        ("heads", {"roi_heads"}),
        ("fpn", {"roi_heads", "rpn"}),
        ("all", {"roi_heads", "rpn", "backbone"}),
    ],
)
def test_c4_learns_with_conv5_in_its_heads(part: str, learns: set[str]) -> None:
    """It has no pyramid: "fpn" trains what else that part trains."""
    old = start("maskrcnn_resnet50_c4", SMALL)
    result = run(old, replace(CONFIG, train=part))
    new = result.checkpoint
    assert {key.split(".")[0] for key in changed(old, new)} == learns
    assert "roi_heads.box_head" in changed(old, new)
    assert (new.trunk_id == old.trunk_id) == (part == "heads")
    assert new.image_size == SIZE
    assert new.usual_size is None
    Detector(new, "cpu").detect(photographs()[0].photograph, max_detections=3)


def test_a_network_of_whole_images_learns_new_classes_gently() -> None:
    old = start("fasterrcnn_resnet50_fpn", {"norm": "group", "rois_per_image": 8})
    figs = [replace(item, class_names=("fig",)) for item in photographs()]
    result = exhaust(fine_tune(old, figs, CONFIG, device="cpu"))
    tuned = result.checkpoint.config["provenance"]["fine_tuning"]
    assert (tuned["learning_rate"], tuned["trunk_rate"]) == (5e-4, 0.2)


def test_a_model_that_gives_boxes_is_judged_by_boxes() -> None:
    old = start("fasterrcnn_resnet50_fpn", {"norm": "group", "rois_per_image": 8})
    result = run(old)
    assert {key.split(".")[0] for key in changed(old, result.checkpoint)} == {
        "roi_heads"
    }
    assert 0 <= result.after["ap50"] <= 1
    assert not any(found.has_masks for found in result.found_after)


def test_keypoint_networks_are_refused_before_anything_is_done() -> None:
    keypoints = {"names": ["nose"], "bones": []}
    arguments = {"num_keypoints": 1}
    checkpoint = Checkpoint(
        {
            "architecture": {
                "name": "keypointrcnn_resnet50_fpn",
                "arguments": arguments,
            },
            "class_names": ["person"],
            "image_size": list(SIZE),
            "keypoints": keypoints,
        },
        {},
    )
    for work in (
        fine_tune(checkpoint, photographs(), CONFIG, device="cpu"),
        advise(checkpoint, photographs(), "cpu"),
    ):
        with pytest.raises(ValueError, match="keypoint networks cannot be fine-tuned"):
            next(work)


def test_photographs_are_judged_as_they_will_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = photographs()[:1]
    judge = Judge(start("maskrcnn_resnet50_c4", SMALL), items, "cpu")
    seen = []

    def encode_steps(image: Any, recipe: Any) -> Any:
        seen.append((image, recipe.object_size))
        raise StopAsyncIteration

    monkeypatch.setattr(judge.detector, "encode_steps", encode_steps)
    with pytest.raises(StopAsyncIteration):
        exhaust(judge.scores())
    ((image, size),) = seen
    assert image is items[0].photograph
    assert size is None


def test_boxes_are_compared_one_to_one() -> None:
    label_image = np.zeros((40, 60), np.int64)
    label_image[5:15, 5:15] = 1
    label_image[20:30, 30:50] = 2
    item = annotated_image(
        "two", np.full((40, 60), 100, np.uint8), label_image,
        np.array([0, 1, 2]), class_names=("disc", "ring"),
    )  # fmt: skip

    def found(boxes: list[list[float]], class_ids: list[int]) -> dict[str, float]:
        count = len(boxes)
        instances = replace(
            empty_instances((40, 60), ("ring", "disc")),
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            class_ids=np.array(class_ids, np.int64),
            scores=np.ones(count, np.float32),
            offsets=np.zeros((count, 2), np.int64),
            ids=np.arange(1, count + 1),
            has_masks=False,
        )
        return box_scores(item, instances, (0.5, 0.75))

    first, second = [5.0, 5, 15, 15], [30.0, 20, 50, 30]
    assert found([first, second], [2, 1]) == {
        "ap50": 1, "ap75": 1, "ap50_any_class": 1,
    }  # fmt: skip
    # Of two on one object one is too many, and a class may be wrong.
    assert found([first, first, second], [2, 2, 1])["ap50"] == pytest.approx(2 / 3)
    assert found([first, second], [1, 1]) == {
        "ap50": pytest.approx(1 / 3), "ap75": pytest.approx(1 / 3), "ap50_any_class": 1,
    }  # fmt: skip
    assert found([first, [30.0, 20, 50, 37]], [2, 1]) == {
        "ap50": 1, "ap75": pytest.approx(1 / 3), "ap50_any_class": 1,
    }  # fmt: skip
    assert found([], [])["ap50"] == 0
