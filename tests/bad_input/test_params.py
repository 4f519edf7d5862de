"""Mistakes in params.yaml and in the environment: each is told in a line before anything runs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.parallel import parallel_map
from monuseg.core.params import LARGEST_FILE, parse_yaml, read_params
from monuseg.core.paths import PARAMS
from monuseg.models.shared.registry import MODELS
from stages.train.params import TrainParams
from tools import check, preset

SetParams = Callable[[dict[str, object]], None]

COMMITTED = (Path(__file__).resolve().parents[2] / "params.yaml").read_text(encoding="utf-8")
SHA256 = "0123456789abcdef" * 4
URL = {"name": "a.zip", "url": "https://host/a.zip", "sha256": SHA256}
DRIVE = {"name": "a.zip", "id": "1ZgqFJomqQGNnsx7w7QBzQQMVA16lbVCA", "sha256": SHA256}
# More digits than Python reads or writes as a decimal number.
MANY_DIGITS = "9" * 5000
LONGEST_LINE = 600


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("MONUSEG_", "KERAS_")):
            monkeypatch.delenv(name)


def everything(folder: Path) -> dict[Path, bytes | None]:
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.iterdir()
        if path.name != "stages"
    }


@pytest.fixture
def told(project: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Run `python -m tools.check`, or `tools.preset` with words; the one line that it says."""

    def failing(*words: str) -> str:
        before = everything(project)
        command = parser("")
        if words:
            command.add_argument("name")
            command.add_argument("changes", nargs="*")
        with pytest.raises(SystemExit) as caught:
            run(preset.main if words else check.main, command.parse_args(words))
        assert caught.value.code == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert len(err) < LONGEST_LINE
        assert ".writing-" not in err
        assert everything(project) == before
        return err.removeprefix("error: ").rstrip("\n")

    yield failing
    assert project.is_dir()


def replaced(old: str, new: str) -> str:
    assert COMMITTED.count(old) == 1, old
    return COMMITTED.replace(old, new)


# What the text of params.yaml becomes, and what is said of it.
TEXTS = {
    "empty": ("", "params.yaml: expected a mapping of blocks, found nothing; restore it"),
    "only-comments": ("# nothing\n", "params.yaml: expected a mapping of blocks, found nothing"),
    "list-at-the-top": ("- train\n", "params.yaml: expected a mapping of blocks, found list"),
    "text-at-the-top": ("train\n", "params.yaml: expected a mapping of blocks, found str"),
    "unclosed-list": (
        replaced("splits: [train, validation, test]", "splits: [train,"),
        r"params\.yaml, line \d+: no valid YAML: .*; mend it",
    ),
    "tab": (replaced("  epochs: 8", "\tepochs: 8"), r"params\.yaml, line \d+: no valid YAML: .*"),
    "wrong-indent": (replaced("  epochs: 8", " epochs: 8"), r"params\.yaml, line \d+: no valid"),
    "two-documents": (COMMITTED + "---\ntrain: {}\n", "params.yaml, line .*: no valid YAML: but"),
    "key-twice": (
        replaced("  epochs: 8", "  seed: 2\n  epochs: 10"),
        r"params\.yaml, line \d+: no valid YAML: found duplicate key",
    ),
    "block-twice": (COMMITTED + "masks:\n  rasterisation: center\n", "line .* duplicate key"),
    "not-utf-8": (COMMITTED.encode() + b"# caf\xe9\n", r"params\.yaml, line \d+: .* not in UTF-8"),
    "utf-16": (COMMITTED.encode("utf-16"), "params.yaml, line 1: no valid YAML: not in UTF-8"),
    "control-character": (COMMITTED + "\x00", "params.yaml: no valid YAML: .*; mend it"),
    "python-object": (
        COMMITTED + "x: !!python/object/apply:pathlib.Path.touch [ran]\n",
        r"params\.yaml, line \d+: no valid YAML: could not determine a constructor",
    ),
    "python-name": (
        replaced("seed: 2018", "seed: !!python/name:os.getcwd"),
        "no valid YAML: could",
    ),
    "tag-of-ones-own": (replaced("seed: 2018", "seed: !seed 3"), "no valid YAML: could not"),
    "alias-bomb": (
        "a0: &a0 [x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
        r"params\.yaml, line 2: no valid YAML: `\*a0` repeats another part; write it out",
    ),
    "alias-bomb-under-one-key": (
        "".join(f"a: &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else 'x')}]\n" for n in range(12)),
        r"line 2: no valid YAML: `\*a0` repeats another part; write it out",
    ),
    "alias-of-itself": (replaced("images: []", "images: &a [*a]"), r"`\*a` repeats another part"),
    "merged-block": (replaced("baseline:\n", "baseline:\n  <<: *b\n"), r"`\*b` repeats another"),
    "deep-nesting": (replaced("images: []", f"images: {'[' * 500}{']' * 500}"), "no valid YAML"),
    "number-of-5000-digits": (replaced("seed: 2018", f"seed: {MANY_DIGITS}"), "no valid YAML"),
    "no-day": (replaced("seed: 2018", "seed: 2018-13-45"), "no valid YAML: month must be"),
    "a-megabyte": (
        COMMITTED + "#" * LARGEST_FILE,
        r"params\.yaml: \d+ bytes are too many",
    ),
}


