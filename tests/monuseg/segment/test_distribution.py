"""`monuseg segment` on a Dask cluster as a user starts one, and in the jobs of an array."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import pytest

from monuseg.core.errors import PipelineError
from monuseg.core.settings import Settings
from monuseg.formats.images import write_rgb
from monuseg.segment.inputs import shard_of_array
from monuseg.segment.slide import LOCK
from tests.monuseg.core import test_remote
from tests.monuseg.core.test_remote import Start, new_scheduler, new_workers
from tests.monuseg.segment.networks import contents, save_settings, save_unet, two_discs
from tests.processes import PATIENCE, wait_until
from tests.repository import REPOSITORY, environment_of

pytest.importorskip("openslide", reason="OpenSlide is not installed")
distributed = pytest.importorskip("distributed")

start = test_remote.start

# What `dask worker --preload` runs in a worker: two of the slides are not like others.
UNLIKE_OTHERS = """
import os, signal, time
from monuseg.segment import slide as module

def dask_setup(worker, searched=module.search_area):
    def search_area(slide, um_per_pixel, tissue):
        path = slide.path
        with path.with_name(f"{path.name}.began").open("a") as file:
            print(os.getpid(), file=file)
        if path.name == "killer.png":
            os.kill(os.getpid(), signal.SIGKILL)
        while path.name == "waiting.png" and not path.with_name("go").exists():
            time.sleep(0.01)
        return searched(slide, um_per_pixel, tissue)

    module.search_area = search_area
"""
WORDS = ("slides", "--slides", "list.csv", "--model", "models/unet.json")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and slides, one of them broken."""
    folder = tmp_path_factory.mktemp("work")
    save_unet(folder / "models")
    save_settings(folder / "predictions", "unet")
    (folder / "slides").mkdir()
    for name in ("a", "b", "c é"):
        write_rgb(folder / f"slides/{name}.png", two_discs())
    (folder / "slides/broken.png").write_text("no image")
    (folder / "list.csv").write_text("path,um_per_pixel\nlisted.png,0.5\n")
    write_rgb(folder / "listed.png", two_discs())
    return folder


@pytest.fixture(scope="module")
def scheduler(start: Start) -> str:
    """The address of a scheduler with two workers, which lie in folders of their own."""
    address = new_scheduler(start)
    new_workers(start, address, 2, PYTHONPATH=str(REPOSITORY))
    return address


@pytest.fixture(scope="module")
def local(work: Path) -> "subprocess.CompletedProcess[str]":
    """The command without a cluster, into the folder `local`."""
    return called(work, *WORDS, "--output", "local")


@pytest.fixture(scope="module")
def remote(work: Path, scheduler: str) -> "subprocess.CompletedProcess[str]":
    """The command on two workers, into the folder `remote`."""
    return called(work, *WORDS, "--output", "remote", MONUSEG_SCHEDULER=scheduler)


