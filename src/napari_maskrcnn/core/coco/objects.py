"""The objects of one image, as COCO knows them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_maskrcnn.core.class_names import UNUSED
from napari_maskrcnn.core.coco import extract
from napari_maskrcnn.core.coco.extents import box_extent
from napari_maskrcnn.core.coco.keypoints import coco_keypoints
from napari_maskrcnn.core.coco.runs import Runs, gathered
from napari_maskrcnn.core.instances import Instances

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_maskrcnn.core.coco.extents import Extent
    from napari_maskrcnn.core.skeletons import Skeleton


@dataclass(frozen=True, slots=True, eq=False)
class CocoObjects:
    """The N objects of one image, column by column; they may overlap.

    Parameters
    ----------
    runs : Runs
        The pixels of each object.
    ids : np.ndarray
        ``(N,)`` int64, the value of each object in a label image, 1 or more, unique.
    class_ids : np.ndarray
        ``(N,)`` int64, ``1..K``.
    class_names : tuple of str
        The name of class k is ``class_names[k - 1]``.
    scores : np.ndarray
        ``(N,)`` float64, NaN where there is none.
    track_ids : np.ndarray
        ``(N,)`` int64, 0 where there is none.
    reviewed, crowd : np.ndarray
        ``(N,)`` bool: checked by a person; a region to ignore (``iscrowd``).
    boxes : np.ndarray
        ``(N, 4)`` float64 xyxy, pixel edges; an object that has only a box in its file
        has no pixel.
    annotation_ids : np.ndarray
        ``(N,)`` int64, id of each in the file it was read from, 0 where there is none.
    orders : np.ndarray
        ``(N,)`` int64: where objects overlap, a higher one is painted over a lower one,
        and a small object over a large one of the same order.
    extras : tuple of dict
        Keys of each annotation that are not ours.
    keypoints : tuple of (ndarray or None)
        For each object ``(K, 3)`` float64, x, y and v as in the file; None for an
        object without. All None if not given.
    skeletons : dict of str to Skeleton
        The names and bones of the keypoints, by class name.
    extents : tuple of (Extent or None)
        What to write of an object's extent instead of its pixels; None for one of
        which the pixels say all. All None if not given.
    """

    runs: Runs
    ids: np.ndarray
    class_ids: np.ndarray
    class_names: tuple[str, ...]
    scores: np.ndarray
    track_ids: np.ndarray
    reviewed: np.ndarray
    crowd: np.ndarray
    boxes: np.ndarray
    annotation_ids: np.ndarray
    orders: np.ndarray
    extras: tuple[Mapping[str, Any], ...]
    keypoints: tuple[NDArray[np.float64] | None, ...] = ()
    skeletons: Mapping[str, Skeleton] = field(default_factory=dict)
    extents: tuple[Extent | None, ...] = ()

    def __post_init__(self) -> None:
        for name in ("keypoints", "extents"):
            if len(getattr(self, name)) != len(self.ids):
                if getattr(self, name):
                    raise ValueError(f"{name} has not one entry for each of the ids")
                object.__setattr__(self, name, (None,) * len(self.ids))

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.ids)

    @property
    def image_shape(self) -> tuple[int, int]:
        """``(height, width)`` of the image in pixels."""
        return self.runs.image_shape

    @classmethod
    def from_instances(cls, instances: Instances, **columns: Any) -> CocoObjects:
        """Return instances with their whole masks, overlaps included.

        Parameters
        ----------
        instances : Instances
            Pixels are those of ``instances.mask(i)``; without masks there are none,
            and the boxes are those of the instances. Keypoints become COCO's by
            `keypoints.coco_keypoints`.
        **columns
            ``track_ids``, ``reviewed``, ``crowd``: one value an object.
        """
        if instances.has_masks:
            runs = extract.from_masks(
                [instances.mask(number) for number in range(len(instances))],
                instances.offsets,
                instances.image_shape,
            )
        else:
            runs = gathered(instances.image_shape, len(instances), [])
        objects = _filled(
            runs,
            instances.ids,
            class_ids=instances.class_ids,
            class_names=tuple(instances.class_names),
            scores=instances.scores,
            **columns,
        )
        # As `Instances.to_label_image` paints them.
        objects.orders[np.argsort(instances.scores, kind="stable")] = np.arange(
            1, len(instances) + 1
        )
        # A network may give boxes only; where there are masks, theirs are tight.
        without_mask = runs.areas() == 0
        objects.boxes[without_mask] = instances.boxes[without_mask]
        if not instances.has_masks:
            objects = replace(objects, extents=tuple(map(box_extent, objects.boxes)))
        if instances.keypoints is None or instances.skeleton is None:
            return objects
        return replace(
            objects,
            keypoints=tuple(coco_keypoints(instances.keypoints)),
            skeletons=dict.fromkeys(instances.class_names, instances.skeleton),
        )

    @classmethod
    def from_label_image(
        cls,
        label_image: np.ndarray,
        *,
        class_names: Sequence[str] = ("object",),
        **columns: Any,
    ) -> CocoObjects:
        """Return the objects of a ``(H, W)`` label image.

        Parameters
        ----------
        label_image : np.ndarray
            Integer, 0 = background.
        class_names : sequence of str
            The names of classes 1, 2 ...
        **columns
            ``class_ids`` (1 if not given), ``scores``, ``track_ids``, ``reviewed``,
            ``crowd``: one value an object, in ascending order of the labels.
        """
        ids, runs = extract.from_label_image(label_image)
        return _filled(runs, ids, class_names=tuple(class_names), **columns)

    @classmethod
    def from_boxes(
        cls,
        boxes: NDArray[Any],
        ids: NDArray[np.int64],
        *,
        image_shape: tuple[int, int],
        class_names: Sequence[str] = ("object",),
        **columns: Any,
    ) -> CocoObjects:
        """Return objects that are boxes only.

        Parameters
        ----------
        boxes : ndarray
            Shape (N, 4), xyxy in pixel edges; written as they are.
        ids : ndarray
            Shape (N,), from 1, unique.
        image_shape : tuple of int
            ``(height, width)``.
        class_names : sequence of str
            The names of classes 1, 2 ...
        **columns
            As of `from_label_image`.
        """
        runs = gathered(image_shape, len(ids), [])
        objects = _filled(runs, ids, class_names=tuple(class_names), **columns)
        return replace(
            objects,
            boxes=np.asarray(boxes, np.float64).reshape(-1, 4),
            extents=tuple(map(box_extent, boxes)),
        )

    def select(self, which: np.ndarray) -> CocoObjects:
        """Return some of the objects: an index array or a bool mask."""
        indices = np.arange(len(self))[which]
        return replace(
            self,
            runs=self.runs[indices],
            ids=self.ids[indices],
            class_ids=self.class_ids[indices],
            scores=self.scores[indices],
            track_ids=self.track_ids[indices],
            reviewed=self.reviewed[indices],
            crowd=self.crowd[indices],
            boxes=self.boxes[indices],
            annotation_ids=self.annotation_ids[indices],
            orders=self.orders[indices],
            extras=tuple(self.extras[number] for number in indices.tolist()),
            keypoints=tuple(self.keypoints[number] for number in indices.tolist()),
            extents=tuple(self.extents[number] for number in indices.tolist()),
        )

    def to_instances(self, *, crowd: bool = False) -> Instances:
        """Return the objects that have pixels as Instances; a missing score is 1.

        Crowd regions, which are no objects, come along only on request.  Objects that
        have only a box are left out, and the warnings of the result say so.
        """
        filled = self.runs.areas() > 0
        objects = self.select(filled & (crowd | ~self.crowd))
        boxes = objects.runs.boxes()
        left_out = int((~filled).sum())
        warning = f"{left_out} objects have a box and no mask; they are left out."
        return Instances(
            image_shape=self.image_shape,
            boxes=boxes.astype(np.float32),
            class_ids=objects.class_ids,
            scores=np.nan_to_num(objects.scores, nan=1.0).astype(np.float32),
            masks=tuple(objects.runs.crops()),
            offsets=boxes[:, [1, 0]],
            ids=objects.ids,
            class_names=self.class_names,
            warnings=(warning,) if left_out else (),
        )

    def to_label_image(
        self, dtype: Any = None, *, crowd: bool = False, fill_boxes: bool = False
    ) -> np.ndarray:
        """Paint the objects by their orders, and of one order large ones first.

        So small ones stay visible.

        Parameters
        ----------
        dtype : data-type, optional
            uint16 while the ids fit, otherwise int32 (or int64), if not given.
        crowd : bool
            Paint crowd regions too.
        fill_boxes : bool
            Paint the whole box of an object that has only a box.

        Raises
        ------
        ValueError
            If an id does not fit into `dtype`.
        """
        largest = int(self.ids.max(initial=0))
        if dtype is None:
            fits = (t for t in (np.uint16, np.int32) if largest <= np.iinfo(t).max)
            dtype = next(fits, np.int64)
        if largest > np.iinfo(dtype).max:
            raise ValueError(f"the id {largest} does not fit into {np.dtype(dtype)}")
        runs = self._with_filled_boxes() if fill_boxes else self.runs
        ids, orders = self.ids, self.orders
        shown = np.flatnonzero(crowd | ~self.crowd)
        if len(shown) < len(self):
            runs, ids, orders = runs[shown], ids[shown], orders[shown]
        areas = runs.areas()
        ranks = np.empty_like(areas)
        ranks[np.lexsort((-areas, orders))] = np.arange(len(areas))
        return runs.to_label_image(ids, dtype, ranks)

    def _with_filled_boxes(self) -> Runs:
        """Return the runs, those of an empty object being its whole box."""
        height, width = self.image_shape
        empty = np.flatnonzero(self.runs.areas() == 0)
        corners = np.clip(
            np.rint(self.boxes[empty]), 0, [width, height, width, height]
        ).astype(np.int64)
        masks = [
            np.ones((max(y1 - y0, 0), max(x1 - x0, 0)), dtype=bool)
            for x0, y0, x1, y1 in corners.tolist()
        ]
        boxes = extract.from_masks(masks, corners[:, [1, 0]], self.image_shape)
        parts = [(np.arange(len(self)), self.runs), (empty, boxes)]
        return gathered(self.image_shape, len(self), parts)

    def features(self) -> dict[str, np.ndarray]:
        """Return a table, one row an object: index (= label), class, score, area ..."""
        names = np.array(self.class_names, dtype=object)
        return {
            "index": self.ids,
            "class": names[self.class_ids - 1],
            "score": self.scores,
            "area": self.runs.areas(),
            "reviewed": self.reviewed,
            "crowd": self.crowd,
            "track_id": self.track_ids,
            "annotation_id": self.annotation_ids,
        }


def listed_classes(objects: CocoObjects) -> dict[str, int]:
    """Return the classes to list in a file with their ids: no gaps that nobody uses."""
    used = set(objects.class_ids.tolist())
    listed: dict[str, int] = {}
    for number, name in enumerate(objects.class_names, start=1):
        if name != UNUSED or number in used:
            listed.setdefault(name, number)
    return listed


def _filled(
    runs: Runs,
    ids: np.ndarray,
    *,
    class_names: tuple[str, ...],
    class_ids: Any = None,
    scores: Any = None,
    track_ids: Any = None,
    reviewed: Any = None,
    crowd: Any = None,
) -> CocoObjects:
    """Fill the columns that were not given, and check the lengths of the others."""
    count = len(ids)

    def column(name: str, values: Any, default: Any, dtype: type) -> np.ndarray:
        filled = np.full(count, default) if values is None else np.asarray(values)
        if filled.shape != (count,):
            raise ValueError(
                f"{name} has shape {filled.shape}, there are {count} objects"
            )
        return filled.astype(dtype)

    class_ids = column("class_ids", class_ids, 1, np.int64)
    if count and not 1 <= class_ids.min() <= class_ids.max() <= len(class_names):
        raise ValueError(
            f"class ids go from 1 to {len(class_names)}, the number of class names; "
            f"got {class_ids.min()} to {class_ids.max()}"
        )
    return CocoObjects(
        runs=runs,
        ids=np.asarray(ids, dtype=np.int64),
        class_ids=class_ids,
        class_names=class_names,
        scores=column("scores", scores, np.nan, np.float64),
        track_ids=column("track_ids", track_ids, 0, np.int64),
        reviewed=column("reviewed", reviewed, False, np.bool_),
        crowd=column("crowd", crowd, False, np.bool_),
        boxes=runs.boxes().astype(np.float64),
        annotation_ids=np.zeros(count, dtype=np.int64),
        orders=np.zeros(count, dtype=np.int64),
        extras=({},) * count,
    )
