"""Runs stages on a disk that fails; test_disk.py starts it in a mount namespace of its own.

`python failing_disk.py FINISHED WORK RESULTS` reads jobs as JSON on standard input. For each, a
small disk is mounted on WORK, FINISHED is copied to it, the disk is filled or a folder of it made
read-only, and a stage's `main` runs in it, in this process, so that libraries load once.
"""

import contextlib
import functools
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

from monuseg.core.command import parser, run
from monuseg.models.shared import backend
from tools import preset

DISK = 48 << 20  # bytes
PAGE = 4096
FILLER = ".filler"


def main(finished: Path, work: Path, results: Path) -> None:
    """Run the jobs one after another; write what became of each."""
    backend.configure = once(backend.configure)
    os.environ["MONUSEG_CACHE"] = str(work / "cache")
    told = []
    for job in json.load(sys.stdin):
        os.chdir("/")
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "disk", str(work)], check=True
        )
        shutil.copytree(finished, work, symlinks=True, dirs_exist_ok=True)
        os.chdir(work)
        told.append(outcome(job, finished))
        os.chdir("/")
        # Lazily: arrays may still be mapped.
        subprocess.run(["umount", "-l", str(work)], check=True)
    results.write_text(json.dumps(told))


def once(configure: Callable[..., Any]) -> Callable[..., Any]:
    """`backend.configure` for several stages in one process, which Keras allows one."""
    made: list[Any] = []

    def configured(*arguments: object, **named: object) -> Any:
        if not made:
            made.append(configure(*arguments, **named))
        return made[0]

    return configured


def outcome(job: dict[str, Any], finished: Path) -> dict[str, Any]:
    """What a stage says and leaves behind on a disk that fails."""
    changes = list(job["changes"])
    if job["served"]:
        changes.append(f"dataset.url.archives={served(finished / job['served'])}")
    if changes:
        change(["default", *changes])
    for out in map(Path, job["outs"]):
        if out.is_dir():
            shutil.rmtree(out)
        else:
            out.unlink(missing_ok=True)
    if job["read_only"]:
        folder = job["read_only"]
        subprocess.run(["mount", "--bind", folder, folder], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    else:
        fill(job["free"])
    params = Path("params.yaml").read_bytes()
    status, stdout, stderr = called(job) if job["called"] else started(job)
    if job["read_only"]:
        subprocess.run(["umount", "-l", job["read_only"]], check=True)
    return {
        "status": status,
        "stdout": stdout,
        "stderr": stderr,
        "outs": [out for out in job["outs"] if Path(out).exists()],
        "unfinished": [str(path) for path in Path().rglob(".*-*") if ".writing-" in path.name],
        "params": params == Path("params.yaml").read_bytes(),
    }


def called(job: dict[str, Any]) -> tuple[object, str, str]:
    """Status and outputs of a stage run in this process."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(stdout):
        try:
            if job["module"] == "preset":
                change(job["words"])
            else:
                start(job["module"], job["words"])
        except SystemExit as end:
            return end.code, stdout.getvalue(), stderr.getvalue()
    return 0, stdout.getvalue(), stderr.getvalue()


def started(job: dict[str, Any]) -> tuple[object, str, str]:
    """Status and outputs of a stage run as DVC runs it."""
    command = [sys.executable, "-m", f"stages.{job['module']}", *job["words"]]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def start(module: str, words: list[str]) -> None:
    """Run a stage's `main` as its command does."""
    command = parser("")
    for name, _ in zip(("model", "row"), words, strict=False):
        command.add_argument(name)
    arguments = command.parse_args(words)
    if words:
        arguments.row = words[0]
    run(import_module(f"stages.{module}.__main__").main, arguments)


def change(words: list[str]) -> None:
    """`python -m tools.preset NAME key=value ...`."""
    command = parser("")
    command.add_argument("name")
    command.add_argument("changes", nargs="*")
    run(preset.main, command.parse_args(words))


def fill(free: int) -> None:
    """Leave so many bytes of the disk, in whole pages."""
    with Path(FILLER).open("wb") as file, contextlib.suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(PAGE))
    os.truncate(FILLER, Path(FILLER).stat().st_size - free // PAGE * PAGE)


def served(archive: Path) -> str:
    """A server's entry for `dataset.url.archives`."""
    handler = functools.partial(_Quiet, directory=archive.parent)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    digest = import_module("monuseg.core.files").sha256_of(archive)
    url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
    return json.dumps([{"name": archive.name, "url": url, "sha256": digest}])


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
