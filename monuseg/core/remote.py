"""Parallel maps on a Dask cluster whose workers see the same files and run the same code."""

import functools
import hashlib
import importlib.util
import socket
import uuid
from collections.abc import Callable, Generator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import monuseg
from monuseg.core.errors import PipelineError
from monuseg.core.files import write_text
from monuseg.core.paths import SCRATCH

VARIABLE = "MONUSEG_SCHEDULER"
ANEW = "start it anew in the project's environment"
PATIENCE = 5.0  # seconds until a scheduler has answered, and until it has a worker


def on_dask(
    task: Callable[..., Any], function: Callable[..., Any], items: Sequence[Any], scheduler: str
) -> Generator[Any, None, None]:
    """`task(function, item)` for each item, in order.

    Args:
        task: see `monuseg.core.parallel.outcome_of`.
        function: what is mapped; its paths are absolute.
        items: at least one.
        scheduler: its address.

    Raises:
        PipelineError: Dask is not installed, no scheduler or worker answers, or a worker runs other
            code or does not see this project's files.
    """
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise PipelineError(
            f"{VARIABLE}: Dask is not installed; run `pip install distributed`, or unset it"
        ) from error
    try:
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise PipelineError(
            f"{VARIABLE}: {scheduler}: no scheduler there ({error}); start one, or unset it"
        ) from error
    code = SCRATCH.absolute() / f"code-{uuid.uuid4().hex}"
    write_text(code, digest_of_code())
    checked = functools.partial(_checked, task, function, code)
    try:
        with client:
            client.wait_for_workers(1, timeout=PATIENCE)
            # By a function of Python's own: a task that a worker cannot import would break it.
            found = client.run(importlib.util.find_spec, __name__, on_error="return")
            for worker, spec in found.items():
                if not isinstance(spec, ModuleSpec):
                    raise PipelineError(f"{VARIABLE}: {worker} lacks this project's code; {ANEW}")
            # Not joblib's Dask backend, which maps in this process where the cluster has one
            # thread. pure=False: functions read files, so equal arguments may mean other contents.
            for future in client.map(checked, items, pure=False):
                yield future.result()
    except TimeoutError as error:
        raise PipelineError(
            f"{VARIABLE}: {scheduler} has no worker; start one: dask worker {scheduler}"
        ) from error
    except KilledWorker as error:
        raise PipelineError(f"{VARIABLE}: workers were killed, often for lack of memory") from error
    finally:
        code.unlink(missing_ok=True)


def _checked(task: Callable[..., Any], function: Callable[..., Any], code: Path, item: Any) -> Any:
    """Do the task, on a worker that has the client's files and code."""
    worker = f"the Dask worker on {socket.gethostname()}"
    if not code.exists():
        return None, PipelineError(
            f"{worker} does not see {code.parents[1]}; let workers share the project's file system"
        )
    if code.read_text(encoding="utf-8") != digest_of_code():
        own = Path(monuseg.__file__).parent
        return None, PipelineError(f"{worker} runs other code than this project's, {own}; {ANEW}")
    return task(function, item)


@functools.cache
def digest_of_code() -> str:
    """A SHA-256 of the code of library and stages that this process imports from."""
    root = Path(monuseg.__file__).parents[1]
    digest = hashlib.sha256()
    for package in ("monuseg", "stages"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
