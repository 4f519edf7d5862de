"""One image or slide, from its pixels to the files of its results."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monuseg.core.errors import PipelineError
from monuseg.core.locks import exclusive
from monuseg.formats.images import read_labels, write_rgb
from monuseg.inference.sliding_window import Floats, Forward, Pixels
from monuseg.readers.slides import open_slide
from monuseg.segment import blocks
from monuseg.segment import slide as of_slide
from monuseg.segment.models import ModelChoice
from monuseg.segment.outputs.writing import Written
from monuseg.segment.slide import Choices, segment_slide
from tests.monuseg.readers.slides_made import aperio, damage
from tests.monuseg.segment.networks import (
    NAMED,
    UM,
    contents,
    darkness,
    files,
    network,
    small_blocks,
    two_discs,
)

pytest.importorskip("openslide", reason="OpenSlide is not installed")

HEIGHT, WIDTH = 600, 720  # nine blocks
NUCLEI = 6 * 8
WINDOWS = 4 * 4
LARGEST = 36  # pixels across a nucleus
ALL = Choices(formats=("labels", "csv", "parquet", "geojson", "overlay", "tissue"))
UNFINISHED = ".a.unfinished"


def scattered(height: int = HEIGHT, width: int = WIDTH, background: int = 235) -> np.ndarray:
    """Dark discs on pale noise, which no compression makes small."""
    generator = np.random.default_rng(0)
    image = generator.integers(background - 4, background, (height, width, 3), np.uint8)
    rows, columns = np.indices((41, 41)) - 20
    for y in range(20, height - 41, 90):
        for x in range(20, width - 41, 90):
            radius = generator.integers(6, 18)
            image[y : y + 41, x : x + 41][rows**2 + columns**2 <= radius**2] = (60, 30, 120)
    return image


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of nine blocks; not to be changed."""
    return aperio(tmp_path_factory.mktemp("slides") / "a.svs", scattered())


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Of 120 x 90 pixels and two nuclei."""
    write_rgb(tmp_path / "a.png", two_discs())
    return tmp_path / "a.png"


def run(
    path: Path,
    output: Path,
    choices: Choices = ALL,
    *,
    forward: Forward = darkness,
    named: ModelChoice = NAMED,
    um_per_pixel: float = UM,
    progress: blocks.Progress | None = None,
) -> Written:
    with open_slide(path, um_per_pixel=choices.um_per_pixel) as opened:
        net = network(forward)
        if path.suffix == ".svs":  # fewer and larger windows
            net = replace(net, params=net.params.model_copy(update={"window": 192}))
        return segment_slide(
            opened, um_per_pixel, named, net, choices, output / path.stem, progress
        )


def refused(pixels: Pixels) -> Floats:
    raise AssertionError("computed once more")


class Killed(BaseException):
    """In place of a signal."""


def test_all_results_are_of_the_same_nuclei(slide: Path, tmp_path: Path) -> None:
    written = run(slide, tmp_path)
    labels = read_labels(tmp_path / "a.nuclei.png")
    table = pd.read_csv(tmp_path / "a.nuclei.csv")
    assert written.nuclei == len(table) == labels.max() == NUCLEI
    assert table["label"].tolist() == list(range(1, len(table) + 1))
    assert table["area"].tolist() == np.bincount(labels.ravel())[1:].tolist()
    centres = table[["y", "x"]].round().astype(int).to_numpy()
    assert labels[centres[:, 0], centres[:, 1]].tolist() == table["label"].tolist()
    found = json.loads((tmp_path / "a.nuclei.geojson").read_text())["features"]
    measured = [one["properties"]["measurements"] for one in found]
    assert [one["Label"] for one in measured] == table["label"].tolist()
    assert [one["Area px^2"] for one in measured] == table["area"].tolist()
    pixels = pd.read_parquet(tmp_path / "a.nuclei.parquet")
    pd.testing.assert_frame_equal(pixels, table, check_dtype=False, atol=1e-4)
    assert files(tmp_path) == sorted([*(f"a{one}" for one in written.files), "a.nuclei.json"])


def test_what_is_done_is_not_done_again(image: Path, tmp_path: Path) -> None:
    first = run(image, tmp_path / "out")
    before = contents(tmp_path / "out")
    assert run(image, tmp_path / "out", forward=refused) == first
    assert contents(tmp_path / "out") == before


Change = Callable[[Path, pytest.MonkeyPatch], dict[str, object]]


def repainted(image: Path, _: pytest.MonkeyPatch) -> dict[str, object]:
    write_rgb(image, two_discs()[::-1])
    return {}


def another_version(_: Path, patch: pytest.MonkeyPatch) -> dict[str, object]:
    patch.setattr(of_slide, "version", lambda name: "999")
    return {}


def a_lost_file(image: Path, _: pytest.MonkeyPatch) -> dict[str, object]:
    (image.parent / "out/a.nuclei.csv").unlink()
    return {}


def a_damaged_record(image: Path, _: pytest.MonkeyPatch) -> dict[str, object]:
    (image.parent / "out/a.nuclei.json").write_text('{"of": 1')
    return {}


def with_(**changed: object) -> Change:
    return lambda image, patch: changed


CHANGES: dict[str, Change] = {
    "image": repainted,
    "weights": with_(named=replace(NAMED, identity=["of others"])),
    "settings": with_(named=replace(NAMED, settings=replace(NAMED.settings, threshold=0.6))),
    "version": another_version,
    "formats": with_(choices=Choices(formats=("csv",))),
    "resolution": with_(um_per_pixel=0.26),
    "simplification": with_(choices=replace(ALL, simplify=1.0)),
    "search": with_(choices=replace(ALL, tissue="none")),
    "lost file": a_lost_file,
    "record": a_damaged_record,
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_is_done_again(
    what: str, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(image, tmp_path / "out")
    changed = CHANGES[what](image, monkeypatch)
    with pytest.raises(AssertionError, match="computed once more"):
        run(image, tmp_path / "out", forward=refused, **changed)  # type: ignore[arg-type]
    again = run(image, tmp_path / "out", **changed)  # type: ignore[arg-type]
    run(image, tmp_path / "fresh", **changed)  # type: ignore[arg-type]
    there, fresh = contents(tmp_path / "out"), contents(tmp_path / "fresh")
    record, expected = (json.loads(one.pop("a.nuclei.json")) for one in (there, fresh))
    stay = record.pop("beside", [])  # of the same nuclei, in other formats
    assert record == expected
    assert there.items() >= fresh.items()
    assert there.keys() - fresh.keys() == {f"a{suffix}" for suffix in stay}
    assert again == run(image, tmp_path / "out", forward=refused, **changed)  # type: ignore[arg-type]


def test_results_of_other_settings_do_not_stay_beside_the_new(image: Path, tmp_path: Path) -> None:
    run(image, tmp_path / "out")
    other = replace(NAMED, settings=replace(NAMED.settings, min_area=400))
    run(image, tmp_path / "out", Choices(formats=("csv",)), named=other)
    assert files(tmp_path / "out") == ["a.nuclei.csv", "a.nuclei.json"]


def test_results_of_the_same_nuclei_stay_beside_others(image: Path, tmp_path: Path) -> None:
    run(image, tmp_path / "out", Choices(formats=("csv",)))
    run(image, tmp_path / "out", Choices(formats=("geojson",)))
    assert files(tmp_path / "out") == ["a.nuclei.csv", "a.nuclei.geojson", "a.nuclei.json"]


def test_files_of_two_settings_are_never_taken_for_done(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(image, tmp_path / "out")
    expected = contents(tmp_path / "out")
    other = replace(NAMED, settings=replace(NAMED.settings, min_area=400))
    whole = of_slide.write_all

    def killed(*arguments: object, **named: object) -> Written:
        whole(*arguments, **named)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(of_slide, "write_all", killed)
        with pytest.raises(Killed):
            run(image, tmp_path / "out", named=other)
    run(image, tmp_path / "out")
    assert contents(tmp_path / "out") == expected


def test_regions_that_were_drawn_anew_are_searched_anew(image: Path, tmp_path: Path) -> None:
    def draw(left: int) -> None:
        ring = [[left, 0], [left + 50, 0], [left + 50, 90], [left, 90], [left, 0]]
        (tmp_path / "r.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))

    here = replace(ALL, tissue=str(tmp_path / "r.geojson"))
    draw(0)
    run(image, tmp_path / "out", here)
    before = (tmp_path / "out/a.tissue.geojson").read_text()
    draw(60)
    run(image, tmp_path / "out", here)
    assert (tmp_path / "out/a.tissue.geojson").read_text() != before


def test_blocks_that_drawn_tissue_touches_are_done_whole(slide: Path, tmp_path: Path) -> None:
    """Also beyond the windows that it touches, and as they are without it."""
    ring = [[5, 5], [30, 5], [30, 30], [5, 30], [5, 5]]
    (tmp_path / "r.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    drawn = replace(ALL, formats=("csv",), tissue=str(tmp_path / "r.geojson"))
    run(slide, tmp_path / "drawn", drawn)
    run(slide, tmp_path / "all", replace(drawn, tissue="none"))
    found, every = (pd.read_csv(tmp_path / name / "a.nuclei.csv") for name in ("drawn", "all"))
    first = every[(every.x < 256) & (every.y < 256)].drop(columns="label")  # of the first block
    assert len(first) == 9 < len(every)
    pd.testing.assert_frame_equal(found.drop(columns="label"), first, check_index_type=False)


def test_no_file_of_other_weights_stays_after_runs_of_several_formats(
    image: Path, tmp_path: Path
) -> None:
    run(image, tmp_path / "out", Choices(formats=("csv", "geojson")))
    run(image, tmp_path / "out", Choices(formats=("labels",)))
    assert {"a.nuclei.geojson", "a.nuclei.csv", "a.nuclei.png"} < {*files(tmp_path / "out")}
    other = replace(NAMED, identity=["of others"])
    run(image, tmp_path / "out", Choices(formats=("csv",)), named=other)
    assert files(tmp_path / "out") == ["a.nuclei.csv", "a.nuclei.json"]


@pytest.mark.parametrize("when", ["after a block", "while computing"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    when: str, slide: Path, tmp_path: Path
) -> None:
    run(slide, tmp_path / "whole")
    computed = []

    def counted(pixels: Pixels) -> Floats:
        computed.append(len(pixels))
        if when == "while computing" and len(computed) == 10:
            raise Killed
        return darkness(pixels)

    def stopped(done: int, nuclei: int) -> None:
        if when == "after a block" and done == 2:
            raise Killed

    with pytest.raises(Killed):
        run(slide, tmp_path / "out", forward=counted, progress=stopped)
    kept = [name for name in files(tmp_path / "out") if name.endswith(".npz")]
    assert kept
    assert not [name for name in files(tmp_path / "out") if not name.startswith(UNFINISHED)]
    first, computed[:] = len(computed), []
    steps: list[int] = []
    when = "again"
    run(
        slide,
        tmp_path / "out",
        forward=counted,
        progress=lambda done, nuclei: steps.append(done),
    )
    assert steps == list(range(len(kept) + 1, 10))
    assert 0 < len(computed) < WINDOWS
    assert first + len(computed) >= WINDOWS
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


KILLED = """
import sys, time
from pathlib import Path
from monuseg.readers.slides import open_slide
import pytest
from tests.monuseg.segment.networks import small_blocks
from tests.monuseg.segment.test_slide import ALL, run

