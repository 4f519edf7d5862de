"""`monuseg segment` as a user calls it: what it says, leaves and ends with."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from monuseg.core.command import parser, run
from monuseg.core.errors import PipelineError
from monuseg.core.locks import exclusive
from monuseg.formats.images import read_labels, write_rgb
from monuseg.segment import command
from monuseg.segment.arguments import add_segment_arguments
from tests.monuseg.readers.slides_made import aperio, damage
from tests.monuseg.segment.networks import (
    NAMED,
    contents,
    files,
    network,
    save_settings,
    save_unet,
    two_discs,
)
from tests.repository import REPOSITORY

pytest.importorskip("openslide", reason="OpenSlide is not installed")

CAFE = "caf\udce9"  # bytes that are no UTF-8
WHOLE = [sys.executable, "-c", """
import sys
from monuseg.__main__ import main
try:
    main()
finally:
    known = ["openvino", "openvino_telemetry", "tensorflow"]
    print("loaded:", *(name for name in known if sys.modules.get(name)))
"""]  # fmt: skip
# The same with a network whose answer is known, which loads at once.
STANDING_IN = """
import pytest
from monuseg.__main__ import main
from monuseg.segment import command
from tests.monuseg.segment.networks import NAMED, network, small_blocks
command.find, command.load = lambda model: NAMED, lambda named, params: network()
small_blocks(pytest.MonkeyPatch())
main()
"""


def environment() -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MONUSEG_", "KERAS_"))
    }
    return {**inherited, "MONUSEG_WORKERS": "1", "PYTHONPATH": str(REPOSITORY)}


def called(
    words: list[str], folder: Path, program: list[str] = WHOLE
) -> subprocess.CompletedProcess[str]:
    """The command in a folder that is no project."""
    return subprocess.run(
        [*program, "segment", *words],
        cwd=folder,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and images; in `list.csv` all that are sound. Not to be changed."""
    folder = tmp_path_factory.mktemp("work")
    save_unet(folder / "models")
    save_settings(folder / "predictions", "unet")
    for name in ("images/a.png", "images/a b é.png", "other/a.png", f"images/{CAFE}.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        write_rgb(folder / name, two_discs())
    slide = np.full((300, 400, 3), 250, np.uint8)
    slide[:90, 100:220] = two_discs()
    aperio(folder / "s.svs", slide, factors=(4,))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    lines = ["images/a.png,", "images/a b é.png,0.5", "other/a.png,", "s.svs,"]
    (folder / "list.csv").write_text("\n".join(["path,um_per_pixel", *lines]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def on_openvino(work: Path) -> subprocess.CompletedProcess[str]:
    """All images, into the folder `nuclei`."""
    words = ["images", "other/a.png", "s.svs", "broken.jpg", "gone.png"]
    return called([*words, "--model", "models/unet.json", "--backend", "openvino"], work)


def test_what_it_says_and_ends_with(
    work: Path, on_openvino: subprocess.CompletedProcess[str]
) -> None:
    assert on_openvino.returncode == 2
    *lines, last, loaded = on_openvino.stdout.splitlines()
    assert loaded == "loaded: openvino"
    assert last == "results: nuclei"
    assert "s.svs: 2 nuclei at 0.25 um per pixel (openslide), 4 views" in lines
    assert "images/a b é.png: 2 nuclei at 0.25 um per pixel (default), 4 views" in lines
    said = on_openvino.stderr.splitlines()
    assert sum("no resolution stated, the model's 0.25 um" in line for line in said) == 4
    assert any(line.startswith("broken.jpg: ") for line in said)
    assert "gone.png: no such file; correct the path" in said
    assert said[-1] == (
        "error: 2 of 7 images failed or are damaged, broken.jpg first; nuclei/segment.csv says why"
    )
    assert "Traceback" not in on_openvino.stderr


@pytest.mark.usefixtures("on_openvino")
def test_the_table_of_all(work: Path) -> None:
    table = pd.read_csv(work / "nuclei/segment.csv")
    assert table["results"].tolist() == [
        "a b é", "images/a", "caf\\udce9", "other/a", "s", "broken", "gone"
    ]  # fmt: skip
    assert table["nuclei"].fillna(-1).tolist() == [2] * 5 + [-1] * 2
    assert table["error"].notna().tolist() == [False] * 5 + [True] * 2
    for place in ("a b é", "images/a", CAFE, "other/a", "s"):
        assert read_labels(work / f"nuclei/{place}.nuclei.png").max() == 2
        assert len(json.loads((work / f"nuclei/{place}.nuclei.geojson").read_text())["features"])


@pytest.mark.usefixtures("on_openvino")
def test_another_backend_finds_the_same_nuclei(work: Path) -> None:
    if not importlib.util.find_spec("tensorflow"):
        pytest.skip("TensorFlow is not installed")
    done = called(
        ["s.svs", "--model", "models", "--backend", "tensorflow", "--output", "tensorflow"], work
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "tensorflow" in done.stdout.splitlines()[-1]
    ours, theirs = (work / folder / "s.nuclei.png" for folder in ("nuclei", "tensorflow"))
    np.testing.assert_array_equal(read_labels(ours), read_labels(theirs))
    tables = [pd.read_csv(work / folder / "s.nuclei.csv") for folder in ("nuclei", "tensorflow")]
    pd.testing.assert_frame_equal(*tables, atol=0.01)


# === With a network whose answer is known ===


@pytest.fixture
def standing_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find", lambda model: NAMED)
    monkeypatch.setattr(command, "load", lambda named, params: network())


@pytest.fixture
def here(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standing_in: None) -> Path:
    """A folder of its own with all images."""
    folder = tmp_path / "here"
    shutil.copytree(work, folder, ignore=shutil.ignore_patterns("nuclei", "tensorflow"))
    monkeypatch.chdir(folder)
    return folder


def parsed(*words: str) -> Namespace:
    made: ArgumentParser = parser("")
    add_segment_arguments(made)
    return made.parse_args(words)


def test_the_shards_of_a_list_are_all_of_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--shard", "1/2"], ["--shard", "2/2"]):
        output = "sharded" if words else "whole"
        run(command.main, parsed("--slides", "list.csv", "--output", output, *words))
    names = {name for name in files(here / "whole") if name != "segment.csv"}
    shards = ["segment-1-of-2.csv", "segment-2-of-2.csv"]
    assert set(files(here / "sharded")) == {*names, *shards}
    assert len(names) == 4 * 4
    for name in names:
        assert (here / "sharded" / name).read_bytes() == (here / "whole" / name).read_bytes()
    tables = [pd.read_csv(here / "sharded" / name) for name in shards]
    assert [len(table) for table in tables] == [2, 2]
    whole = pd.read_csv(here / "whole/segment.csv")
    assert sorted(pd.concat(tables)["image"]) == sorted(whole["image"])
    assert whole["um_per_pixel"].tolist() == [0.25, 0.5, 0.25, 0.25]
    assert "a b é.png: 2 nuclei at 0.5 um per pixel (given)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("formats", "suffixes"),
    [
        ("labels", [".nuclei.png"]),
        ("csv", [".nuclei.csv"]),
        ("parquet", [".nuclei.parquet"]),
        ("geojson", [".nuclei.geojson"]),
        ("overlay", [".overlay.png"]),
        ("tissue", [".tissue.geojson"]),
        ("csv, labels,csv", [".nuclei.csv", ".nuclei.png"]),
    ],
)
def test_what_is_written(formats: str, suffixes: list[str], here: Path) -> None:
    if "parquet" in formats:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    run(command.main, parsed("other/a.png", "--write", formats))
    expected = sorted([*(f"a{suffix}" for suffix in suffixes), "a.nuclei.json", "segment.csv"])
    assert files(here / "nuclei") == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["s.svs", "--write", "csv,qupath"], "--write: 'qupath' is none of labels, csv, parquet"),
        (["s.svs", "--write", ""], "--write: '' is none of"),
        (["s.svs", "--um-per-pixel", "40"], "--um-per-pixel: 40.*magnification"),
        (["s.svs", "--simplify", "-1"], "--simplify -1: not a number of pixels"),
        (["s.svs", "--tissue", "gone.geojson"], "--tissue gone.geojson: not a readable file"),
        (["s.svs", "--region", "gone.geojson"], "--region gone.geojson: not a readable file"),
        (["s.svs", "--region", "list.csv"], "list.csv: malformed JSON"),
        (["s.svs", "--shard", "3/2"], "--shard 3/2: not I/N"),
        (["--slides", "gone.csv"], "--slides gone.csv: no such file; correct the path"),
        (["--slides", "images"], "--slides images: no file; name a CSV file"),
        (["--slides", "list.csv/a.csv"], "--slides list.csv/a.csv: no file; name a CSV file"),
        (["--slides", "images/a.png"], "images/a.png: not a readable CSV file"),
        ([], "no image is named; name files or folders"),
        (["models"], "models: no image in it"),
        (["s.svs", "images/../s.svs"], "are the same file; name it once"),
    ],
)
def test_what_cannot_begin_is_one_line(
    words: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run(command.main, parsed(*words, "--output", "out"))
    assert end.value.code == 1
    *before, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert re.search(said, line)
    assert all("skipped" in one for one in before)
    assert not (here / "out").exists()


def test_a_wrong_model_is_one_line(here: Path) -> None:
    done = called(["s.svs", "--model", "unett"], here)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("error: model unett: neither a model that comes along (")
    assert "data/models/unet.json" in line


def test_paths_are_those_of_the_folder_it_is_called_in(
    project: Path, work: Path, standing_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(command, "find", lambda model: seen.append(model) or NAMED)
    below = project / "below"
    below.mkdir()
    shutil.copy(work / "s.svs", below)
    region = {"type": "Polygon", "coordinates": [[[0, 0], [170, 0], [170, 90], [0, 90], [0, 0]]]}
    (below / "region.geojson").write_text(json.dumps(region))
    monkeypatch.chdir(below)
    run(command.main, parsed("s.svs", "--tissue", "region.geojson", "--model", "m/unet.json"))
    assert seen == [str(below / "m/unet.json")]
    assert files(below / "nuclei") == [
        "s.nuclei.csv", "s.nuclei.geojson", "s.nuclei.json", "s.nuclei.png", "segment.csv"
    ]  # fmt: skip


@pytest.mark.parametrize("tissue", ["none", "auto", "region.geojson"])
def test_where_it_looks(tissue: str, here: Path) -> None:
    region = {"type": "Polygon", "coordinates": [[[100, 0], [160, 0], [160, 50], [100, 0]]]}
    (here / "region.geojson").write_text(json.dumps(region))
    run(command.main, parsed("s.svs", "--tissue", tissue, "--write", "csv,tissue"))
    assert (here / "nuclei/s.tissue.geojson").is_file()
    # A block is done as soon as it has tissue.
    assert len(pd.read_csv(here / "nuclei/s.nuclei.csv")) == 2


def draw(path: Path, left: int, right: int) -> None:
    """The discs of `s.svs` have their middles at x 130 and 185."""
    ring = [[left, 0], [right, 0], [right, 90], [left, 90], [left, 0]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))


def test_a_region_is_of_one_image(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(here / "r.geojson", 120, 160)
    run(command.main, parsed("s.svs", "--region", "r.geojson"))
    assert "s.svs: 1 nuclei at 0.25 um per pixel (openslide), 4 views" in capsys.readouterr().out
    [x] = pd.read_csv(here / "nuclei/s.nuclei.csv")["x"]
    assert x == pytest.approx(130)
    for words in (["s.svs", "other/a.png"], ["--slides", "list.csv"]):
        with pytest.raises(SystemExit) as end:
            run(command.main, parsed(*words, "--region", "r.geojson", "--output", "out"))
        assert end.value.code == 1
        [line] = capsys.readouterr().err.splitlines()
        assert re.match(r"error: --region r.geojson: regions of one slide, but \d images", line)
        assert "the column `region` of a list (--slides)" in line
    assert not (here / "out").exists()


def test_a_list_gives_each_slide_its_region(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(here / "s.svs", here / "t.svs")
    shutil.copy(here / "s.svs", here / "u.svs")
    draw(here / "left.geojson", 120, 160)
    draw(here / "off.geojson", 5000, 6000)
    lines = ["path,region", "s.svs,left.geojson", "t.svs,", "u.svs,off.geojson", "images/a.png,x"]
    (here / "regions.csv").write_text("\n".join(lines))
    with pytest.raises(SystemExit) as end:
        run(command.main, parsed("--slides", "regions.csv"))
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "u.svs: off.geojson: no region on the slide; draw one there and export it again" in said
    assert "images/a.png: region x: not a readable file; correct the path" in said
    summary = pd.read_csv(here / "nuclei/segment.csv")
    assert summary["nuclei"].fillna(-1).tolist() == [1, 2, -1, -1]


def test_a_second_call_says_that_the_results_stand(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for _ in range(2):
        run(command.main, parsed("s.svs"))
        said.append(capsys.readouterr().out.splitlines())
    found = "2 nuclei at 0.25 um per pixel (openslide), 4 views"
    stand = "results of the same image, weights, settings and version stand"
    assert said[0] == [f"s.svs: {found}", "results: nuclei"]
    assert said[1] == [
        f"s.svs: nothing computed: {stand}, beside nuclei/s.nuclei.json: {found}",
        "results: nuclei",
    ]
    run(command.main, parsed("s.svs", "--views", "8"))
    assert "nothing computed" not in capsys.readouterr().out


def damaged_slide(path: Path) -> None:
    aperio(path, np.random.default_rng(0).integers(230, 236, (600, 600, 3), np.uint8))
    damage(path, page=0, tile=4)


def truncated(path: Path) -> None:
    aperio(path, np.random.default_rng(0).integers(230, 236, (600, 600, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def a_level_missing(path: Path) -> None:
    aperio(path, np.random.default_rng(0).integers(230, 236, (600, 600, 3), np.uint8))
    with tifffile.TiffFile(path) as file:
        number = len(file.pages)
    damage(path, page=number - 1, tile=0)


BAD = {
    "damaged.svs": (
        damaged_slide,
        0,
        "cannot be decoded in 1 squares of 256 pixels, left out",
    ),
    "truncated.svs": (truncated, None, r"truncated\.svs.*(fetch|export)"),
    "level.svs": (a_level_missing, 0, None),
    "empty.svs": (lambda path: path.touch(), None, "an empty file; fetch or export it again"),
    "text.svs": (lambda path: path.write_text("slide"), None, "not a complete and readable image"),
    "text.png": (lambda path: path.write_text("slide"), None, r"text\.png"),
    "unknown.svs": (
        lambda path: aperio(path, np.full((300, 300, 3), 240, np.uint8), (4,), ""),
        None,
        "no resolution stated; give --um-per-pixel",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_slide_beside_a_good_one(
    name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, nuclei, said = BAD[name]
    make(here / name)
    status = 2 if said else None
    try:
        run(command.main, parsed(name, "s.svs", "--write", "csv"))
        ended = None
    except SystemExit as end:
        ended = end.code
    captured = capsys.readouterr()
    assert ended == status
    if said:
        first, *_, last = captured.err.splitlines()
        assert re.search(said, first)
        assert last.startswith(f"error: 1 of 2 images failed or are damaged, {name} first; ")
    table = pd.read_csv(here / "nuclei/segment.csv")
    assert table["nuclei"].fillna(-1).tolist() == [-1 if nuclei is None else nuclei, 2]
    stem = Path(name).stem
    assert (here / f"nuclei/{stem}.nuclei.csv").is_file() == (nuclei is not None)


def test_results_that_another_run_writes_are_left_to_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with exclusive(here / "nuclei/.s.unfinished/lock"), pytest.raises(SystemExit) as end:
        run(command.main, parsed("s.svs", "other/a.png"))
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert f"s: process {os.getpid()} writes these results; wait for it, or give another" in said
    assert "s.nuclei.csv" not in files(here / "nuclei")
    assert "a.nuclei.csv" in files(here / "nuclei")
    run(command.main, parsed("s.svs", "other/a.png"))


ENTER = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-e", "-c"]


@pytest.fixture
def mounting() -> None:
    if (
        not shutil.which("unshare")
        or subprocess.run([*ENTER, "mount -t tmpfs x /mnt"], capture_output=True).returncode
    ):
        pytest.skip("this machine allows no mount namespaces to users, so no disk can be made")


def in_namespace(script: str, folder: Path) -> list[tuple[int, str]]:
    """Status and standard error of each call of `segment` in a script of the shell."""
    program = f"""
        segment() {{ status=0
            "$PYTHON" -c "$CODE" segment "$@" >&2 2>>said.txt || status=$?
            echo $status >>status.txt; echo ---- >>said.txt; }}
        {script}
    """
    variables = {"PYTHON": sys.executable, "CODE": STANDING_IN}
    done = subprocess.run(
        [*ENTER, program], cwd=folder, env=environment() | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    statuses = (folder / "status.txt").read_text().split()
    said = (folder / "said.txt").read_text().split("----\n")
    return [(int(status), one) for status, one in zip(statuses, said, strict=False)]


@pytest.mark.usefixtures("mounting")
def test_a_read_only_folder_and_a_full_disk(here: Path) -> None:
    (here / "out").mkdir()
    (here / "locked").mkdir()
    generator = np.random.default_rng(0)
    image = generator.integers(0, 255, (500, 500, 3), np.uint8)  # so that its overlay is large
    image[40:80, 40:80] = 10
    write_rgb(here / "noise.png", image)
    words = "noise.png s.svs --um-per-pixel 0.25 --write overlay,csv --output"
    [locked, full, again, whole] = in_namespace(
        f"""
        mount --bind locked locked; mount -o remount,ro,bind locked
        segment {words} locked
        mount -t tmpfs -o size=600k disk out
        segment {words} out
        find out -name '*.writing-*' >unfinished.txt; ls out >left.txt
        mount -o remount,size=20m out
        segment {words} out
        segment {words} whole
        cp -r out kept
        """,
        here,
    )
    for (status, said), file, problem in (
        (locked, "locked", "on a read-only file system; make it writable"),
        (full, "out/", "no space left on its disk; free some and run again"),
    ):
        assert status == 1
        *_, last = said.splitlines()
        assert last.startswith(f"error: {file}")
        assert problem in last
        assert "Traceback" not in said
    assert (here / "unfinished.txt").read_text() == ""
    assert "noise.nuclei.json" not in (here / "left.txt").read_text()
    assert again[0] == whole[0] == 0
    assert contents(here / "kept") == contents(here / "whole")


def test_a_missing_package_is_one_line(
    here: Path,
    standing_in: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, words, said in (
        ("pyarrow", ["--write", "csv,parquet"], "--write parquet: needs pyarrow"),
        ("shapely", ["--simplify", "0.5"], "--simplify 0.5: needs shapely"),
    ):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(SystemExit) as end:
            run(command.main, parsed("s.svs", *words, "--output", "out"))
        assert end.value.code == 1
        assert capsys.readouterr().err == f"error: {said}; run `pip install {name}`\n"
        assert not (here / "out").exists()  # nothing was computed
    run(command.main, parsed("s.svs", "--simplify", "0.5", "--write", "csv"))  # has no outlines


def test_a_drawing_among_the_results_is_not_lost(
    here: Path, standing_in: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run(command.main, parsed("s.svs", "--write", "csv,tissue"))
    drawn = here / "nuclei/s.tissue.geojson"
    before = drawn.read_bytes()
    with pytest.raises(SystemExit) as end:
        run(command.main, parsed("s.svs", "--tissue", str(drawn), "--write", "csv"))
    assert end.value.code == 1
    assert "s.tissue.geojson is to be read, but the result of s.svs" in capsys.readouterr().err
    assert drawn.read_bytes() == before


def test_a_list_is_not_replaced_by_the_table_of_all(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(here / "list.csv", here / "segment.csv")
    before = (here / "segment.csv").read_bytes()
    with pytest.raises(SystemExit) as end:
        run(command.main, parsed("--slides", "segment.csv", "--output", "."))
    assert end.value.code == 1
    assert "segment.csv is to be read, but the table of all images" in capsys.readouterr().err
    assert (here / "segment.csv").read_bytes() == before


def test_damage_is_an_error_each_time(here: Path) -> None:
    damaged_slide(here / "damaged.svs")
    for _ in range(2):
        with pytest.raises(PipelineError, match="1 of 1 images failed or are damaged"):
            command.main(parsed("damaged.svs"))
    record = json.loads((here / "nuclei/damaged.nuclei.json").read_text())
    assert record["written"]["damaged"] == [[256, 512, 256, 512]]
