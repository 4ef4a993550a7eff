"""What other libraries read from our files: the same masks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from coco_examples import rings

from napari_maskrcnn.core.coco import CocoImage, write_coco

if TYPE_CHECKING:
    from pathlib import Path

LABELS = rings(100)
# Every third object has a hole, which polygons cannot hold.
WITHOUT_HOLES = np.where(LABELS % 3 == 0, 0, LABELS)


def export(folder: Path, label_image: np.ndarray, mode: Any) -> Path:
    """Write a data set the way COCO's own is laid out; return the annotation file."""
    from imageio import v3 as imageio

    (folder / "images").mkdir()
    (folder / "annotations").mkdir()
    imageio.imwrite(folder / "images" / "a.png", np.zeros(LABELS.shape, np.uint8))
    path = folder / "annotations" / "instances_train.json"
    write_coco(path, [CocoImage("a.png", label_image)], mode=mode)
    return path


CASES = pytest.mark.parametrize(
    ("mode", "label_image"),
    [("auto", LABELS), ("rle", LABELS), ("polygon", WITHOUT_HOLES)],
    ids=["auto", "rle", "polygon"],
)


def assert_same(masks: dict[int, np.ndarray], label_image: np.ndarray) -> None:
    """Compare masks by label with a label image."""
    assert sorted(masks) == np.unique(label_image)[1:].tolist()
    for label, mask in masks.items():
        assert np.array_equal(np.asarray(mask, dtype=bool), label_image == label), label


@CASES
def test_pycocotools(tmp_path: Path, mode: str, label_image: np.ndarray) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    api = coco.COCO(str(export(tmp_path, label_image, mode)))
    masks = {row["label_id"]: api.annToMask(row) for row in api.anns.values()}
    assert_same(masks, label_image)


@CASES
def test_faster_coco_eval(tmp_path: Path, mode: str, label_image: np.ndarray) -> None:
    library = pytest.importorskip("faster_coco_eval")
    api = library.COCO(str(export(tmp_path, label_image, mode)))
    masks = {row["label_id"]: api.annToMask(row) for row in api.anns.values()}
    assert_same(masks, label_image)


@CASES
def test_torchvision(tmp_path: Path, mode: str, label_image: np.ndarray) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    pytest.importorskip("pycocotools")
    path = export(tmp_path, label_image, mode)
    dataset = datasets.CocoDetection(str(tmp_path / "images"), str(path))
    labels = [row["label_id"] for row in dataset[0][1]]
    wrapped = datasets.wrap_dataset_for_transforms_v2(
        dataset, target_keys=("boxes", "labels", "masks")
    )
    target = wrapped[0][1]
    masks = dict(zip(labels, target["masks"].numpy(), strict=True))
    assert_same(masks, label_image)
    boxes = {
        label: [box[0], box[1], box[2], box[3]]
        for label, box in zip(labels, target["boxes"].tolist(), strict=True)
    }
    for label, box in boxes.items():
        y, x = np.nonzero(label_image == label)
        assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]


@CASES
def test_datumaro(tmp_path: Path, mode: str, label_image: np.ndarray) -> None:
    datumaro = pytest.importorskip("datumaro")
    mask_utils = pytest.importorskip("pycocotools.mask")
    path = export(tmp_path, label_image, mode)
    rows = json.loads(path.read_text())["annotations"]
    labels = {row["id"]: row["label_id"] for row in rows}
    (item,) = datumaro.Dataset.import_from(str(tmp_path), "coco_instances")
    masks: dict[int, np.ndarray] = {}
    for annotation in item.annotations:
        if isinstance(annotation, datumaro.Polygon):
            part = mask_utils.frPyObjects([list(annotation.points)], *LABELS.shape)
            mask = mask_utils.decode(mask_utils.merge(part))
        elif isinstance(annotation, datumaro.Mask):
            mask = annotation.image
        else:
            continue  # the box beside it
        label = labels[annotation.id]
        masks[label] = masks.get(label, False) | np.asarray(mask, dtype=bool)
    assert_same(masks, label_image)


def test_supervision(tmp_path: Path) -> None:
    """Supervision draws polygons with OpenCV, which adds a pixel; RLE is exact."""
    supervision = pytest.importorskip("supervision")
    path = export(tmp_path, LABELS, "rle")
    dataset = supervision.DetectionDataset.from_coco(
        str(tmp_path / "images"), str(path), force_masks=True
    )
    ((_, _, detections),) = list(dataset)
    rows = json.loads(path.read_text())["annotations"]
    labels = [row["label_id"] for row in rows]
    assert_same(dict(zip(labels, detections.mask, strict=True)), LABELS)
