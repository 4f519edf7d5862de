"""Which images are to be segmented, and where the results of each go."""

import csv
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monuseg.core.errors import PipelineError, tell, without_secrets
from monuseg.core.settings import whole_number
from monuseg.readers.resolution import require_plausible
from monuseg.readers.slides import SUFFIXES
from monuseg.segment.outputs.writing import SUFFIXES as OF_RESULTS
from monuseg.segment.staging import is_url, path_of

SHOWN = 5  # names of skipped files
PATH, UM_PER_PIXEL, REGION = "path", "um_per_pixel", "region"  # columns of a list of slides

Stated = tuple[float | None, Path | None]  # of an image in a list: um_per_pixel and region


@dataclass(frozen=True)
class Input:
    """An image to segment.

    Attributes:
        path: of the file; of one elsewhere what results are called by.
        place: path of its results without suffix.
        um_per_pixel: as a list of slides states it, or None.
        region: file of drawn regions, as a list of slides names it, or None.
        url: of a file elsewhere; see `monuseg.segment.staging`.
    """

    path: Path
    place: Path
    um_per_pixel: float | None = None
    region: Path | None = None
    url: str | None = None

    @property
    def shown(self) -> str:
        """As messages and tables name it."""
        return without_secrets(self.url) if self.url else str(self.path)


def inputs_of(named: Sequence[str | Path], listed: Path | None, output: Path) -> list[Input]:
    """The images to segment: files as they are named, folders replaced by the images in them.

    Results are called as the image is. Where several images have the same name but for case and
    suffix, theirs lie in folders as the images do, and the suffix stays in the name if it must.

    Args:
        named: files and folders, and URLs as text.
        listed: a CSV file with a column `path`, relative to the file or a URL, and perhaps
            `um_per_pixel` and `region`, a path too.
        output: the folder of the results.

    Raises:
        PipelineError: there is no image, a folder has none, or the list is not as it should be.
    """
    stated: dict[Path, Stated] = {}
    urls: dict[Path, str] = {}
    for one in named:
        if isinstance(one, str):
            stated[_called(one, urls)] = (None, None)
        else:
            # `Path.is_dir` raises where a name is too long.
            folder = os.path.isdir(one)  # noqa: PTH112
            stated |= dict.fromkeys(_images_in(one) if folder else [one], (None, None))
    if listed is not None:
        stated |= _listed(listed, urls)
    if not stated:
        raise PipelineError("no image is named; name files or folders, or a list with --slides")
    names = _names(list(stated))
    return [
        Input(path, output / names[path], *values, url=urls.get(path))
        for path, values in stated.items()
    ]


def refuse_to_replace(inputs: Sequence[Input], summary: Path, files: Iterable[Path | None]) -> None:
    """Refuse results that would take the place of what is read.

    Args:
        inputs: of all shards, from `inputs_of`.
        summary: the table of all images.
        files: that options name; None where one does not.

    Raises:
        PipelineError: a result would replace an image, its file of regions or one of `files`.
    """
    read = {_real(one.path) for one in inputs}
    read |= {_real(file) for file in [*files, *(one.region for one in inputs)] if file is not None}
    results = [(summary, "the table of all images")]
    for one in inputs:
        places = (one.place.with_name(one.place.name + suffix) for suffix in OF_RESULTS)
        results += [(place, f"the result of {one.shown}") for place in places]
    for place, what in results:
        if _real(place) in read:
            raise PipelineError(
                f"{place} is to be read, but {what} would replace it; give another --output"
            )


def _real(path: Path) -> Path:
    """With links followed, also one that leads to itself, which `Path.resolve` refuses."""
    return Path(os.path.realpath(path))


def _called(url: str, urls: dict[Path, str]) -> Path:
    """The path that stands for a URL, which is added to those known."""
    path = path_of(url)
    if urls.setdefault(path, url) != url:
        raise PipelineError(
            f"{url}: named twice, with another login or other words after `?`; name it once"
        )
    return path


def share(inputs: Sequence[Input], shard: str | None) -> list[Input]:
    """Those of a shard, `I/N`: every Nth from the Ith; all without one.

    Raises:
        PipelineError: it is no such fraction.
    """
    if shard is None:
        return list(inputs)
    first, _, count = shard.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise PipelineError(f"--shard {shard}: not I/N with I from 1 to N, as 3/16")
    return list(inputs[int(first) - 1 :: int(count)])


