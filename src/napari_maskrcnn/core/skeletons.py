"""Skeletons: the names of an object's keypoints, and the bones between them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Skeleton:
    """What the keypoints of a class are called and how they hang together.

    Parameters
    ----------
    names : tuple of str
        One for each keypoint, in the order of the network's outputs.
    bones : tuple of (int, int)
        Pairs of positions in ``names``, from 0. COCO files count from 1.

    Raises
    ------
    ValueError
        When a bone names a keypoint that is not there.
    """

    names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for bone in self.bones:
            if len(bone) != 2 or not all(0 <= end < len(self.names) for end in bone):
                raise ValueError(
                    f"a bone must join two of the {len(self.names)} keypoints, "
                    f"got {bone}"
                )


# The persons of COCO (cocodataset.org, person_keypoints): names and bones as published.
COCO_PERSON = Skeleton(
    names=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
        "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    bones=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6),
        (5, 7), (6, 8), (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4),
        (3, 5), (4, 6),
    ),
)  # fmt: skip
