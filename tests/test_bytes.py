"""The same commit and params give the same bytes, whatever the machine's settings are."""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.repository import Project, Smoke, copy_of_the_repository

pytestmark = pytest.mark.graph

# Everything here is another than in the first run, which has pytest's own environment.
OTHER = {
    "PYTHONHASHSEED": "20181",
    "TZ": "Pacific/Kiritimati",  # 14 hours ahead: mostly another day
    # No UTF-8 unless a file is opened as such.
    "LANG": "C",
    "LC_ALL": "C",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONUTF8": "0",
    "MONUSEG_WORKERS": "1",
    "COLUMNS": "40",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
}
# In the other home, by path.
SETTINGS = {
    ".keras/keras.json": '{"floatx": "float16", "epsilon": 0.1, '
    '"image_data_format": "channels_first", "backend": "jax"}',
}
UMASK = 0o077


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of dvc.lock, and of every file below data and metrics, by path."""
    files = [folder / "dvc.lock", *(folder / "data").rglob("*"), *(folder / "metrics").rglob("*")]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.is_file()
    }


@pytest.mark.skipif(os.name != "posix", reason="a umask is POSIX's")
@pytest.mark.parametrize(
    "targets",
    [
        pytest.param(["evaluate@unet", "evaluate@otsu"], id="one model"),
        pytest.param([], id="the whole graph", marks=pytest.mark.long),
    ],
)
def test_another_folder_and_other_settings_give_the_same_bytes(
    targets: list[str], smoke: Smoke, graph: Project, tmp_path: Path
) -> None:
    assert graph.environment.get("PYTHONHASHSEED") != OTHER["PYTHONHASHSEED"]
    home = tmp_path / "home of another"
    for path, text in SETTINGS.items():
        (home / path).parent.mkdir(parents=True)
        (home / path).write_text(text, encoding="utf-8")
    folder = tmp_path / "a folder, deeper and with spaces" / "clone"
    folder.mkdir(parents=True)
    before = os.umask(UMASK)
    try:
        # The code and params of the first run, and nothing of what it made. It found the default
        # run's lock, whose order of stages DVC keeps.
        other = copy_of_the_repository(folder, tmp_path / "other caches", graph.folder)
        for path in contents(folder):
            if path.startswith("metrics/reference/") or path.endswith(".gitignore"):
                continue
            (folder / path).unlink()
        (first_commit,) = graph.run("git", "rev-list", "--max-parents=0", "HEAD").split()
        lock = graph.run("git", "show", f"{first_commit}:dvc.lock")
        (folder / "dvc.lock").write_text(lock, encoding="utf-8")
        other.environment |= OTHER | {"HOME": str(home)}
        ran = other.repro("--force", *targets)
    finally:
        os.umask(before)
    assert {*ran, *targets} <= set(smoke.ran)
    assert targets or ran == smoke.ran
    assert (folder / "data/splits.csv").stat().st_mode & 0o077 == 0  # the umask was in force
    first, second = contents(graph.folder), contents(folder)
    assert {"data/models/unet.weights.h5", "metrics/unet.json", "metrics/otsu.json"} <= set(second)
    assert targets or set(second) == set(first)
    assert locked(folder, ran) == locked(graph.folder, ran)
    del second["dvc.lock"]
    assert second == {path: first[path] for path in second}


def locked(folder: Path, stages: list[str]) -> dict[str, object]:
    """What dvc.lock says of some stages."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    return {stage: lock[stage] for stage in stages}


def test_the_archives_place_and_names_change_no_byte(graph: Project, tmp_path: Path) -> None:
    drawn = sorted((graph.folder / "data/archives").glob("*.zip"))
    pinned = [
        {"name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for file in drawn
    ]
    first = contents(graph.folder)
    graph.change("dataset.source=file", f"dataset.file.archives={json.dumps(pinned)}")
    plain, locks = graph.environment, []
    try:
        for name in ("by hand", "elsewhere/und früher"):
            folder = tmp_path / name
            folder.mkdir(parents=True)
            for number, file in enumerate(drawn):
                shutil.copy(file, folder / f"{name[:2]} {number}.download")
            graph.environment = plain | {
                "MONUSEG_ARCHIVES": str(folder),
                "MONUSEG_CACHE": str(tmp_path / f"cache of {name[:2]}"),
            }
            graph.run(sys.executable, "-m", "tools.check")
            # The archives are the drawn ones: nothing after them has anything to do.
            options = ["--force", "download"] if locks else ["--no-run-cache"]
            assert graph.repro(*options) == ["download"]
            locks.append((graph.folder / "dvc.lock").read_bytes())
    finally:
        graph.environment = plain
    assert locks[0] == locks[1]
    after = contents(graph.folder)
    assert {path for path in first if first[path] != after[path]} == {"dvc.lock"}
    assert set(after) == set(first)
