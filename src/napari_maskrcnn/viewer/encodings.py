"""Which kept encoding still serves: what an encoding was made from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_maskrcnn.core.scaling import alike

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_maskrcnn.core.recipe import Recipe


class EncodingKey(NamedTuple):
    """What an encoding depends on.

    Parameters
    ----------
    trunk : str
        See `Checkpoint.trunk_id`. Not the model's name: one whose heads were fine-tuned
        can use what is kept.
    device : str
        As asked for.
    object_size : float or None
        As asked for; None where it was found.
    usual_size : float or None
        Where the search for it began; None also where it was not searched for.
    channel : int or None
        The channel of a multichannel image.
    pixels : str
        A hash of them: they may have been changed in place.
    """

    trunk: str
    device: str
    object_size: float | None
    usual_size: float | None
    channel: int | None
    pixels: str


@dataclass(frozen=True, slots=True)
class KeptEncoding:
    """An encoding of an earlier run, if it is still there, and what it depends on."""

    encoding: Any
    encoded_as: EncodingKey | None

    def fits(self, key: EncodingKey) -> bool:
        """Whether it is there and serves for `key`.

        An object size that was found by a model with the same trunk but other habits
        serves if the objects are as large as this model's usually are. If not, it may
        be that the other took something else for an object.
        """
        if self.encoding is None or self.encoded_as is None:
            return False
        if self.encoded_as == key:
            return True
        if self.encoded_as != key._replace(usual_size=self.encoded_as.usual_size):
            return False
        found = self.encoding.object_size
        if found is None or key.usual_size is None:
            return False
        return alike(found, key.usual_size)

    def fits_prompts(self, key: EncodingKey, *, same_pixels: bool) -> bool:
        """Whether prompts can be answered with it: on whatever was seen last.

        Object size and channel may be other ones than those of `key`, and its pixels
        count only with `same_pixels`.
        """
        kept = self.encoded_as
        if self.encoding is None or kept is None or kept.trunk != key.trunk:
            return False
        return kept.pixels == key.pixels or not same_pixels


def encoding_key(detector: Any, recipe: Recipe, image: NDArray[Any]) -> EncodingKey:
    """Return what an encoding of `image` with `recipe` would depend on."""
    return EncodingKey(
        detector.trunk_id,
        recipe.device,
        recipe.object_size,
        detector.usual_size if recipe.object_size is None else None,
        recipe.channel,
        _digest(image),
    )


def _digest(image: NDArray[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16, usedforsecurity=False)
    digest.update(f"{image.shape} {image.dtype.str}".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()
