"""The command line: what it writes, and one clear line for what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny_network import ARCHITECTURE, write_tiny
from typer.testing import CliRunner

from napari_maskrcnn import cli
from napari_maskrcnn.core.checkpoints import read_config
from napari_maskrcnn.core.detector import load_model
from napari_maskrcnn.core.images import read_image, write_array
from napari_maskrcnn.core.progress import exhaust
from napari_maskrcnn.core.recipe import TWIN_THRESHOLD, Recipe
from napari_maskrcnn.core.samples import nuclei_field

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def cli_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny network, also under the name of the starter."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny(folder)
    write_tiny(folder, "nuclei")
    return folder


@pytest.fixture(autouse=True)
def models(cli_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(cli_models))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, name in enumerate(("a.png", "b.tif")):
        write_array(folder / name, nuclei_field((80, 96), 10, seed=seed)[0])
    return folder


SEGMENT = ("--model", "tiny", "--device", "cpu", "--object-size", 24)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# ------------------------------------------------------------------ segment


def test_segment_writes_what_it_promises(
    images: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "new" / "out"
    code, text, errors = run("segment", images, "--out", out, *SEGMENT)
    assert code == 0, errors
    assert names(out) == [
        "a_labels.tif", "a_objects.csv", "a_overlay.png", "annotations.coco.json",
        "b_labels.tif", "b_objects.csv", "b_overlay.png", "recipe.json",
    ]  # fmt: skip
    label_image = read_image(out / "a_labels.tif")
    assert label_image.dtype == np.uint16
    assert label_image.shape == (80, 96)
    assert read_image(out / "a_overlay.png").shape == (80, 96, 3)
    rows = (out / "a_objects.csv").read_text().splitlines()
    assert rows[0] == "index,class,score,area,x_min,y_min,x_max,y_max"
    assert set(np.unique(label_image)) - {0} <= {int(r.split(",")[0]) for r in rows[1:]}
    assert f"a.png: {len(rows) - 1} objects (object size 24 px)" in text
    coco = json.loads((out / "annotations.coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["a.png", "b.tif"]


def test_command_and_python_give_the_same_instances(
    images: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "out"
    code, *_ = run("segment", images / "a.png", "--out", out, "--model", "tiny",
                   "--device", "cpu", "--score", 0.3, "--overlap", 0.4)  # fmt: skip
    assert code == 0
    recipe = Recipe(model="tiny", device="cpu", score_threshold=0.3, nms_threshold=0.4)
    assert Recipe.read(out / "recipe.json") == recipe
    detector = load_model("tiny", "cpu")
    image = read_image(images / "a.png")
    _, kept = exhaust(detector.segment(image, recipe))
    direct = detector.detect(image).filter(
        score_threshold=0.3, nms_threshold=0.4, twin_threshold=TWIN_THRESHOLD
    )
    for instances in (recipe.apply(kept), direct):
        label_image = instances.to_label_image()
        assert label_image.any()
        np.testing.assert_array_equal(label_image, read_image(out / "a_labels.tif"))


def test_a_recipe_gives_the_same_pixels_again(
    images: Path, tmp_path: Path, run: Run
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run("segment", images, "--out", first, *SEGMENT, "--score", 0.2, "--mask", 0.4,
        "--min-area", 20, "--classes", "disc")  # fmt: skip
    code, *_ = run(
        "segment", images, "--out", second, "--recipe", first / "recipe.json"
    )
    assert code == 0
    for name in names(first):
        if name != "annotations.coco.json":
            assert (first / name).read_bytes() == (second / name).read_bytes(), name


HOSTILE: dict[str, Any] = {
    "empty.png": b"",
    "text.png": b"This is no image.\nNot at all.",
    "notes.tif": b"This is no image.\nNot at all.",
    "five.tif": np.zeros((2, 2, 2, 20, 24), np.uint8),
    "planes.tif": np.zeros((12, 13, 20, 24), np.uint8),
    "complex.tif": np.zeros((20, 24), np.complex64),
}
HARMLESS: dict[str, Any] = {
    "one.png": np.full((1, 1), 7, np.uint8),
    "nan.tif": np.full((20, 24), np.nan, np.float32),
    "constant.tif": np.full((20, 24), 1000, np.uint16),
    "rgba.png": np.arange(20 * 24 * 4).reshape(20, 24, 4).astype(np.uint8),
    "int32.tif": np.arange(480, dtype=np.int32).reshape(20, 24) - 300,
    "float64.tif": np.arange(480, dtype=np.float64).reshape(20, 24) * 1e200,
    "inf.tif": np.full((20, 24), np.inf, np.float32),
    "bool.tif": np.eye(20, 24, dtype=bool),
}


def write_all(folder: Path, contents: dict[str, Any]) -> None:
    import tifffile

    for name, content in contents.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        elif name.endswith(".tif"):
            tifffile.imwrite(folder / name, content)
        else:
            write_array(folder / name, content)


def test_hostile_files_get_a_line_each_and_do_not_stop_the_others(
    images: Path, tmp_path: Path, run: Run
) -> None:
    write_all(images, HOSTILE)
    out = tmp_path / "out"
    code, text, errors = run("segment", images, "--out", out, *SEGMENT)
    assert code == 1
    lines = [line for line in errors.splitlines() if line.startswith("napari-maskrcnn")]
    assert len(lines) == len(HOSTILE)
    for name in HOSTILE:
        (line,) = [line for line in lines if line.count(name)]
        assert line.startswith(f"napari-maskrcnn: {name}")
        assert line.count(name) == 1
    assert "a.png: " in text
    assert "Traceback" not in errors
    # Neither half-written files nor results of what failed.
    assert names(out) == [
        "a_labels.tif", "a_objects.csv", "a_overlay.png", "annotations.coco.json",
        "b_labels.tif", "b_objects.csv", "b_overlay.png", "recipe.json",
    ]  # fmt: skip


def test_odd_images_give_results(images: Path, tmp_path: Path, run: Run) -> None:
    write_all(images, HARMLESS)
    out = tmp_path / "out"
    code, text, errors = run("segment", images, "--out", out, *SEGMENT)
    assert code == 0, errors
    for name in HARMLESS:
        assert f"{name}: " in text
        assert (out / f"{name.split('.')[0]}_labels.tif").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{images}/none.png",), "no such image file"),
        (("{empty}",), "there is no image in the folder"),
        (("{images}", "--model", "nukleus"), "no model named 'nukleus'"),
        (("{images}", "--score", "1.3"), "score_threshold must be in [0, 1], got 1.3"),
        (("{images}", "--score", "much"), "--score"),
        (("{images}", "--device", "gpu"), "got 'gpu'"),
        (("{images}", "--recipe", "{images}/a.png"), "could not be read"),
        (("{images}", "--wings", "2"), "No such option"),
        (("{images}", "{images}/a.png"), "two images are named 'a'"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    images: Path, tmp_path: Path, run: Run, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    words = [w.format(images=images, empty=tmp_path / "empty") for w in arguments]
    model = () if "--model" in words else ("--model", "tiny")
    code, _, errors = run("segment", *words, "--out", out, *model)
    assert code != 0
    assert message in " ".join(errors.split())
    assert "Traceback" not in errors
    assert not out.exists()


# ------------------------------------------------------------------ train, evaluate


def test_train_then_segment_then_evaluate(tmp_path: Path, run: Run) -> None:
    pictures, labels = tmp_path / "pictures", tmp_path / "labels"
    for folder in (pictures, labels):
        folder.mkdir()
    for seed in range(3):
        image, label_image = nuclei_field((80, 96), 10, seed=seed)
        write_array(pictures / f"{seed}.png", image)
        write_array(labels / f"{seed}.tif", label_image)
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps(
            {
                "arguments": {**ARCHITECTURE["arguments"], "rois_per_image": 16},
                "class_names": ["nucleus"],
                "description": "Three fields",
                "native_size": 24.0,
                "batch_size": 1,
                "crop": 64,
                "precision": "float32",
                "save_every": 1,
            }
        )
    )
    model = tmp_path / "own.safetensors"
    train = ("train", pictures, labels, "--out", model, "--config", config)
    code, text, errors = run(*train, "--steps", 2, "--seed", 3, "--device", "cpu")
    assert code == 0, errors
    assert f"Wrote {model}" in text
    written = read_config(model)
    assert written["class_names"] == ["nucleus"]
    assert written["provenance"]["training"]["seed"] == 3
    assert written["provenance"]["steps"] == 2
    # What judges a model must not be among what it learns from.
    again = tmp_path / "again.safetensors"
    refused = (*train[:3], "--out", again, "--apart-from", pictures)
    code, _, errors = run(*refused)
    assert code == 1
    assert "0.png (0.png), 1.png (1.png), 2.png (2.png). Take" in errors
    assert not again.exists()
    out = tmp_path / "out"
    settings = ("--device", "cpu", "--score", 0, "--object-size", 20)
    code, _, errors = run(
        "segment", pictures, "--out", out, "--model", model, *settings
    )
    assert code == 0, errors
    figures = tmp_path / "figures.json"
    code, text, errors = run("evaluate", labels, out, "--json", figures)
    assert code == 0, errors
    assert "AP" in text
    assert json.loads(figures.read_text()).keys() == {"all"}
    code, text, _ = run("evaluate", labels, labels)
    assert code == 0
    assert "1.000" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "{here}/no", "{here}", "--out", "a.safetensors"), "is not a folder"),
        (("train", "{here}", "{here}", "--out", "a.pt"), "must end in .safetensors"),
        (("train", "{here}", "{here}", "--out", "a.safetensors", "--config",
          "{here}/none.json"), "none.json"),
        (("evaluate", "{here}/no", "{here}"), "neither a folder nor a file"),
        (("evaluate", "{here}", "{here}"), "there is no label image"),
        (("models", "show", "nukleus"), "no model named 'nukleus'"),
        (("models", "add", "{here}/none.safetensors"), "no such checkpoint"),
    ],
)  # fmt: skip
def test_other_commands_refuse_in_one_line(
    tmp_path: Path, run: Run, arguments: tuple[str, ...], message: str
) -> None:
    code, _, errors = run(*(word.format(here=tmp_path) for word in arguments))
    assert code == 1
    assert message in errors
    assert errors.startswith("napari-maskrcnn: ")
    assert len(errors.splitlines()) == 1


# ------------------------------------------------------------------ models, demo


def test_models_are_listed_shown_and_added(
    cli_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setenv("NAPARI_MASKRCNN_MODELS", str(tmp_path / "own"))
    file = cli_models / "tiny.safetensors"
    code, text, _ = run("models", "add", file, "--name", "mine")
    assert code == 0
    assert str(tmp_path / "own" / "mine.safetensors") in text
    code, text, _ = run("models", "list")
    (line,) = (line for line in text.splitlines() if line.startswith("mine "))
    assert line.startswith("mine  (yours; masks; disc, ring; ")
    assert line.endswith(")  Random weights")
    code, text, _ = run("models", "show", "mine")
    assert json.loads(text.partition("\n")[2])["class_names"] == ["disc", "ring"]
    code, _, errors = run("models", "add", file, "--name", "mine")
    assert code == 1
    assert "'mine' is taken" in errors


def test_the_demo_writes_pictures_without_a_display(tmp_path: Path, run: Run) -> None:
    code, text, errors = run("demo", "--out", tmp_path / "demo", "--device", "cpu")
    assert code == 0, errors
    for name in ("coins_labels.tif", "coins_overlay.png", "annotations.coco.json"):
        assert (tmp_path / "demo" / name).is_file()
        assert str(tmp_path / "demo" / name) in text


# ------------------------------------------------------------------ the process


def test_help_is_quick(run_python: Callable[..., Any]) -> None:
    done = run_python(
        "import sys\n"
        "from napari_maskrcnn import cli\n"
        "for words in (['--help'], ['segment', '--help'], ['models', 'list']):\n"
        "    sys.argv = ['napari-maskrcnn', *words]\n"
        "    try: cli.main()\n"
        "    except SystemExit as stop: assert not stop.code, stop.code\n"
        "print('heavy:', sorted({'torch', 'napari', 'skimage'} & set(sys.modules)))\n"
    )
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout


def test_a_refusal_of_the_real_command_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "fake.png").write_text("This is a text.")
    done = subprocess.run(
        [sys.executable, "-c", "from napari_maskrcnn.cli import main; main()",
         "segment", "fake.png", "--out", "out", "--model", "tiny", "--device", "cpu"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("napari-maskrcnn: fake.png could not be read")
    assert not done.stdout
    assert not list((tmp_path / "out").iterdir())


def test_every_command_has_a_help() -> None:
    for command in ("demo", "segment", "train", "evaluate", "models"):
        result = CliRunner().invoke(cli.app, [command, "--help"])
        assert result.exit_code == 0
        assert "Usage" in result.output
