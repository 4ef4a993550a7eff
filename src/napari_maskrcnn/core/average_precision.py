"""COCO mean average precision of masks with scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from napari_maskrcnn.core.coco import extract, rle
from napari_maskrcnn.core.instances import Instances

if TYPE_CHECKING:
    import numpy as np


def coco_map(
    truth: Mapping[str, Any] | Sequence[np.ndarray | Instances],
    predicted: Mapping[str, Any] | Sequence[Mapping[str, Any] | Instances],
) -> dict[str, float]:
    """Compute COCO mean average precision of masks, with no cap on their number.

    The usual cap of 100 detections an image would leave out most of a dense image, so
    the cap is the larger of 1000 and the most detections any image has.

    Parameters
    ----------
    truth, predicted : sequence of Instances, or COCO
        One Instances an image, masks taken whole (they may overlap) and classes
        compared by name.  Where a true image is a label image, which has no classes,
        all objects count as of one class.  Or `truth` a COCO document and `predicted`
        one too, or a list of its annotations: every one with a ``score``.

    Returns
    -------
    dict of str to float
        ``mAP`` (mean over IoU 0.5 to 0.95 and classes), ``mAP50``, ``mAP75``, and
        ``recall`` (the mean of the highest recalls).  0 where nothing is to be found.

    Raises
    ------
    ValueError
        If faster-coco-eval is not installed, numbers of images do not agree, or an
        annotation lacks its score or names an unknown image; the message has the id.
    """
    library = _library()
    if isinstance(truth, Mapping):
        document: dict[str, Any] = {str(key): value for key, value in truth.items()}
        found: Any = (
            predicted["annotations"] if isinstance(predicted, Mapping) else predicted
        )
        results = [dict(annotation) for annotation in found]
    else:
        document, results = _documents(list(truth), list(predicted))
    api = library.COCO({**document, "annotations": []})
    _check_results(results, api.imgs)
    for annotation in results:
        annotation["segmentation"] = api.annToRLE(annotation)
        annotation.pop("bbox", None)  # it would decide the area
    # Ids from 1: the library, like COCO's own, takes 0 for "not matched".
    annotations = [
        {"iscrowd": 0, **annotation, "id": number}
        for number, annotation in enumerate(document.get("annotations", ()), start=1)
    ]
    for annotation in annotations:
        if "area" not in annotation:
            annotation["area"] = int(_area(library, api.annToRLE(annotation)))
    return _run(library, {**document, "annotations": annotations}, results)


def _library() -> Any:
    try:
        import faster_coco_eval
        import faster_coco_eval.core.mask
    except ImportError as error:
        raise ValueError(
            "COCO mAP needs faster-coco-eval: pip install faster-coco-eval"
        ) from error
    return faster_coco_eval


def _area(library: Any, segmentation: dict[str, Any]) -> float:
    return float(library.core.mask.area(segmentation))


def _run(
    library: Any, document: dict[str, Any], results: list[dict[str, Any]]
) -> dict[str, float]:
    api = library.COCO(document)
    evaluation = library.COCOeval_faster(
        api, api.loadRes(results), "segm", print_function=lambda *_: None
    )
    most = max(Counter(result["image_id"] for result in results).values(), default=0)
    evaluation.params.maxDets = [1, 100, max(1000, most)]
    evaluation.run()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    recall = evaluation.eval["recall"][:, :, 0, -1]
    return {
        "mAP": _mean(precision),
        "mAP50": _mean(precision[0]),
        "mAP75": _mean(precision[5]),
        "recall": _mean(recall),
    }


def _mean(values: np.ndarray) -> float:
    """Return the mean of what is defined; -1 marks a class without true objects."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else 0.0


def _check_results(results: list[dict[str, Any]], images: Mapping[int, Any]) -> None:
    for number, annotation in enumerate(results):
        name = f"predicted annotation {annotation.get('id', number)}"
        for key in ("image_id", "category_id", "segmentation", "score"):
            if key not in annotation:
                raise ValueError(f"{name} has no {key!r}")
        if annotation["image_id"] not in images:
            raise ValueError(
                f"{name}: image_id {annotation['image_id']} is not in the truth"
            )


def _documents(
    truth: list[np.ndarray | Instances], predicted: list[Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a COCO document of the truth and a list of results."""
    if len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} true images, but {len(predicted)} predicted")
    images = []
    categories: dict[str, int] = {}
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    # Label images have no classes: then none are told apart.
    classes = all(isinstance(image, Instances) for image in truth)
    for number, (true, guess) in enumerate(zip(truth, predicted, strict=True), start=1):
        if not isinstance(true, Instances):
            true = Instances.from_label_image(true)
        if true.image_shape != guess.image_shape:
            raise ValueError(
                f"image {number - 1}: true shape {true.image_shape}, "
                f"predicted {guess.image_shape}"
            )
        height, width = true.image_shape
        images.append({"id": number, "height": height, "width": width})
        annotations += _annotations(true, number, categories, classes)
        results += _annotations(guess, number, categories, classes)
    listed = [{"id": value, "name": key} for key, value in categories.items()]
    return (
        {"images": images, "categories": listed, "annotations": annotations},
        results,
    )


def _annotations(
    instances: Instances, image_id: int, categories: dict[str, int], classes: bool
) -> list[dict[str, Any]]:
    """Return one annotation an object; new class names join `categories`."""
    names = instances.class_names
    if not classes:
        names = ("object",) * len(names)
    for name in names:
        categories.setdefault(name, len(categories) + 1)
    table = extract.from_masks(
        [instances.mask(i) for i in range(len(instances))],
        instances.offsets,
        instances.image_shape,
    )
    return [
        {
            "image_id": image_id,
            "category_id": categories[names[class_id - 1]],
            "segmentation": {"size": list(instances.image_shape), "counts": counts},
            "area": area,
            "score": score,
        }
        for counts, area, class_id, score in zip(
            rle.encode(table),
            table.areas().tolist(),
            instances.class_ids.tolist(),
            instances.scores.tolist(),
            strict=True,
        )
    ]
