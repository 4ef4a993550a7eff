"""Corrections in a file."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_maskrcnn.core.corrections import (
    Corrections,
    ImageIdentity,
    SavedPlane,
    Summary,
    identify,
)
from napari_maskrcnn.core.recovery import (
    DamagedFileError,
    corrections_files,
    corrections_path,
    read_corrections,
    read_summary,
    runs_of,
    set_aside,
    state_folder,
    write_corrections,
)

if TYPE_CHECKING:
    from pathlib import Path

WHEN = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
IMAGE = ImageIdentity("/data/a.tif", (40, 60), "uint16", "0123456789abcdef")
OWNER = {"token": "t-0", "session": "t", "pid": 1, "started": 2.5}


def corrections(*planes: SavedPlane, **values: Any) -> Corrections:
    summary = Summary(IMAGE, "a instances", WHEN, 2, 1, 3, OWNER)
    return Corrections(summary, planes, **values)


def squares() -> SavedPlane:
    labels = np.zeros((40, 60), np.uint16)
    labels[5:15, 5:15], labels[20:30, 40:55] = 3, 60_000
    decided = labels == 3
    return SavedPlane((0, 1), (), labels, (3,), 1, decided)


@st.composite
def saved_planes(draw: st.DrawFn) -> SavedPlane:
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]))
    shape = draw(arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12))
    labels = draw(arrays.arrays(dtype, shape, elements=st.integers(0, 100)))
    decided = draw(st.none() | arrays.arrays(np.bool_, shape))
    position = tuple(draw(st.lists(st.integers(0, 99), max_size=2)))
    axes = (len(position), len(position) + 1)
    edited = tuple(draw(st.lists(st.integers(1, 10**12), max_size=4)))
    return SavedPlane(axes, position, labels, edited, draw(st.integers(0, 9)), decided)


VALUES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5)


@given(
    planes=st.lists(saved_planes(), max_size=3),
    table=st.dictionaries(st.text(max_size=8), st.lists(VALUES, max_size=5)),
    marks=st.dictionaries(st.text(max_size=8), VALUES, max_size=3),
)
def test_what_is_written_is_read(
    tmp_path_factory: Any, planes: Any, table: Any, marks: Any
) -> None:
    path = tmp_path_factory.mktemp("state") / "a.npz"
    written = corrections(*planes, table=table, metadata=marks, class_names=("ä", "b"))
    write_corrections(path, written)
    read = read_corrections(path)
    assert read.summary == written.summary == read_summary(path)
    assert (read.table, read.metadata) == (table, marks)
    assert read.class_names == ("ä", "b")
    for ours, theirs in zip(planes, read.planes, strict=True):
        assert theirs.label_image.dtype == ours.label_image.dtype
        np.testing.assert_array_equal(theirs.label_image, ours.label_image)
        np.testing.assert_equal(theirs.decided, ours.decided)
        for name in ("axes", "position", "edited", "removed"):
            assert getattr(theirs, name) == getattr(ours, name)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_numpys_own_values_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    table = {"index": [np.int64(3)], "score": [np.float32(0.5)], "odd": [1j]}
    write_corrections(path, corrections(squares(), table=table))
    assert read_corrections(path).table == {
        "index": [3],
        "score": [0.5],
        "odd": ["1j"],
    }


def test_a_large_plane_makes_a_small_file(tmp_path: Path) -> None:
    labels = np.zeros((2048, 2048), np.uint16)
    for index in range(1000):
        y, x = divmod(index, 32)
        labels[64 * y + 8 : 64 * y + 56, 64 * x + 8 : 64 * x + 50] = index + 1
    path = tmp_path / "a.npz"
    write_corrections(path, corrections(SavedPlane((0, 1), (), labels)))
    assert path.stat().st_size < 200_000


def test_the_sentence_says_what_and_when() -> None:
    sentence = corrections().summary.sentence()
    local = WHEN.astimezone()
    assert sentence == (
        f"Unsaved corrections of a.tif from {local:%d %b %Y, %H:%M}: "
        "2 edited, 1 deleted, 3 approved objects"
    )
    unnamed = replace(corrections().summary, image=replace(IMAGE, path=""), edited=0)
    assert "of a instances" in unnamed.sentence()
    assert "edited" not in unnamed.sentence()


# ---- damage


@given(cut=st.floats(0, 0.999), data=st.data())
def test_damaged_files_are_told(tmp_path_factory: Any, cut: float, data: Any) -> None:
    path = tmp_path_factory.mktemp("state") / "a.npz"
    write_corrections(path, corrections(squares()))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: int(cut * len(content))]
    else:
        start = int(cut * len(content))
        noise = data.draw(st.binary(min_size=1, max_size=64))
        content[start : start + len(noise)] = noise
    path.write_bytes(content)
    try:
        read = read_corrections(path)
    except DamagedFileError as error:
        sentence = str(error)
    else:
        # Bytes that carry nothing, such as times in the archive, may be anything.
        plane = squares()
        np.testing.assert_array_equal(read.planes[0].label_image, plane.label_image)
        return
    assert "a.npz are damaged" in sentence
    assert "\n" not in sentence


def test_foreign_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, nothing=np.zeros(3))
    with pytest.raises(DamagedFileError):
        read_summary(path)
    header = np.frombuffer(b'{"format": "another"}', np.uint8)
    np.savez(path, header=header)
    with pytest.raises(DamagedFileError, match="the format is 'another'"):
        read_corrections(path)
    with pytest.raises(FileNotFoundError):
        read_summary(tmp_path / "none.npz")


def test_damaged_files_are_kept_aside(tmp_path: Path) -> None:
    names = []
    for content in (b"one", b"two"):
        path = tmp_path / "a.npz"
        path.write_bytes(content)
        aside = set_aside(path)
        assert aside.read_bytes() == content
        assert not path.exists()
        names.append(aside.name)
    assert names == ["a.npz.damaged", "a.npz.damaged1"]


# ---- which file is whose


def test_files_of_an_image_are_found_newest_first(tmp_path: Path) -> None:
    other = replace(IMAGE, digest="ffff")
    for age, (image, token) in enumerate([(IMAGE, "x"), (IMAGE, "y"), (other, "z")]):
        path = corrections_path(tmp_path, image, token)
        path.write_bytes(b"")
        now = WHEN + timedelta(seconds=age)
        os.utime(path, (now.timestamp(), now.timestamp()))
    moved = replace(IMAGE, path="/elsewhere/b.tif")
    found = corrections_files(tmp_path, moved)
    assert [path.name for path in found] == [
        f"{IMAGE.digest}-y.npz",
        f"{IMAGE.digest}-x.npz",
    ]
    assert corrections_files(tmp_path / "none", IMAGE) == []


def test_the_folder_can_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_MASKRCNN_STATE", str(tmp_path))
    assert state_folder() == tmp_path
    monkeypatch.delenv("NAPARI_MASKRCNN_STATE")
    assert state_folder().name == "corrections"


def test_images_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 999, (300, 400), np.uint16)
    assert identify(image, "a").digest == identify(image.copy(), "b").digest
    others = [image.T, image.astype(np.int32), image[:299], image + np.uint16(1)]
    stack = np.stack([image, image[::-1], image[:, ::-1], image])
    colour = np.stack([image] * 3, axis=-1)
    others += [stack, stack[::-1], stack[[0, 1, 3, 2]], colour, colour[..., :2]]
    digests = {identify(array).digest for array in [image, *others]}
    assert len(digests) >= len(others)  # the stack's second plane is not looked at
    assert identify(np.zeros((0, 5, 5))).digest


class Lazy:
    """An array that counts the elements that are asked for."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.dtype, self.read = (
            array,
            array.shape,
            array.dtype,
            0,
        )

    def __getitem__(self, index: Any) -> Any:
        part = self.array[index]
        self.read += part.size
        return part


def test_little_is_read_of_a_large_image() -> None:
    lazy = Lazy(np.zeros((50, 1000, 1000), np.uint8))
    identify(lazy)
    assert lazy.read <= 3 * 400**2


@given(arrays.arrays(np.uint16, st.integers(0, 50), elements=st.integers(0, 2)))
def test_runs_add_up(array: Any) -> None:
    lengths, values = runs_of(array)
    np.testing.assert_array_equal(np.repeat(values, lengths), array)
    assert (np.diff(values.astype(int)) != 0).all()
