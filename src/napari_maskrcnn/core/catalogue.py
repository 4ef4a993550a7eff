"""The models that torchvision publishes, trained on COCO: what is known of each.

The table is a copy of what torchvision's weights enums say, so that a list of models
needs no torch; a test compares the two.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoint_config import IMAGE_SIZE, SCORE_THRESHOLD
from .kinds import published_arguments
from .skeletons import COCO_PERSON

if TYPE_CHECKING:
    from .skeletons import Skeleton

PUBLISHER = "https://download.pytorch.org/models"
MEGABYTE = 1_000_000
LICENCE = (
    "torchvision's weights (BSD-3-Clause), trained on COCO 2017 and ImageNet, whose "
    "terms may bind their use"
)

# Rows of the network: COCO's category ids. The gaps are in the network, too.
_COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,"
    "fire hydrant,N/A,stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,"
    "elephant,bear,zebra,giraffe,N/A,backpack,umbrella,N/A,N/A,handbag,tie,suitcase,"
    "frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,"
    "surfboard,tennis racket,bottle,N/A,wine glass,cup,fork,knife,spoon,bowl,banana,"
    "apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,N/A,dining table,N/A,N/A,toilet,N/A,tv,laptop,mouse,remote,"
    "keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,N/A,book,clock,vase,"
    "scissors,teddy bear,hair drier,toothbrush"
)
COCO_CLASSES = tuple(_COCO.split(","))


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """A model that can be downloaded.

    Parameters
    ----------
    name : str
        By which it is chosen.
    architecture : str
        Name of a builder in `core.architectures`.
    class_names : tuple of str
        Of class 1, 2, ...; "N/A" for rows of the network that are never used.
    published : dict of str to float
        Figures of its publisher on COCO val2017, in percent, such as "box AP".
    url : str
        Of its state dict; the file's name ends in the start of its SHA-256.
    size : int
        Bytes of that file, to a thousand or so.
    recipe : str
        Where its training is described.
    arguments : dict
        Of the builder.
    skeleton : Skeleton, optional
        The keypoints of a model that finds some.
    """

    name: str
    architecture: str
    class_names: tuple[str, ...]
    published: dict[str, float]
    url: str
    size: int
    recipe: str
    arguments: dict[str, Any] = field(default_factory=dict)
    skeleton: Skeleton | None = None

    @property
    def file_name(self) -> str:
        """The name of the published file."""
        return self.url.rpartition("/")[2]

    @property
    def sha256_prefix(self) -> str:
        """The first digits of the file's SHA-256."""
        return Path(self.file_name).stem.rpartition("-")[2]

    @property
    def address(self) -> str:
        """Where to get the file: NAPARI_MASKRCNN_WEIGHTS_URL names another folder."""
        mirror = os.environ.get("NAPARI_MASKRCNN_WEIGHTS_URL")
        return f"{mirror.rstrip('/')}/{self.file_name}" if mirror else self.url

    @property
    def megabytes(self) -> str:
        """The size for a person."""
        return f"{self.size / MEGABYTE:.0f} MB"

    @property
    def description(self) -> str:
        """One line."""
        figures = ", ".join(f"{key} {value}" for key, value in self.published.items())
        return f"torchvision's {self.architecture}, trained on COCO: {figures}"

    def config(self) -> dict[str, Any]:
        """Return the configuration of its checkpoint."""
        config: dict[str, Any] = {
            "architecture": {"name": self.architecture, "arguments": self.arguments},
            "class_names": list(self.class_names),
            "image_size": list(IMAGE_SIZE),
            "score_threshold": SCORE_THRESHOLD,
            "description": self.description,
            "provenance": {
                "source": self.url,
                "published": dict(self.published),
                "recipe": self.recipe,
                "licence": LICENCE,
            },
        }
        if self.skeleton is not None:
            config["keypoints"] = {
                "names": list(self.skeleton.names),
                "bones": [list(bone) for bone in self.skeleton.bones],
            }
        return config


def _published(
    name: str,
    digits: str,
    size: int,
    recipe: str,
    *,
    class_names: tuple[str, ...] = COCO_CLASSES,
    skeleton: Skeleton | None = None,
    **figures: float,
) -> CatalogueModel:
    """Return a model that is called as its architecture; ``box_AP`` is "box AP"."""
    return CatalogueModel(
        name=name,
        architecture=name,
        class_names=class_names,
        published={key.replace("_", " "): value for key, value in figures.items()},
        url=f"{PUBLISHER}/{name}_coco-{digits}.pth",
        size=size,
        recipe=f"https://github.com/pytorch/vision/{recipe}",
        arguments=published_arguments(name),
        skeleton=skeleton,
    )


_REFERENCES = "tree/main/references/detection"
_TORCHVISION = (
    _published(
        "maskrcnn_resnet50_fpn", "bf2d0c1e", 178_090_148,
        f"{_REFERENCES}#mask-r-cnn", box_AP=37.9, mask_AP=34.6,
    ),
    _published(
        "maskrcnn_resnet50_fpn_v2", "73cbd019", 185_827_590,
        "pull/5773", box_AP=47.4, mask_AP=41.8,
    ),
    _published(
        "fasterrcnn_resnet50_fpn", "258fb6c6", 167_502_676,
        f"{_REFERENCES}#faster-r-cnn-resnet-50-fpn", box_AP=37.0,
    ),
    _published(
        "fasterrcnn_resnet50_fpn_v2", "dd69338a", 175_221_244,
        "pull/5763", box_AP=46.7,
    ),
    _published(
        "keypointrcnn_resnet50_fpn", "fc266e95", 237_034_799,
        f"{_REFERENCES}#keypoint-r-cnn", class_names=("person",),
        skeleton=COCO_PERSON, box_AP=54.6, keypoint_AP=65.0,
    ),
)  # fmt: skip


def catalogue() -> tuple[CatalogueModel, ...]:
    """Return the models that can be downloaded."""
    return _TORCHVISION


def find_in_catalogue(name: str) -> CatalogueModel:
    """Return a model of the catalogue.

    Raises
    ------
    ValueError
        When it has none of that name.
    """
    for model in catalogue():
        if model.name == name:
            return model
    known = ", ".join(model.name for model in catalogue())
    raise ValueError(
        f"{name!r} is not a model that can be downloaded; those are {known}"
    )


def cache_folder() -> Path:
    """Return the folder of downloaded models; NAPARI_MASKRCNN_CACHE moves it."""
    override = os.environ.get("NAPARI_MASKRCNN_CACHE")
    if override:
        return Path(override)
    try:
        import platformdirs
    except ImportError:
        # It comes with napari; a bare cluster node need not have it.
        return Path.home() / ".napari-maskrcnn" / "cache"
    return platformdirs.user_cache_path("napari-maskrcnn", appauthor=False) / "models"