def called(folder: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    began = started(folder, *words, **variables)
    said, warned = began.communicate(timeout=4 * PATIENCE)
    return subprocess.CompletedProcess(words, began.returncode, said, warned)


def started(folder: Path, *words: str, **variables: str) -> "subprocess.Popen[str]":
    own = {"MONUSEG_WORKERS": "1", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, "-m", "monuseg", "segment", *words],
        cwd=folder,
        env=environment_of(folder) | own | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def results(folder: Path) -> dict[str, bytes]:
    """What was written of slides; not the tables of runs, and not what killed ones left."""
    return {
        name: data
        for name, data in contents(folder).items()
        if not name.startswith("segment") and ".writing-" not in name
    }


def two_workers(start: Start, address: str, folder: Path) -> None:
    """Workers to which some slides are not like others, started anew when they are killed."""
    preload = folder / "unlike_others.py"
    preload.write_text(UNLIKE_OTHERS)
    start(
        *("worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard"),
        *("--preload", str(preload)),
        PYTHONPATH=str(REPOSITORY),
    )
    with distributed.Client(address, timeout=PATIENCE, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=PATIENCE)


@pytest.fixture
def own(work: Path, tmp_path: Path) -> Path:
    """A folder with the model and the two slides that are not like others, beside two that are."""
    for name in ("models", "predictions"):
        (tmp_path / name).symlink_to(work / name)
    (tmp_path / "slides").mkdir()
    for name in ("a", "killer", "waiting", "z"):
        write_rgb(tmp_path / f"slides/{name}.png", two_discs())
    return tmp_path


def began(folder: Path, name: str) -> list[int]:
    """The processes that worked on a slide."""
    file = folder / f"slides/{name}.png.began"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_workers_elsewhere_write_and_say_the_same(
    work: Path,
    local: "subprocess.CompletedProcess[str]",
    remote: "subprocess.CompletedProcess[str]",
) -> None:
    assert local.returncode == remote.returncode == 2
    assert len(results(work / "remote")) == 4 * 4
    assert contents(work / "remote") == contents(work / "local")
    nuclei = pd.read_csv(work / "remote/segment.csv")["nuclei"]
    assert nuclei.fillna(-1).tolist() == [2, 2, -1, 2, 2]
    for here, there in ((local.stdout, remote.stdout), (local.stderr, remote.stderr)):
        assert sorted(there.replace("remote", "local").splitlines()) == sorted(here.splitlines())


@pytest.mark.usefixtures("remote")
def test_what_is_done_is_not_done_again(work: Path, scheduler: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in (work / "remote").glob("*.nuclei.*")}
    words = ("slides/a.png", "slides/b.png", "--model", "models/unet.json", "--output", "remote")
    done = called(work, *words, MONUSEG_SCHEDULER=scheduler)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.usefixtures("remote")
def test_another_model_needs_other_workers(work: Path, scheduler: str) -> None:
    done = called(work, "slides/a.png", "--output", "other", MONUSEG_SCHEDULER=scheduler)
    assert done.returncode == 1
    assert "has loaded another model or backend; start it anew" in done.stderr.splitlines()[-1]


@pytest.mark.long
@pytest.mark.usefixtures("local")
def test_a_killed_worker_and_a_killed_client(own: Path, work: Path, start: Start) -> None:
    address = new_scheduler(start)
    two_workers(start, address, own)
    (own / "slides/killer.png").unlink()
    words = ("slides", "--model", "models/unet.json", "--output", "out")
    client = started(own, *words, MONUSEG_SCHEDULER=address)
    finished = [own / f"out/{name}.nuclei.json" for name in ("a", "z")]
    wait_until(lambda: all(path.exists() for path in finished))
    wait_until(lambda: began(own, "waiting"))
    times = [path.stat().st_mtime_ns for path in finished]
    # Another worker takes the slide over.
    psutil.Process(began(own, "waiting")[0]).kill()
    wait_until(lambda: len(set(began(own, "waiting"))) == 2)
    client.kill()
    client.communicate()
    # The worker that is still at it gives it up at its next window; the next call goes on.
    again = started(own, *words, MONUSEG_SCHEDULER=address)
    said = ""
    while said.count(" 2 nuclei at 0.25 um per pixel") < 2:
        line = again.stdout.readline()
        assert line, again.stderr.read()
        said += line
    (own / "slides/go").touch()
    more, warned = again.communicate(timeout=2 * PATIENCE)
    assert again.returncode == 0, warned
    assert (said + more).count(" 2 nuclei at 0.25 um per pixel") == 3
    assert [path.stat().st_mtime_ns for path in finished] == times
    for kind in ("csv", "png"):
        [content] = {path.read_bytes() for path in (own / "out").glob(f"*.nuclei.{kind}")}
        assert content == (work / f"local/a.nuclei.{kind}").read_bytes()


@pytest.mark.long
def test_a_slide_that_kills_its_workers_is_left_out(own: Path, start: Start) -> None:
    address = new_scheduler(partial(start, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1"))
    two_workers(start, address, own)
    (own / "slides/go").touch()
    words = ("slides", "--model", "models/unet.json", "--output", "out")
    done = called(own, *words, MONUSEG_SCHEDULER=address)
    assert done.returncode == 2, done.stderr
    assert len(set(began(own, "killer"))) == 2
    table = pd.read_csv(own / "out/segment.csv")
    assert table["nuclei"].fillna(-1).tolist() == [2, -1, 2, 2]
    assert "killed its worker 2 times" in table["error"][1]
    assert f"slides/killer.png: {table['error'][1]}" in done.stderr.splitlines()


def test_a_slide_that_another_process_works_on_is_waited_for(
    own: Path, work: Path, scheduler: str
) -> None:
    lock = own / "out/.a.unfinished" / LOCK
    lock.parent.mkdir(parents=True)
    hold = f"""
import sys
from pathlib import Path
from monuseg.core.locks import exclusive
with exclusive(Path({str(lock)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", hold], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    words = ("slides/a.png", "slides/z.png", "--model", str(work / "models/unet.json"))
    client = started(own, *words, "--output", "out", MONUSEG_SCHEDULER=scheduler)
    wait_until((own / "out/z.nuclei.json").exists)
    assert client.poll() is None
    holder.communicate(b"")
    said, warned = client.communicate(timeout=PATIENCE)
    assert (client.returncode, said.count(" 2 nuclei ")) == (0, 2), warned
    assert not lock.parent.exists()


# === Job arrays ===


@pytest.mark.parametrize(("cores", "most"), [("1", 1), ("9999", None), ("", None)])
def test_no_more_threads_than_slurm_gave(cores: str, most: int | None) -> None:
    here = Settings.from_environment({}).workers
    assert Settings.from_environment({"SLURM_CPUS_PER_TASK": cores}).workers == (most or here)


def array(task: int, count: int = 3, least: int = 0, step: int = 1) -> dict[str, str]:
    numbers = {"ID": task, "COUNT": count, "MIN": least, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(number) for name, number in numbers.items()}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"SLURM_ARRAY_TASK_ID": "3"}, None),
        (array(0), "1/3"),
        (array(2), "3/3"),
        (array(5, least=1, step=2), "3/3"),
        (array(11, count=2, least=10), "2/2"),
    ],
)
def test_the_share_of_an_arrays_task(environment: dict[str, str], expected: str | None) -> None:
    assert shard_of_array(3, environment) == expected


@pytest.mark.parametrize(
    "environment",
    [
        array(9, least=1),
        array(2, least=1, step=2),
        array(3, least=3) | {"SLURM_ARRAY_TASK_MAX": "12"},  # 3, 7, 12
    ],
)
def test_an_array_with_gaps_is_one_line(environment: dict[str, str]) -> None:
    with pytest.raises(PipelineError, match=r"the array's numbers have gaps; give --shard I/N"):
        shard_of_array(9, environment)


def test_an_array_whose_tasks_are_each_called_with_an_image_is_one_line() -> None:
    with pytest.raises(PipelineError, match=r"3 tasks would share 1 images.*--shard 1/1"):
        shard_of_array(1, array(1))


@pytest.mark.long
@pytest.mark.usefixtures("local")
def test_two_tasks_one_killed_and_started_again(work: Path) -> None:
    words = (*WORDS, "--output", "sharded")
    killed = started(work, *words, **array(2, 2, 1))
    wait_until((work / "sharded").exists)
    killed.kill()
    killed.communicate()
    for task, status in ((1, 2), (2, 0)):
        done = called(work, *words, **array(task, 2, 1))
        assert done.returncode == status
        assert f"shard {task}/2, by SLURM_ARRAY_TASK_ID (--shard sets another)" in done.stderr
    tables = [f"segment-{task}-of-2.csv" for task in (1, 2)]
    images = [pd.read_csv(work / "sharded" / table)["image"] for table in tables]
    assert [[Path(one).stem for one in some] for some in images] == [
        ["a", "broken", "listed"], ["b", "c é"]
    ]  # fmt: skip
    assert results(work / "sharded") == results(work / "local")
