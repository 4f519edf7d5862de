"""The models of params.yaml, and the lines of dvc.yaml that name them one by one."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from monuseg.core.errors import PipelineError
from monuseg.core.params import parse_yaml, read_params
from monuseg.core.paths import PARAMS
from monuseg.formats.rows import row_names
from monuseg.models.shared.registry import is_model

DVC_YAML = Path("dvc.yaml")

# What names a row in a path of dvc.yaml.
OF_A_ROW = re.compile(r"(?:data/predictions|data/nuclei|metrics)/(\w+)(?:\.json)?")


def model_names(params: Path = PARAMS) -> list[str]:
    """The list `models` of a params file.

    Raises:
        PipelineError: it is not a list of distinct names of folders in monuseg/models.
    """
    names = read_params(params).get("models")
    if not isinstance(names, list) or not names:
        raise PipelineError(f"{PARAMS}: models: expected a list of at least one model")
    for name in names:
        if not is_model(name) or names.count(name) > 1:
            raise PipelineError(
                f"{PARAMS}: models: {name!r} is listed twice or has no monuseg/models/{name}/"
            )
    return names


def check_graph(models: Sequence[str]) -> None:
    """Find the first line of dvc.yaml that a model lacks, or that a model taken out has left.

    DVC loops over `models` where a stage is made for each of them, and cannot where one stage
    depends on all of them. It says nothing of such lines: a model without them is trained and
    never scored, one taken out goes on being averaged.

    Args:
        models: of params.yaml.

    Raises:
        PipelineError: there is one.
    """
    try:
        content = parse_yaml(DVC_YAML.read_text(encoding="utf-8"))
        places = list(_places(content, row_names(models), models))
    except (KeyError, TypeError, AttributeError) as error:
        raise PipelineError(
            f"{DVC_YAML}: not the graph of this project ({error!r}); restore it from git"
        ) from error
    for place, found, wanted, line in places:
        for name in wanted:
            if name not in found:
                raise PipelineError(
                    f"{DVC_YAML}: {place}: `{line.format(name)}` is missing; add it, or take "
                    f"{name} out of `models` in {PARAMS}"
                )
        for name in found:
            if name not in wanted:
                raise PipelineError(
                    f"{DVC_YAML}: {place}: `{line.format(name)}` is left of a model that "
                    f"{PARAMS} does not list; remove it"
                )


def _places(
    content: Any, rows: list[str], models: Sequence[str]
) -> Iterator[tuple[str, list[str], Sequence[str], str]]:
    """Each place of dvc.yaml with names in it: place, names found, names wanted, a line of it."""
    stages = content["stages"]
    learned = rows[:-1]  # the report shows no nuclei of the baseline
    yield "stages.evaluate.foreach", stages["evaluate"]["foreach"], rows, "{}"
    ensemble, report = stages["ensemble"]["deps"], stages["report"]["deps"]
    yield "stages.ensemble.deps", _named(ensemble, OF_A_ROW), models, "data/predictions/{}"
    metrics = [path for path in report if path.endswith(".json")]
    yield "stages.report.deps", _named(metrics, OF_A_ROW), rows, "metrics/{}.json"
    nuclei = [path for path in report if path.startswith("data/nuclei/")]
    yield "stages.report.deps", _named(nuclei, OF_A_ROW), learned, "data/nuclei/{}"
    figures = {
        "metrics/history/{}.csv": models,
        "metrics/curves/{}.csv": learned,
        "metrics/per_image/{}.csv": rows,
    }
    for figure in content["plots"]:
        for title, plot in figure.items():
            for line, wanted in figures.items():
                if named := _named(plot["y"], re.compile(line.format(r"(\w+)"))):
                    yield f"plots.{title}.y", named, wanted, line
    yield "artifacts", list(content["artifacts"]), models, "{}"


def _named(paths: Sequence[str], pattern: re.Pattern[str]) -> list[str]:
    return [match[1] for path in paths if (match := pattern.fullmatch(path))]
