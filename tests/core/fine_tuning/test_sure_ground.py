"""Where the old model finds nothing, unreviewed ground is background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_maskrcnn import fine_tune
from napari_maskrcnn.core.checkpoints import Checkpoint, read_checkpoint
from napari_maskrcnn.core.dataset import annotated_image
from napari_maskrcnn.core.fine_tuning.config import FineTuneConfig
from napari_maskrcnn.core.fine_tuning.job import FineTuneJob
from napari_maskrcnn.core.fine_tuning.planning import plan, shows_objects_only
from napari_maskrcnn.core.fine_tuning.sure_ground import boxes_covered, with_sure_ground
from napari_maskrcnn.core.fine_tuning.team import Team
from napari_maskrcnn.core.model_list import find_model
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.reviewed import HELD_OUT, UNREVIEWED
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_maskrcnn.core.dataset import AnnotatedImage

SHAPE = (200, 220)


@pytest.fixture(scope="module")
def nuclei() -> Checkpoint:
    return read_checkpoint(find_model("nuclei"))


def truth(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    return nuclei_field(SHAPE, 20, seed=seed)


def partly(
    seed: int = 0,
    class_name: str = "nucleus",
    region: NDArray[np.bool_] | None = None,
) -> AnnotatedImage:
    image, labels = truth(seed)
    return annotated_image(
        f"field {seed}",
        image,
        labels,
        class_names=(class_name,),
        reviewed=np.unique(labels[labels > 0])[::3],
        region=region,
    )


def parts(item: AnnotatedImage, seed: int = 0) -> dict[str, NDArray[np.int32]]:
    """The labels on true background, on reviewed objects and on the other ones."""
    _, labels = truth(seed)
    reviewed = np.isin(labels, np.unique(labels[labels > 0])[::3])
    return {
        "background": item.label_image[labels == 0],
        "reviewed": item.label_image[reviewed],
        "others": item.label_image[(labels > 0) & ~reviewed],
    }


def test_ground_without_findings_is_background_and_other_objects_are_not(
    nuclei: Checkpoint,
) -> None:
    item = partly()
    assert shows_objects_only(item)
    (sure,) = exhaust(with_sure_ground([item], nuclei, "cpu"))
    before, after = parts(item), parts(sure)
    np.testing.assert_array_equal(after["reviewed"], before["reviewed"])
    assert (before["background"] == UNREVIEWED).all()
    assert (after["background"] == 0).mean() > 0.4
    assert (after["others"] == UNREVIEWED).mean() > 0.9
    assert set(np.unique(after["others"])) <= {0, UNREVIEWED}


def test_what_is_held_out_stays_so(nuclei: Checkpoint) -> None:
    item = partly()
    item.label_image[:, :60] = HELD_OUT
    (sure,) = exhaust(with_sure_ground([item], nuclei, "cpu"))
    assert (sure.label_image[:, :60] == HELD_OUT).all()
    assert (sure.label_image[:, 60:] == 0).any()


def test_a_model_that_misses_the_reviewed_objects_is_not_asked_about_ground(
    nuclei: Checkpoint,
) -> None:
    image, labels = truth()
    nothing = np.full_like(image, image.min())
    item = annotated_image(
        "empty", nothing, labels, reviewed=[1, 2, 3], class_names=("nucleus",)
    )
    (same,) = exhaust(with_sure_ground([item], nuclei, "cpu"))
    assert same is item


def test_reviewed_ground_needs_no_model(nuclei: Checkpoint) -> None:
    region = np.zeros(SHAPE, np.bool_)
    region[:80] = True
    items = [partly(region=region), annotated_image("whole", *truth())]
    assert not any(map(shows_objects_only, items))
    same = exhaust(with_sure_ground(items, nuclei, "cpu"))
    assert all(a is b for a, b in zip(items, same, strict=True))


def test_the_plan_says_whether_ground_counts() -> None:
    items = [partly(seed) for seed in range(3)]
    config = FineTuneConfig()
    words = "where the model finds nothing"
    assert words in str(plan(("nucleus",), items, config))
    fruits = [partly(seed, "date") for seed in range(3)]
    chosen = plan(("nucleus",), fruits, config)
    assert not chosen.sure_ground
    assert words not in str(chosen)
    never = FineTuneConfig(sure_ground=False)
    assert not plan(("nucleus",), items, never).sure_ground
    whole = [
        annotated_image(f"whole {s}", *truth(s), class_names=("nucleus",))
        for s in range(3)
    ]
    assert not plan(("nucleus",), whole, config).sure_ground


def test_a_run_learns_from_the_ground(nuclei: Checkpoint) -> None:
    items = [partly(seed) for seed in range(3)]
    config = FineTuneConfig(steps=1, held_out=0.34, batch_size=1, crop=64).filled()
    chosen = plan(("nucleus",), items, config)
    job = FineTuneJob(nuclei, chosen, ((), ()), config, "cpu", None, "", Team())
    assert all(map(shows_objects_only, job.views.items))
    exhaust(job.look_at_ground())
    for item in job.views.items:
        assert (item.label_image == 0).mean() > 0.2
    # What it is judged by is what was reviewed.
    assert all(map(shows_objects_only, chosen.judging))
    job.close()


def test_a_run_asks_the_model_first(nuclei: Checkpoint) -> None:
    items = [partly(seed) for seed in range(3)]
    config = FineTuneConfig(steps=1, held_out=0.34, batch_size=1, crop=64)
    work = fine_tune(nuclei, items, config, device="cpu")
    messages = [next(work).message for _ in range(2)]
    work.close()
    assert messages[0] == "Looking at the ground"


def test_a_box_at_the_edge_covers_what_is_inside() -> None:
    boxes = np.array([[-5, -5, 10, 20], [90, 40, 130, 70]], np.float32)
    covered = boxes_covered(boxes, (50, 100))
    assert covered[:22, :11].all()
    assert covered[38:, 88:].all()
    assert covered.sum() == 22 * 11 + 12 * 12
    assert not boxes_covered(np.zeros((0, 4), np.float32), (5, 5)).any()