def shard_of_array(images: int, environment: Mapping[str, str] = os.environ) -> str | None:
    """The share, `I/N`, of this task of a job array of SLURM; None outside of one.

    Args:
        images: how many there are to share.
        environment: with SLURM's variables.

    Raises:
        PipelineError: the array's numbers are none, not evenly spaced, or more than images.
    """
    task, count, least, most, step = (
        whole_number(environment, f"SLURM_ARRAY_TASK_{name}", smallest)
        for name, smallest in (("ID", 0), ("COUNT", 1), ("MIN", 0), ("MAX", 0), ("STEP", 1))
    )
    if task is None or count is None:
        return None
    first, step = 1 if least is None else least, step or 1
    place, rest = divmod(task - first, step)
    if rest or not 0 <= place < count or most not in (None, first + step * (count - 1)):
        raise PipelineError(
            f"SLURM_ARRAY_TASK_ID: {task}: the array's numbers have gaps; give --shard I/N"
        )
    if images < count:
        raise PipelineError(
            f"SLURM_ARRAY_TASK_COUNT: {count} tasks would share {images} images; start no more "
            "tasks than images, or give --shard 1/1 if each is called with its own"
        )
    tell(f"shard {place + 1}/{count}, by SLURM_ARRAY_TASK_ID (--shard sets another)")
    return f"{place + 1}/{count}"


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """Names of results that differ, as file systems compare them that ignore case."""
    above = Path(os.path.commonpath([_real(path).parent for path in paths]))
    kinds = (
        lambda path: path.stem,
        lambda path: str(_real(path).relative_to(above).with_name(path.stem)),
        lambda path: str(_real(path).relative_to(above)),
    )
    # That of `a.png.tif` without its suffix may be the last resort of `a.png`.
    whole = _by_name(paths, kinds[-1])
    names: dict[Path, str] = {}
    left = list(paths)
    for kind in kinds:
        own = {
            group[0]: kind(group[0])
            for name, group in _by_name(left, kind).items()
            if len(group) == 1 and whole.get(name, group) == group
        }
        names |= own
        left = [path for path in left if path not in own]
    for first, second, *_ in _by_name(left, kinds[-1]).values():
        if _real(first) == _real(second):
            raise PipelineError(f"{first} and {second} are the same file; name it once")
        raise PipelineError(
            f"{first} and {second} differ only in case or in how accents are stored, and so would "
            "their results; rename one"
        )
    return {path: names[path] for path in paths}


def _by_name(paths: Sequence[Path], kind: Callable[[Path], str]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(unicodedata.normalize("NFC", kind(path)).casefold(), []).append(path)
    return groups


def _listed(file: Path, urls: dict[Path, str]) -> dict[Path, Stated]:
    stated: dict[Path, Stated] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = csv.DictReader(text, skipinitialspace=True)
            rows.fieldnames = [name.strip() for name in rows.fieldnames or []]
            if PATH not in rows.fieldnames:
                raise PipelineError(f"{file}: no column `{PATH}`; name the column of the slides so")
            for row in rows:
                value = _stated(row.get(UM_PER_PIXEL), f"{file}, line {rows.line_num}")
                slide, region = ((row.get(name) or "").strip() for name in (PATH, REGION))
                if not slide or "\0" in slide + region:
                    raise PipelineError(f"{file}, line {rows.line_num}: no path; name the slide")
                path = _called(slide, urls) if is_url(slide) else file.parent / slide
                said = value, file.parent / region if region else None
                if stated.setdefault(path, said) != said:
                    raise PipelineError(
                        f"{file}, line {rows.line_num}: named before, with another "
                        f"`{UM_PER_PIXEL}` or `{REGION}`; name a slide once, and draw all its "
                        "regions in one file"
                    )
    except FileNotFoundError as error:
        raise PipelineError(f"--slides {file}: no such file; correct the path") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise PipelineError(
            f"--slides {file}: no file; name a CSV file, and a folder of images without --slides"
        ) from error
    except (ValueError, csv.Error) as error:
        raise PipelineError(f"{file}: not a readable CSV file ({error}); mend it") from error
    return stated


def _stated(text: str | None, where: str) -> float | None:
    if not text or not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        raise PipelineError(f"{where}: um_per_pixel: {text!r} is no number; mend it") from None
    require_plausible(value, name=f"{where}: um_per_pixel")
    return value


def _images_in(folder: Path) -> list[Path]:
    entries = sorted(folder.iterdir())
    images = [path for path in entries if _is_image(path)]
    taken = set(images)
    skipped = [path.name for path in entries if path not in taken]
    if skipped:
        more = ", ..." if len(skipped) > SHOWN else ""
        names = ", ".join(skipped[:SHOWN])
        tell(f"{folder}: {len(skipped)} skipped that are no images: {names}{more}")
    if not images:
        raise PipelineError(f"{folder}: no image in it; give a folder that holds images itself")
    return images


def _is_image(path: Path) -> bool:
    return (
        path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and not path.name.endswith(OF_RESULTS)
        and path.is_file()
    )
