"""Instances: what a detector found, or a label image holds, with cropped masks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .checkpoint_config import NMS_THRESHOLD
from .checks import check_fraction
from .label_images import check_label_image, label_dtype, label_windows
from .suppression import across_classes, within_classes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from .skeletons import Skeleton

# Probabilities are stored as probability x 255, rounded half up. Every threshold whose
# 255-fold lies half-way between two integers is then kept exactly: 0.5 among them.
FULL = 255


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """Objects of one image: boxes, classes, scores, and masks cropped to the objects.

    No array of the size of the image is kept, so a thousand objects on a large image
    take a few megabytes, and drawing them costs what their own pixels cost.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W) in pixels.
    boxes : ndarray
        Shape (N, 4), float32, xyxy in pixel edges: the maximum is one past the last
        pixel.
    class_ids : ndarray
        Shape (N,), int64, from 1; 0 is background and never occurs.
    scores : ndarray
        Shape (N,), float32 in [0, 1].
    masks : tuple of ndarray
        N crops of shape (h, w), uint8: probability x 255. Exact masks hold 0 and 255.
        Empty where ``has_masks`` is False.
    offsets : ndarray
        Shape (N, 2), int64: (y, x) of each crop's first pixel. Crops lie in the image.
        Without masks the first pixel of each box.
    ids : ndarray
        Shape (N,), int64, unique, from 1: the values in a label image. They stay with
        an object when others are filtered out, so its colour does not change.
    class_names : tuple of str
        The name of class ``k`` is ``class_names[k - 1]``.
    mask_threshold : float
        A pixel belongs to an object where its probability is at least this.
    score_threshold : float
        From which score on the model that found them should be believed. Nothing is
        left out for it: see `Recipe.apply`.
    nms_threshold : float
        Up to which overlap of their boxes two objects should be believed to be two;
        likewise.
    warnings : tuple of str
        Sentences for the person, such as that a cap was reached.
    has_masks : bool
        False for networks that give boxes, or boxes and keypoints, only.
    keypoints : ndarray or None
        Shape (N, K, 3), float32: x and y in pixels of the image, and a score (any real
        number; torchvision's is a logit). Places count as in the annotations that the
        network learnt from; COCO's, which torchvision takes as they are, count pixels:
        the middle of the first one is 0. None for networks without keypoints.
    skeleton : Skeleton or None
        Names and bones of the keypoints.

    Raises
    ------
    ValueError
        When the fields do not fit together.
    """

    image_shape: tuple[int, int]
    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    masks: tuple[NDArray[np.uint8], ...]
    offsets: NDArray[np.int64]
    ids: NDArray[np.int64]
    class_names: tuple[str, ...]
    mask_threshold: float = 0.5
    score_threshold: float = 0.5
    nms_threshold: float = NMS_THRESHOLD
    warnings: tuple[str, ...] = ()
    has_masks: bool = True
    keypoints: NDArray[np.float32] | None = None
    skeleton: Skeleton | None = None

    def __post_init__(self) -> None:
        count = len(self.ids)
        for name in ("boxes", "class_ids", "scores", "masks", "offsets"):
            expected = 0 if name == "masks" and not self.has_masks else count
            if len(getattr(self, name)) != expected:
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} entries for {count} ids"
                )
        if self.keypoints is not None:
            _check_keypoints(self.keypoints, self.skeleton, count)
        check_fraction("mask_threshold", self.mask_threshold)
        check_fraction("score_threshold", self.score_threshold)
        check_fraction("nms_threshold", self.nms_threshold)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> Instances:
        """Select by a slice, a boolean mask or an array of positions."""
        positions = np.atleast_1d(np.arange(len(self))[index])
        return replace(
            self,
            boxes=self.boxes[positions],
            class_ids=self.class_ids[positions],
            scores=self.scores[positions],
            masks=tuple(
                self.masks[position] for position in positions if self.has_masks
            ),
            offsets=self.offsets[positions],
            ids=self.ids[positions],
            keypoints=None if self.keypoints is None else self.keypoints[positions],
        )

    @property
    def names(self) -> list[str]:
        """The class name of each object."""
        return [self.class_names[class_id - 1] for class_id in self.class_ids]

    def mask(self, position: int) -> NDArray[np.bool_]:
        """Return one object's crop, (h, w) bool, at the mask threshold."""
        self._need_masks()
        level = self.mask_threshold * FULL
        inside: NDArray[np.bool_] = self.masks[position] >= level
        return inside

    @property
    def areas(self) -> NDArray[np.int64]:
        """Shape (N,), int64: pixels of each object, those behind others included.

        Without masks those of its box, rounded.
        """
        if not self.has_masks:
            sides = self.boxes[:, 2:].astype(np.float64) - self.boxes[:, :2]
            rounded: NDArray[np.int64] = np.rint(sides.prod(axis=1)).astype(np.int64)
            return rounded
        return np.fromiter(
            (np.count_nonzero(self.mask(index)) for index in range(len(self))),
            np.int64,
            len(self),
        )

    def filter(
        self,
        *,
        score_threshold: float | None = None,
        mask_threshold: float | None = None,
        nms_threshold: float | None = None,
        twin_threshold: float | None = None,
        min_area: int | None = None,
        class_ids: Sequence[int] | None = None,
    ) -> Instances:
        """Return the objects that pass; nothing of the network runs.

        Parameters
        ----------
        score_threshold : float, optional
            Keep scores of at least this.
        mask_threshold : float, optional
            From now on a pixel belongs to an object from this probability on.
        nms_threshold : float, optional
            Of two objects of a class whose boxes overlap by a larger intersection over
            union, keep the one of higher score (`torchvision.ops.batched_nms`).
        twin_threshold : float, optional
            Of two objects of different classes whose boxes and masks agree, keep the
            one of higher score; from this intersection over union on masks agree. See
            `core.suppression.across_classes`.
        min_area : int, optional
            Keep objects of at least so many pixels.
        class_ids : sequence of int, optional
            Keep these classes.

        Raises
        ------
        ValueError
            When a threshold is not in [0, 1] or the area is negative.
        """
        kept = self
        if mask_threshold is not None:
            kept = replace(kept, mask_threshold=mask_threshold)
        if class_ids is not None:
            kept = kept[np.isin(kept.class_ids, np.asarray(class_ids, np.int64))]
        if score_threshold is not None:
            check_fraction("score_threshold", score_threshold)
            kept = kept[kept.scores >= score_threshold]
        if nms_threshold is not None:
            check_fraction("nms_threshold", nms_threshold)
            kept = kept[within_classes(kept, nms_threshold)]
        if twin_threshold is not None:
            check_fraction("twin_threshold", twin_threshold)
            kept = kept[across_classes(kept, twin_threshold)]
        if min_area is not None:
            if min_area < 0:
                raise ValueError(f"min_area must not be negative, got {min_area}")
            if min_area:
                kept = kept[kept.areas >= min_area]
        return kept

    def to_label_image(self, dtype: DTypeLike | None = None) -> NDArray[Any]:
        """Draw the objects; where two share a pixel the higher score has it.

        Parameters
        ----------
        dtype : dtype, optional
            By default the first of uint16, int32 and int64 that holds the ids.

        Returns
        -------
        ndarray
            Shape (H, W): 0 is background, other values are ``ids``.

        Raises
        ------
        ValueError
            When the ids do not fit into the dtype, or there are no masks to draw.
        """
        self._need_masks()
        highest = int(self.ids.max(initial=0))
        if dtype is None:
            dtype = label_dtype(highest)
        elif highest > np.iinfo(dtype).max:
            raise ValueError(f"the id {highest} does not fit into {np.dtype(dtype)}")
        label_image = np.zeros(self.image_shape, dtype)
        # Painter's order: later ones win. Stable, so ties fall as the objects stand.
        for position in np.argsort(self.scores, kind="stable"):
            y, x = self.offsets[position]
            height, width = self.masks[position].shape
            window = label_image[y : y + height, x : x + width]
            window[self.mask(position)] = self.ids[position]
        return label_image

    @classmethod
    def from_label_image(
        cls,
        label_image: ArrayLike,
        *,
        class_ids: ArrayLike | None = None,
        scores: ArrayLike | None = None,
        class_names: tuple[str, ...] = ("object",),
    ) -> Instances:
        """Take the objects out of a label image, exactly.

        Parameters
        ----------
        label_image : array-like
            Shape (H, W), integers from 0; 0 is background.
        class_ids, scores : array-like, optional
            One for each object in the order of rising label; by default 1 and 1.0.
        class_names : tuple of str
            See the class.

        Raises
        ------
        ValueError
            When the array is not a label image.
        """
        labels = check_label_image(label_image)
        ids, windows = label_windows(labels)
        count = len(ids)
        return cls(
            image_shape=(labels.shape[0], labels.shape[1]),
            boxes=np.array(
                [[w[1].start, w[0].start, w[1].stop, w[0].stop] for w in windows],
                np.float32,
            ).reshape(-1, 4),
            class_ids=_per_object(class_ids, 1, count, np.int64),
            scores=_per_object(scores, 1.0, count, np.float32),
            masks=tuple(
                np.where(labels[window] == label, FULL, 0).astype(np.uint8)
                for label, window in zip(ids, windows, strict=True)
            ),
            offsets=np.array(
                [[w[0].start, w[1].start] for w in windows], np.int64
            ).reshape(-1, 2),
            ids=ids,
            class_names=class_names,
        )

    def _need_masks(self) -> None:
        if not self.has_masks:
            raise ValueError("these objects have boxes only: there is no mask to draw")

    def features(self) -> dict[str, NDArray[Any]]:
        """Return the table of the objects: index, class, score, area."""
        return {
            "index": self.ids.copy(),
            "class": np.array(self.names, dtype=object),
            "score": self.scores.astype(np.float64),
            "area": self.areas,
        }


def empty_instances(
    image_shape: tuple[int, int], class_names: tuple[str, ...]
) -> Instances:
    """Return the instances of an image in which nothing was found."""
    return Instances(
        image_shape=image_shape,
        boxes=np.zeros((0, 4), np.float32),
        class_ids=np.zeros(0, np.int64),
        scores=np.zeros(0, np.float32),
        masks=(),
        offsets=np.zeros((0, 2), np.int64),
        ids=np.zeros(0, np.int64),
        class_names=class_names,
    )


def _check_keypoints(
    keypoints: NDArray[np.float32], skeleton: Skeleton | None, count: int
) -> None:
    if skeleton is None:
        raise ValueError("keypoints need a skeleton that names them")
    expected = (count, len(skeleton.names), 3)
    if keypoints.shape != expected:
        raise ValueError(
            f"keypoints must have the shape {expected}, got {keypoints.shape}"
        )


def _per_object(
    values: ArrayLike | None, default: float, count: int, dtype: DTypeLike
) -> NDArray[Any]:
    if values is None:
        return np.full(count, default, dtype)
    return np.asarray(values, dtype)


def mask_crops(instances: Instances) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """Yield (y, x, crop) for each object, the crop (h, w) bool at the threshold."""
    for position, (y, x) in enumerate(instances.offsets):
        yield int(y), int(x), instances.mask(position)
