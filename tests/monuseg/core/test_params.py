"""Tests of `monuseg.core.params` and of what the blocks refuse."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from monuseg.core.errors import PipelineError
from monuseg.core.params import Block, read_params
from monuseg.formats.rows import ModelsParams
from monuseg.inference.params import PredictParams
from stages.baseline.params import BaselineParams
from stages.download.params import DatasetParams
from stages.evaluate.params import EvaluateParams
from stages.extract.params import ExtractParams
from stages.masks.params import MasksParams
from stages.report.params import ReportParams
from stages.tile.params import TileParams
from stages.train.params import TrainParams

SetParams = Callable[[dict[str, object]], None]

BLOCKS: list[type[Block]] = [
    DatasetParams,
    ExtractParams,
    MasksParams,
    TileParams,
    TrainParams,
    PredictParams,
    BaselineParams,
    EvaluateParams,
    ReportParams,
]
by_key = pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.key)


def error_of(block: type[Block]) -> str:
    with pytest.raises(PipelineError) as caught:
        block.load()
    message = str(caught.value)
    assert "\n" not in message
    return message


@by_key
@pytest.mark.usefixtures("project")
def test_the_committed_blocks_are_valid_and_frozen(block: type[Block]) -> None:
    params = block.load()
    name = next(iter(type(params).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(params, name, None)


@by_key
def test_an_unknown_key_is_named(block: type[Block], set_params: SetParams) -> None:
    set_params({f"{block.key}.no_such_key": 1})
    assert error_of(block).startswith(
        f"params.yaml: {block.key}.no_such_key: unknown key; remove it"
    )


@by_key
def test_every_key_is_needed(project: Path, set_params: SetParams, block: type[Block]) -> None:
    # Those of which one suffices, and those that stand elsewhere, apart.
    elsewhere = {"synthetic", "gdrive", "file", "url", "models"}
    text = (project / "params.yaml").read_text(encoding="utf-8")
    for name in set(block.model_fields) - elsewhere:
        (project / "params.yaml").write_text(text, encoding="utf-8")
        values = read_params()[block.key]
        set_params({block.key: {key: value for key, value in values.items() if key != name}})
        assert error_of(block).startswith(f"params.yaml: {block.key}.{name}: missing; add it")


@by_key
@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_a_block_that_is_no_mapping_is_named(
    block: type[Block], value: object, set_params: SetParams
) -> None:
    set_params({block.key: value})
    assert error_of(block).startswith(f"params.yaml: {block.key}: ")


@by_key
def test_a_missing_block_is_named(block: type[Block], project: Path) -> None:
    (project / "params.yaml").write_text("other: {}\n", encoding="utf-8")
    assert error_of(block) == f"params.yaml: the block `{block.key}:` is missing; add it"


@pytest.mark.parametrize(
    ("block", "key", "value", "said"),
    [
        # Of another type: what YAML made of a slip of the pen.
        (TrainParams, "train.epochs", "ten", "valid integer"),
        (TrainParams, "train.epochs", 2.5, "valid integer"),
        (TrainParams, "train.deterministic", "perhaps", "valid boolean"),
        (TrainParams, "train.augmentation", None, "must be a mapping of keys"),
        (TileParams, "tile.validation.images", "TCGA-A", "valid list"),
        (DatasetParams, "dataset.synthetic.organs", "lung", "valid list"),
        # Out of range.
        (TrainParams, "train.seed", -1, "greater than or equal to 0"),
        (TrainParams, "train.epochs", 0, "greater than or equal to 1"),
        (TrainParams, "train.warmup", 1.0, "less than 1"),
        (TrainParams, "train.clip_norm", 0, "greater than 0"),
        (TrainParams, "train.threads", 0, "greater than or equal to 1"),
        (TrainParams, "train.augmentation.rotate", 181, "less than or equal to 180"),
        (TrainParams, "train.augmentation.stain", float("nan"), "finite number"),
        (TrainParams, "train.weight_decay", float("inf"), "finite number"),
        (TrainParams, "train.backend", "theano", "'tensorflow', 'jax' or 'torch'"),
        (TrainParams, "train.keep", "first", "'best' or 'last'"),
        (PredictParams, "predict.window", 16, "greater than or equal to 32"),
        (PredictParams, "predict.precision", "float64", "'mixed_bfloat16'"),
        (ExtractParams, "extract.max_bytes", 0, "greater than 0"),
        (MasksParams, "masks.rasterisation", "skimage", "'official' or 'center'"),
        (TileParams, "tile.size", 8, "greater than or equal to 16"),
        (TileParams, "tile.stride", 0, "greater than or equal to 1"),
        (TileParams, "tile.protocol", "monusac", "'archive', 'challenge' or 'kumar'"),
        (TileParams, "tile.validation.fraction", 0, "greater than 0"),
        (TileParams, "tile.validation.fraction", 1, "less than 1"),
        (TileParams, "tile.validation.folds", 1, "greater than or equal to 2"),
        (BaselineParams, "baseline.sigma", -0.5, "greater than or equal to 0"),
        (EvaluateParams, "evaluate.splits", [], "at least 1 item"),
        (EvaluateParams, "evaluate.splits", ["tset"], "'train', 'validation' or 'test'"),
        (EvaluateParams, "evaluate.threshold", 1.0, "evaluate.threshold"),
        (EvaluateParams, "evaluate.threshold", "best", "evaluate.threshold"),
        (EvaluateParams, "evaluate.nuclei.smoothing", [], "at least 1 item"),
        (EvaluateParams, "evaluate.nuclei.min_distance", [0], "greater than or equal to 1"),
        (ReportParams, "report.overlays", -1, "greater than or equal to 0"),
        (DatasetParams, "dataset.source", "ftp", "'synthetic', 'gdrive', 'file' or 'url'"),
        (DatasetParams, "dataset.synthetic.height", 16, "greater than or equal to 32"),
        (DatasetParams, "dataset.synthetic.train_images", 0, "greater than or equal to 1"),
    ],
)
def test_a_bad_value_is_named_by_its_key(
    block: type[Block], key: str, value: object, said: str, set_params: SetParams
) -> None:
    set_params({key: value})
    message = error_of(block)
    assert re.match(rf"params\.yaml: {re.escape(key)}[.:]", message)
    assert said in message


@pytest.mark.parametrize(
    ("block", "values", "said"),
    [
        (TileParams, {"tile.size": 32, "tile.stride": 33}, "params.yaml: tile: a stride above"),
        (
            TileParams,
            {"tile.validation.method": "named"},
            "params.yaml: tile.validation: method `named` needs",
        ),
        (
            TileParams,
            {"tile.validation.method": "organs"},
            "params.yaml: tile.validation: method `organs` needs",
        ),
        (
            TileParams,
            {"tile.validation.fold": 5},
            "params.yaml: tile.validation: `fold` counts from 0",
        ),
        (
            TileParams,
            {"tile.validation.images": ["a", "a"]},
            "params.yaml: tile.validation: an id is listed twice",
        ),
        (
            TileParams,
            {"tile.validation.organs": ["lung", "lung"]},
            "params.yaml: tile.validation: an organ is listed twice",
        ),
        (PredictParams, {"predict.overlap": 257}, "params.yaml: predict: `overlap` must be"),
        (
            TrainParams,
            {"train.augmentation.scale": [1.2, 0.8]},
            "params.yaml: train.augmentation: `scale` is [lowest",
        ),
        (
            TrainParams,
            {"train.outputs": ["boundary", "nucleus"]},
            "params.yaml: train: `outputs` begins with nucleus",
        ),
        (
            TrainParams,
            {"train.output_weights": {"boundary": 2.0}},
            "params.yaml: train: `output_weights` names what `outputs` does not",
        ),
    ],
)
def test_values_that_contradict_each_other_are_named(
    block: type[Block], values: dict[str, object], said: str, set_params: SetParams
) -> None:
    set_params(values)
    assert error_of(block).startswith(said)


def test_an_error_says_how_many_more_there_are(set_params: SetParams) -> None:
    set_params({"tile.size": 1, "tile.stride": 0, "tile.protocol": "x"})
    assert error_of(TileParams).endswith(", found 1 (and 2 more)")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: 1\nb: [1\n", "params.yaml, line 3: no valid YAML: expected"),
        (b"a: 1\nb: {1]\n", "params.yaml, line 2: no valid YAML: expected"),
        (b"a: \xff", "params.yaml, line 1: no valid YAML: not in UTF-8"),
        (b"a: \x01", "params.yaml: no valid YAML: "),
        (b"- a", "params.yaml: expected a mapping of blocks, found list"),
        (b"", "params.yaml: expected a mapping of blocks, found nothing; restore it from git"),
    ],
)
def test_what_is_no_params_file_is_named(project: Path, content: bytes, said: str) -> None:
    (project / "params.yaml").write_bytes(content)
    with pytest.raises(PipelineError, match=re.escape(said)) as caught:
        read_params()
    assert "\n" not in str(caught.value)


def test_a_missing_params_file_says_where_to_run(project: Path) -> None:
    (project / "params.yaml").unlink()
    assert error_of(MasksParams) == "params.yaml is missing; run this in the project's folder"


def test_the_list_of_models_is_a_block_too(set_params: SetParams) -> None:
    set_params({"models": ["unet", "segnet"]})
    assert ModelsParams.load().names == ["unet", "segnet"]
    set_params({"models": []})
    assert error_of(ModelsParams).startswith("params.yaml: models.names: ")


def test_yaml_is_read_as_dvc_reads_it(project: Path) -> None:
    # YAML 1.1 would make a truth of `on` and a text of `1e-3`.
    file = project / "params.yaml"
    file.write_text("train:\n  xla: on\n  weight_decay: 1e-3\n  name: 0b\n", encoding="utf-8")
    assert read_params() == {"train": {"xla": "on", "weight_decay": 0.001, "name": "0b"}}


def test_a_key_that_stands_twice_is_refused(project: Path) -> None:
    (project / "params.yaml").write_text("tile: {size: 1}\ntile: {size: 2}\n", encoding="utf-8")
    with pytest.raises(
        PipelineError, match=r"params\.yaml, line 2: no valid YAML: .*duplicate key"
    ):
        read_params()
