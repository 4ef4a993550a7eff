"""A COCO file of persons with keypoints, for the tests of all rings."""

from __future__ import annotations

from typing import Any


def person_file() -> dict[str, Any]:
    """Return a document of the structure of COCO's person_keypoints, in small.

    Three persons with keypoints, the first with an outline of decimals, the third with
    none labelled; and a dog of which there is only a box.
    """
    return {
        "info": {"description": "generated"},
        "categories": [
            {
                "supercategory": "person", "id": 1, "name": "person",
                "keypoints": ["head", "neck", "left_hand", "right_hand"],
                "skeleton": [[1, 2], [2, 3], [2, 4]],
            },
            {"supercategory": "animal", "id": 18, "name": "dog"},
        ],
        "images": [{"id": 785, "file_name": "p.png", "width": 60, "height": 40}],
        "annotations": [
            {
                "id": 11, "image_id": 785, "category_id": 1, "iscrowd": 0,
                "segmentation": [[2.25, 3.5, 20.4, 3.5, 20.4, 30.6, 2.25, 30.6]],
                "area": 491.865, "bbox": [2.25, 3.5, 18.15, 27.1],
                "keypoints": [10, 5, 2, 10, 12, 2, 4, 20, 1, 7, 9, 0],
                "num_keypoints": 3,
            },
            {
                "id": 12, "image_id": 785, "category_id": 1, "iscrowd": 0,
                "segmentation": [], "area": 608.02, "bbox": [30.3, 5.7, 20.2, 30.1],
                "keypoints": [40.25, 8, 2, 40, 15, 2, 33, 22, 2, 47.5, 22, 1],
                "num_keypoints": 4,
            },
            {
                "id": 13, "image_id": 785, "category_id": 1, "iscrowd": 0,
                "segmentation": [], "area": 12, "bbox": [50, 1, 3, 4],
                "keypoints": [0] * 12, "num_keypoints": 0,
            },
            {
                "id": 14, "image_id": 785, "category_id": 18, "iscrowd": 0,
                "segmentation": [], "area": 30.25, "bbox": [1.1, 33.3, 5.5, 5.5],
            },
        ],
    }  # fmt: skip