small_blocks(pytest.MonkeyPatch())

def progress(done, nuclei):
    print(done, flush=True)
    time.sleep(60 if done == 2 else 0)

run(Path(sys.argv[1]), Path(sys.argv[2]), ALL, progress=progress)
"""


def test_a_killed_process_loses_no_finished_block(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(slide), str(out)],
        cwd=Path(__file__).parents[3], stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line == b"2\n":
                break
        # While it lives, nobody else writes there.
        with pytest.raises(PipelineError, match=rf"process {process.pid} writes these results"):
            run(slide, out, forward=refused)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    steps: list[int] = []
    run(slide, out, progress=lambda done, nuclei: steps.append(done))
    # The third block was being finished when the second was told of.
    assert steps in ([*range(3, 10)], [*range(4, 10)])
    run(slide, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_two_runs_do_not_write_the_same_results(image: Path, tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "out" / UNFINISHED / "lock"),
        pytest.raises(PipelineError, match=rf"process {os.getpid()} writes .*another --output"),
    ):
        run(image, tmp_path / "out")
    run(image, tmp_path / "out")


def test_a_file_that_may_not_grow(slide: Path, tmp_path: Path) -> None:
    """The nearest to a full disk that any user of any machine can have."""
    out = tmp_path / "out"
    code = KILLED.replace("60", "0")
    limit = 30_000
    done = subprocess.run(
        [sys.executable, "-c", code, str(slide), str(out)],
        cwd=Path(__file__).parents[3], capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.stdout.split() == [str(done) for done in range(1, 10)]
    assert "OSError" in done.stderr.splitlines()[-1]
    there = files(out)
    assert [name for name in there if "writing" in name] == []
    assert "a.nuclei.json" not in there
    run(slide, out, forward=refused)
    run(slide, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_no_tissue_has_no_nuclei(tmp_path: Path) -> None:
    glass = aperio(tmp_path / "a.svs", np.full((HEIGHT, WIDTH, 3), 240, np.uint8))
    written = run(glass, tmp_path / "out", forward=refused)
    assert (written.nuclei, written.remarks, written.damaged) == (0, [], [])
    assert json.loads((tmp_path / "out/a.nuclei.geojson").read_text()) == {
        "type": "FeatureCollection", "features": []
    }  # fmt: skip
    assert len(pd.read_csv(tmp_path / "out/a.nuclei.csv")) == 0
    assert len(pd.read_parquet(tmp_path / "out/a.nuclei.parquet")) == 0
    assert read_labels(tmp_path / "out/a.nuclei.png").shape == (HEIGHT, WIDTH)


def test_tissue_from_edge_to_edge_is_searched_as_a_whole(tmp_path: Path) -> None:
    full = aperio(tmp_path / "a.svs", scattered(background=190))
    assert run(full, tmp_path / "out", Choices(formats=("csv",))).nuclei == NUCLEI


def test_a_pen_mark_hides_no_tissue(tmp_path: Path) -> None:
    image = scattered()
    image[:, 380:400] = (20, 20, 200)
    marked = aperio(tmp_path / "a.svs", image)
    run(marked, tmp_path / "out", Choices(formats=("labels",)))
    labels = read_labels(tmp_path / "out/a.nuclei.png")
    far = np.r_[0:350, 430:WIDTH]
    run(aperio(tmp_path / "b.svs", scattered()), tmp_path / "out", Choices(formats=("labels",)))
    unmarked = read_labels(tmp_path / "out/b.nuclei.png")
    np.testing.assert_array_equal(labels[:, far] > 0, unmarked[:, far] > 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (17, 2)])
def test_the_smallest_images(size: tuple[int, int], tmp_path: Path) -> None:
    write_rgb(tmp_path / "a.png", np.full((*size, 3), 250, np.uint8))
    assert run(tmp_path / "a.png", tmp_path / "out").nuclei == 0
    assert read_labels(tmp_path / "out/a.nuclei.png").shape == size


def test_a_damaged_tile_costs_its_own_nuclei_alone(slide: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a.svs"
    copy.write_bytes(slide.read_bytes())
    damage(copy, page=0, tile=1 * 3 + 1)
    written = run(copy, tmp_path / "out")
    run(slide, tmp_path / "whole")
    lost = read_labels(tmp_path / "whole/a.nuclei.png") > 0
    lost &= read_labels(tmp_path / "out/a.nuclei.png") == 0
    rows, columns = np.nonzero(lost)
    assert 1000 < len(rows) <= 256**2
    assert {int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())} <= set(
        range(256 - LARGEST, 512 + LARGEST)
    )
    assert written.damaged == [[256, 512, 256, 512]]
    assert run(copy, tmp_path / "out", forward=refused) == written
    # Fetched again, it has the same size, beginning and end.
    copy.write_bytes(slide.read_bytes())
    assert run(copy, tmp_path / "out").damaged == []
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_damage_is_remembered_when_a_run_goes_on(slide: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a.svs"
    copy.write_bytes(slide.read_bytes())
    damage(copy, page=0, tile=0)

    def stopped(done: int, nuclei: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        run(copy, tmp_path / "out", progress=stopped)
    written = run(copy, tmp_path / "out")
    assert written == run(copy, tmp_path / "whole")
    assert written.damaged
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