@pytest.mark.parametrize(("text", "said"), TEXTS.values(), ids=TEXTS)
def test_a_text_that_is_no_params_file(
    text: str | bytes, said: str, project: Path, told: Callable[..., str]
) -> None:
    content = text.encode() if isinstance(text, str) else text
    (project / "params.yaml").write_bytes(content)
    assert re.search(said, told())
    assert not Path("ran").exists()
    # The same is told where a preset would change the file.
    assert re.search(said, told("default", "train.epochs=3"))


# Values by dotted key, the place that is named, and what is said there.
VALUES: dict[str, tuple[dict[str, object], str, str]] = {
    # Unknown keys, at each level.
    "block-unknown": ({"trian": {}}, "unknown block 'trian'", "the blocks are baseline, dataset"),
    "block-a-number": ({"3": None}, "unknown block '3'", "the blocks are baseline"),
    "key-unknown": ({"masks.fill": 1}, "masks.fill", "unknown key; remove it"),
    "key-unknown-below": ({"tile.validation.part": 1}, "tile.validation.part", "unknown key"),
    "key-unknown-augmentation": (
        {"train.augmentation.rotation": 1}, "train.augmentation.rotation", "unknown key; remove it",
    ),
    "key-unknown-nuclei": ({"evaluate.nuclei.area": 1}, "evaluate.nuclei.area", "unknown key"),
    "key-unknown-in-a-list": (
        {"dataset.source": "url", "dataset.url.archives": [{**URL, "md5": "x"}]},
        "dataset.url.archives.0.md5", "unknown key; remove it",
    ),
    "key-unknown-idle-source": ({"dataset.gdrive.tries": 1}, "dataset.gdrive.tries", "unknown key"),
    "source-unknown": ({"dataset.ftp": {}}, "dataset.ftp", "unknown key; remove it"),
    "model-key-unknown": ({"unet.depth": 4}, "unet.depth", "unknown key; remove it"),
    "model-key-unlisted": (
        {"models": ["unet"], "segnet.depth": 4}, "segnet.depth", "unknown key",
    ),
    "key-misspelt": (
        {"predict": {"windw": 512}}, "predict.windw", "unknown key; is `window` meant?",
    ),
    "model-key-misspelt": (
        {"unet": {"widht": 8, "learning_rate": 0.1}},
        "unet.widht", "unknown key; is `width` meant? (and 1 more)",
    ),
    "key-missing": ({"report": {}}, "report.overlays", "missing; add it"),
    "key-no-word": ({"report": {7: 1, "overlays": 1}}, "report.7", "a key must be a word"),
    # Wrong types, of which some would be taken for another by their looks.
    "true-for-1": ({"train.epochs": True}, "train.epochs", "valid integer, found True"),
    "text-for-3": ({"train.epochs": "3"}, "train.epochs", "valid integer, found '3'"),
    "1.0-for-1": ({"train.epochs": 1.0}, "train.epochs", "valid integer, found 1.0"),
    "true-for-1.0": ({"baseline.sigma": True}, "baseline.sigma", "valid number, found True"),
    "text-for-0.5": ({"train.warmup": "0.5"}, "train.warmup", "valid number, found '0.5'"),
    "1-for-true": ({"predict.flips": 1}, "predict.flips", "valid boolean, found 1"),
    "yes-for-true": ({"predict.flips": "yes"}, "predict.flips", "valid boolean, found 'yes'"),
    "true-for-on": ({"train.xla": True}, "train.xla", "must be 'auto', 'on' or 'off', found True"),
    "number-for-a-word": ({"masks.rasterisation": 1}, "masks.rasterisation", "must be 'official'"),
    "word-for-a-list": ({"evaluate.splits": "test"}, "evaluate.splits", "valid list, found 'test'"),
    "number-for-an-id": (
        {"tile.validation.images": [7]}, "tile.validation.images.0", "valid string, found 7",
    ),
    "list-for-a-number": ({"tile.size": [256]}, "tile.size", "valid integer, found [256]"),
    "list-for-a-source": ({"dataset.source": ["url"]}, "dataset.source", "must be 'synthetic'"),
    "null-for-a-number": ({"train.crop": None}, "train.crop", "valid integer, found None"),
    "null-for-a-block": ({"evaluate": None}, "evaluate", "must be a mapping of keys, found None"),
    "null-for-a-model": ({"unet": None}, "unet", "must be a mapping of keys, found None"),
    "text-for-a-block": ({"tile": "256"}, "tile", "must be a mapping of keys, found '256'"),
    "scale-of-one": ({"train.augmentation.scale": [1.0]}, "train.augmentation.scale.1", "missing"),
    "scale-of-texts": (
        {"train.augmentation.scale": ["1", 2]}, "train.augmentation.scale.0", "valid number",
    ),
    "threshold-of-neither-kind": (
        {"evaluate.threshold": 1}, "evaluate.threshold", "must be 'auto' or must be less than 1",
    ),
    "model-text-for-a-number": ({"unet.width": "8"}, "unet.width", "valid integer"),
    # Out of range.
    "zero-epochs": ({"train.epochs": 0}, "train.epochs", "greater than or equal to 1, found 0"),
    "negative-seed-of-slides": ({"dataset.synthetic.seed": -1}, "dataset.synthetic.seed", "equal"),
    "seed-that-keras-refuses": ({"train.seed": 2**32}, "train.seed", "less than or equal to 4294"),
    "nan": ({"train.weight_decay": float("nan")}, "train.weight_decay", "must be a finite number"),
    "infinity": ({"train.clip_norm": float("inf")}, "train.clip_norm", "must be a finite number"),
    "minus-infinity": ({"baseline.sigma": float("-inf")}, "baseline.sigma", "a finite number"),
    "beyond-floats": ({"baseline.sigma": 10**400}, "baseline.sigma", "valid number, found 1000"),
    "more-epochs-than-time": ({"train.epochs": 10**30}, "train.epochs", "less than or equal to"),
    "model-no-filters": ({"unet.width": 0}, "unet.width", "greater than or equal to 1"),
    "model-rate": ({"segnet.learning_rate": -1e-3}, "segnet.learning_rate", "greater"),
    "model-stride": (
        {"deeplabv3plus.output_stride": 4}, "deeplabv3plus.output_stride", "8 or 16",
    ),
    "no-timeout": ({"dataset.gdrive.timeout": 0}, "dataset.gdrive.timeout", "greater than 0"),
    "endless-timeout": ({"dataset.gdrive.timeout": 1e300}, "dataset.gdrive.timeout", "less than"),
    # Contradictions within a block.
    "stride-above-size": ({"tile.stride": 300}, "tile", "a stride above the size leaves pixels"),
    "overlap-above-half": ({"predict.overlap": 300}, "predict", "`overlap` must be at most half"),
    "scale-upside-down": (
        {"train.augmentation.scale": [1.2, 0.8]}, "train.augmentation", "swap the two",
    ),
    "fold-out-of-folds": ({"tile.validation.fold": 5}, "tile.validation", "`fold` counts from 0"),
    "named-without-names": ({"tile.validation.method": "named"}, "tile.validation", "needs at le"),
    "split-unknown": ({"evaluate.splits": ["tset"]}, "evaluate.splits.0", "must be 'train', 'val"),
    "split-twice": ({"evaluate.splits": ["test", "test"]}, "evaluate.splits", "listed twice"),
    "no-split": ({"evaluate.splits": []}, "evaluate.splits", "at least 1 item"),
    "no-candidate": ({"evaluate.nuclei.min_area": []}, "evaluate.nuclei.min_area", "at least 1"),
    "weights-of-another-encoder": (
        {"deeplabv3plus.weights": "imagenet"}, "deeplabv3plus", "set them to none",
    ),
    # Contradictions between blocks.
    "best-without-validation": (
        {"tile.validation.method": "none", "train.keep": "best"},
        "train.keep", "best needs validation images, and",
    ),
    "only-validation-without-validation": (
        {"tile.validation.method": "none", "train.keep": "last", "evaluate.splits": ["validation"]},
        "evaluate.splits", "name another split, or hold some out",
    ),
    "crop-not-divisible": ({"train.crop": 200}, "train.crop", "200 is not divisible as"),
    "challenge-of-drawn-slides": (
        {"tile.protocol": "challenge"}, "tile.protocol", "set the protocol to archive",
    ),
    "organ-unknown": ({"dataset.synthetic.organs": ["heart"]}, "dataset.synthetic.organs", ":"),
    "fold-of-no-image": (
        {"tile.validation.method": "fold", "tile.validation.folds": 40, "tile.validation.fold": 30},
        "tile.validation", "holds out 0 of 10 training images",
    ),
    "fraction-of-all": (
        {"tile.validation.fraction": 0.99}, "tile.validation", "holds out 10 of 10 training images",
    ),
    "one-training-image": (
        {"dataset.synthetic.train_images": 1}, "tile.validation", "holds out 1 of 1 training",
    ),
    "id-unknown": (
        {"tile.validation.method": "named", "tile.validation.images": ["SYN-breast-0002"]},
        "tile.validation.images", "SYN-breast-0002 is not a training image",
    ),
    "id-of-a-test-image": (
        {
            "dataset.source": "gdrive", "tile.protocol": "challenge",
            "tile.validation.method": "named",
            "tile.validation.images": ["TCGA-A7-A13E-01Z-00-DX1", "TCGA-AC-A2FO-01A-01-TS1"],
        },
        "tile.validation.images", "TCGA-AC-A2FO is not a training image",
    ),
    "id-of-a-test-image-of-kumar": (
        {
            "dataset.source": "file", "tile.protocol": "kumar", "tile.validation.method": "named",
            "tile.validation.images": ["TCGA-DK-A2I6-01A-01-TS1"],
        },
        "tile.validation.images", "TCGA-DK-A2I6 is not a training image",
    ),
    "organ-of-test-images-alone": (
        {
            "dataset.source": "gdrive", "tile.protocol": "challenge",
            "tile.validation.method": "organs", "tile.validation.organs": ["stomach", "lung"],
        },
        "tile.validation.organs", "no training image of the protocol shows lung; name some of",
    ),
    "id-twice": ({"tile.validation.images": ["a", "a"]}, "tile.validation", "id is listed twice"),
    "xla-with-determinism": ({"train.xla": "on"}, "train.xla", "on contradicts deterministic"),
    "xla-with-determinism-predict": ({"predict.xla": "on"}, "predict.xla", "on contradicts determ"),
    "jax-without-xla": (
        {"train.backend": "jax", "train.xla": "off"}, "train.xla", "off contradicts backend: jax",
    ),
    "weights-missing": (
        {
            "deeplabv3plus.encoder": "resnet50",
            "deeplabv3plus.weights": "no/such.weights.h5",
        },
        "deeplabv3plus", "no/such.weights.h5 is not a file; give the path of one",
    ),
    "weights-of-a-name-too-long": (
        {"deeplabv3plus.encoder": "resnet50", "deeplabv3plus.weights": f"{'a' * 300}.h5"},
        "deeplabv3plus", "aaa.h5 is not a file; give the path of one",
    ),
    "weights-of-another-width": (
        {"segnet.weights": "edges"}, "segnet", "first level has 64 filters; set `width` to 64",
    ),
    # Models.
    "model-unknown": ({"models": ["unet", "vnet"]}, "models", "'vnet' is listed twice or"),
    "model-twice": ({"models": ["unet", "unet"]}, "models", "'unet' is listed twice"),
    "model-a-path": ({"models": ["../models/unet"]}, "models", "'../models/unet' is listed"),
    "model-another-module": ({"models": ["registry"]}, "models", "'registry' is listed"),
    "model-a-module-of-pythons": ({"models": ["json"]}, "models", "'json' is listed twice or"),
    "model-no-text": ({"models": [1]}, "models", "1 is listed twice or has no"),
    "models-no-list": ({"models": "unet"}, "models", "expected a list of at least one model"),
    "models-none": ({"models": []}, "models", "expected a list of at least one model"),
    "model-without-block": (
        {"segnet": "none"}, "segnet", "must be a mapping of keys, found 'none'",
    ),
    # Archives.
    "source-without-block": ({"dataset": {"source": "url"}}, "dataset", "needs the block `url:`"),
    "no-archive": ({"dataset.source": "url"}, "dataset.url.archives", "at least 1 item"),
    **{
        f"archive-{name}": (
            {"dataset.source": "url", "dataset.url.archives": [{**URL, **change}]},
            f"dataset.url.archives.0.{next(iter(change))}", said,
        )
        for name, change, said in [
            ("sha256-too-short", {"sha256": SHA256[1:]}, "must be 64 hexadecimal digits"),
            ("sha256-in-capitals", {"sha256": SHA256.upper()}, "a to f in lower case"),
            ("sha256-a-number", {"sha256": 12}, "valid string, found 12"),
            ("name-leads-out", {"name": "../a.zip"}, "must be the name of a .zip file"),
            ("name-absolute", {"name": "/data/a.zip"}, "without a folder"),
            ("name-of-windows", {"name": "..\\a.zip"}, "without a folder"),
            ("name-hidden", {"name": ".a.zip"}, "without a dot in front"),
            ("name-two-lines", {"name": "a\n.zip"}, "must be the name of a .zip file"),
            ("name-of-codes", {"name": "a\x9b2J.zip"}, "must be the name of a .zip file"),
            ("name-of-many-bytes", {"name": "\u65e5" * 75 + ".zip"}, "at most 220 bytes, not 229"),
            ("name-no-zip", {"name": "a.tar"}, "must be the name of a .zip file"),
            ("name-endless", {"name": "a" * 300 + ".zip"}, "at most 200 characters"),
            ("url-of-a-file", {"url": "file:///etc/passwd"}, "begins with http:// or https://"),
            ("url-of-ftp", {"url": "ftp://host/a.zip"}, "begins with http:// or https://"),
            ("url-without-host", {"url": "https:///a.zip"}, "begins with http:// or https://"),
            ("url-two-words", {"url": "https://host/a b.zip"}, "begins with http:// or https://"),
            ("size-zero", {"size": 0}, "greater than 0, found 0"),
        ]
    },
    "drive-id-a-link": (
        {
            "dataset.source": "gdrive",
            "dataset.gdrive.archives": [{**DRIVE, "id": "https://drive.google.com/file/d/1ZgqFJ"}],
        },
        "dataset.gdrive.archives.0.id", "must be a Google Drive id",
    ),
    "drive-id-too-short": (
        {"dataset.gdrive.archives": [{**DRIVE, "id": "1Zgq"}]},
        "dataset.gdrive.archives.0.id", "must be a Google Drive id",
    ),
    "archive-name-twice": (
        {"dataset.url.archives": [URL, {**URL, "name": "A.zip"}]},
        "dataset.url.archives", "two archives have one name; rename one",
    ),
    "archive-sha256-twice": (
        {"dataset.url.archives": [URL, {**URL, "name": "b.zip"}]},
        "dataset.url.archives", "two archives have one sha256; remove one",
    ),
    "file-unpinned": (
        {"dataset.file.archives": [{"name": "a.zip", "sha256": None}]},
        "dataset.file.archives.0.sha256", "valid string, found None",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("values", "place", "said"), VALUES.values(), ids=VALUES)
def test_a_value_that_is_wrong(
    values: dict[str, object],
    place: str,
    said: str,
    set_params: SetParams,
    told: Callable[..., str],
) -> None:
    set_params(values)
    line = told()
    assert line.startswith(f"params.yaml: {place}")
    assert line[len(f"params.yaml: {place}")] in ":;"
    assert said in line


def test_a_number_of_many_hexadecimal_digits_is_told_too(
    project: Path, told: Callable[..., str]
) -> None:
    # Python reads it, but writes no such number in decimal digits.
    (project / "params.yaml").write_text(replaced("  epochs: 8", f"  epochs: 0x{MANY_DIGITS}"))
    assert told().endswith("less than or equal to 1000000, found a int of very many digits")


ACCEPTED: dict[str, dict[str, object]] = {
    "whole-number-for-a-fraction": {"baseline.sigma": 2, "train.augmentation.scale": [1, 2]},
    "no-test-images": {"evaluate.splits": ["train", "validation"]},
    "stride-of-the-size": {"tile.stride": 256},
    "final-run": {"tile.validation.method": "none", "train.keep": "last"},
    "fraction-of-less-than-one-image": {"tile.validation.fraction": 0.001},
    "named": {"tile.validation.method": "named", "tile.validation.images": ["SYN-breast-0001"]},
    "named-of-the-challenge": {
        "dataset.source": "gdrive", "tile.protocol": "challenge", "tile.validation.method": "named",
        "tile.validation.images": ["TCGA-A7-A13E-01Z-00-DX1"],
    },
    "organs-of-the-challenge": {
        "dataset.source": "gdrive", "tile.protocol": "challenge",
        "tile.validation.method": "organs", "tile.validation.organs": ["stomach", "colon"],
    },
    "unlisted-model-without-a-block": {"models": ["unet"], "segnet": None},
    "sources-that-are-not-set-up": {"dataset.url": None, "dataset.gdrive.archives": []},
    "crop-that-only-another-model-refuses": {"models": ["unet"], "train.crop": 208},
}  # fmt: skip


@pytest.mark.parametrize("values", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_right_passes(values: dict[str, object], set_params: SetParams) -> None:
    set_params(values)
    check.check_params(PARAMS)


def test_a_byte_order_mark_is_no_mistake(project: Path) -> None:
    (project / "params.yaml").write_text(COMMITTED, encoding="utf-8-sig")
    assert read_params() == parse_yaml(COMMITTED)


def test_params_that_cannot_be_read(project: Path, told: Callable[..., str]) -> None:
    file = project / "params.yaml"
    file.unlink()
    assert told() == "params.yaml is missing; run this in the project's folder"
    assert told("smoke") == "params.yaml is missing; run this in the project's folder"
    file.mkdir()
    assert told() == "params.yaml: a folder stands where a file is needed; move it away"


@pytest.mark.parametrize("name", ["ensemble", "otsu", "train"])
def test_a_model_named_as_what_there_is_already(
    name: str,
    set_params: SetParams,
    told: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = shutil.copytree(MODELS, tmp_path / "models")
    shutil.copytree(models / "unet", models / name)
    monkeypatch.setattr("monuseg.models.shared.registry.MODELS", models)
    set_params({"models": ["unet", name]})
    assert told() == (
        f"params.yaml: models: '{name}' already names another row or block; rename the model"
    )


# Of this machine, not of the run.
ENVIRONMENT = {
    "no-worker": ("MONUSEG_WORKERS", "0", "MONUSEG_WORKERS: '0' is not a whole number of at least"),
    "workers-a-word": ("MONUSEG_WORKERS", "all", "MONUSEG_WORKERS: 'all' is not a whole number"),
    "workers-without-end": ("MONUSEG_WORKERS", MANY_DIGITS, "MONUSEG_WORKERS: '999"),
    "device-a-name": ("MONUSEG_DEVICE_INDEX", "cuda:0", "MONUSEG_DEVICE_INDEX: 'cuda:0' is not"),
    "no-folder-of-archives": (
        "MONUSEG_ARCHIVES",
        "no/such",
        "MONUSEG_ARCHIVES: no/such is not",
    ),
    "another-backend": (
        "KERAS_BACKEND",
        "jax",
        "KERAS_BACKEND=jax contradicts params.yaml: train.",
    ),
    "backend-unknown": ("KERAS_BACKEND", "theano", "KERAS_BACKEND=theano contradicts params.yaml"),
}


@pytest.mark.parametrize(("name", "value", "said"), ENVIRONMENT.values(), ids=ENVIRONMENT)
def test_a_variable_that_is_wrong(
    name: str,
    value: str,
    said: str,
    told: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(name, value)
    assert told().startswith(said)


def test_a_backend_that_is_not_installed(
    set_params: SetParams, told: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    set_params({"predict.backend": "torch"})
    assert "tensorflow is not installed; install it, or choose another" in told()


@pytest.mark.parametrize("address", ["nonsense", "ftp://host:1", "tcp://127.0.0.1:9"])
def test_a_scheduler_that_is_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    monkeypatch.setenv("MONUSEG_SCHEDULER", address)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
        pytest.raises(PipelineError, match=f"^MONUSEG_SCHEDULER: {address}: no scheduler there"),
    ):
        parallel_map(str, [1, 2], title="numbers")


# Words after `python -m tools.preset`, and what is said.
PRESETS = {
    "preset-unknown": (["tiny"], "there is no preset 'tiny'; the presets are default, monuseg"),
    "preset-a-path": (["../presets/smoke"], "there is no preset '../presets/smoke'; the presets"),
    "preset-two-parts": (["smoke\x00"], r"there is no preset 'smoke\\x00'; the presets are"),
    "key-unknown": (["default", "train.epoch=3"], "params.yaml has no key train.epoch; keys are"),
    "key-undotted": (["default", "epochs=3"], "params.yaml has no key epochs; keys are dotted"),
    "key-into-a-list": (["default", "models.0=unet"], r"params.yaml has no key models\.0; keys"),
    "key-empty": (["default", "=3"], "params.yaml has no key ; keys are dotted, as train.seed"),
    "no-value": (["default", "train.epochs"], "'train.epochs' is not key=value; write it as"),
    "value-no-yaml": (
        ["default", "evaluate.splits=[train"],
        "'evaluate.splits=.* is not YAML; quote",
    ),
    "value-an-object": (["default", "train.seed=!!python/name:os"], "the value is not YAML; quote"),
    "value-an-alias": (["default", "models=[&a unet, *a]"], "the value is not YAML; quote"),
    "value-of-5000-digits": (["default", f"train.seed={MANY_DIGITS}"], "'train.seed=99.*not YAML"),
    "value-of-hex-digits": (["default", f"train.seed=0x{MANY_DIGITS}"], "the value is not YAML"),
    "value-not-utf-8": (["default", "masks.rasterisation=\udcff"], "the value is not YAML; quote"),
    "value-wrong": (["default", "train.epochs=many"], "params.yaml: train.epochs: must be a valid"),
    "value-empty": (["default", "train.epochs="], "params.yaml: train.epochs: must be a valid int"),
    "value-a-day": (["default", "tile.protocol=2020-01-01"], "params.yaml: tile.protocol: must be"),
    "value-true-for-1": (["default", "train.epochs=true"], "valid integer, found True"),
    "value-of-a-model": (["default", "unet.width=x"], "params.yaml: unet.width: must"),
    "contradiction": (["smoke", "tile.stride=65"], "params.yaml: tile: a stride above the size"),
    "contradiction-of-blocks": (
        ["smoke", "tile.validation.method=none", "train.keep=best"],
        "train.keep: best needs",
    ),
    "block-for-a-value": (["default", "train={}"], "params.yaml: models: .*|train"),
}


@pytest.mark.parametrize(("words", "said"), PRESETS.values(), ids=PRESETS)
def test_a_preset_that_is_wrong_leaves_the_file(
    words: list[str], said: str, told: Callable[..., str]
) -> None:
    assert re.search(said, told(*words))
    assert Path("params.yaml").read_text(encoding="utf-8") == COMMITTED


@pytest.mark.parametrize("text", ["", "- train\n", "train: [1\n", "train: *a\n"])
def test_a_preset_file_that_is_none(
    text: str, told: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    monkeypatch.setattr(preset, "PRESETS", tmp_path)
    assert told("mine").startswith(f"{tmp_path}/mine.yaml")


def test_a_preset_mends_what_is_wrong(set_params: SetParams) -> None:
    set_params({"train.epochs": True})
    command = parser("")
    command.add_argument("name")
    command.add_argument("changes", nargs="*")
    run(preset.main, command.parse_args(["default", "train.epochs=3"]))
    assert TrainParams.load().epochs == 3


def test_make_repro_ends_before_dvc_starts(project: Path) -> None:
    (project / "params.yaml").write_text(replaced("  epochs: 8", "  epochs: true"))
    command = [sys.executable, "-m", "tools.check"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: params.yaml: train.epochs: must be a valid integer, found True\n"
    debug = subprocess.run([*command, "--debug"], cwd=project, capture_output=True, text=True)
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr


def test_a_models_block_is_checked_without_keras(project: Path) -> None:
    code = (
        "import sys; from tools.check import check_params; from monuseg.core.paths import PARAMS; "
        "check_params(PARAMS); print({'keras', 'tensorflow', 'torch', 'jax'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
