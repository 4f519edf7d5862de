"""Parallel maps on a Dask cluster whose workers see the same files and run the same code."""

import functools
import hashlib
import importlib.util
import logging
import pickle
import socket
import tempfile
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import monuseg
from monuseg.core.errors import PipelineError
from monuseg.core.paths import SCRATCH
from monuseg.core.turn import prefix

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
        from distributed.comm import CommClosedError
    except ImportError as error:
        raise PipelineError(
            f"{VARIABLE}: Dask is not installed; run `pip install distributed`, or unset it"
        ) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # an error here is one line
    try:
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError, AssertionError, RuntimeError) as error:
        raise PipelineError(
            f"{VARIABLE}: {scheduler}: no scheduler there ({error}); start one, or unset it"
        ) from error
    # As bytes: what a worker of other code cannot load would end it before it is asked.
    work = pickle.dumps((task, function))
    SCRATCH.mkdir(parents=True, exist_ok=True)
    try:
        with (
            tempfile.TemporaryDirectory(prefix=prefix(), dir=SCRATCH.absolute()) as folder,
            client,
        ):
            code = Path(folder) / "code"
            code.write_text(digest_of_code(), encoding="utf-8")
            client.wait_for_workers(1, timeout=PATIENCE)
            found = client.run(importlib.util.find_spec, __name__, on_error="return")
            for worker, spec in found.items():
                if not isinstance(spec, ModuleSpec):
                    raise PipelineError(f"{VARIABLE}: {worker} lacks this project's code; {ANEW}")
            # Not joblib's Dask backend, which maps in this process where the cluster has one
            # thread. pure=False: functions read files, so equal arguments may mean other contents.
            futures = client.map(functools.partial(_checked, work, code), items, pure=False)
            try:
                for future in futures:
                    yield _result(future, client)
            finally:
                client.cancel(futures)
    except TimeoutError as error:
        raise PipelineError(
            f"{VARIABLE}: {scheduler} has no worker; start one: dask worker {scheduler}"
        ) from error
    except (KilledWorker, CommClosedError, CancelledError) as error:
        raise PipelineError(
            f"{VARIABLE}: {scheduler}: the scheduler or its workers ended, often for lack of memory"
        ) from error


def _result(future: Any, client: Any) -> Any:
    """What a task came to; a TimeoutError once no worker is left that could do it."""
    while True:
        try:
            return future.result(timeout=PATIENCE)
        except TimeoutError:
            if not client.ncores():
                raise


def _checked(work: bytes, code: Path, item: Any) -> Any:
    """Do the task, on a worker that has the client's files and code."""
    worker = f"the Dask worker on {socket.gethostname()}"
    if not code.exists():
        return None, PipelineError(
            f"{worker} does not see {code.parents[2]}; let workers share the project's file system"
        )
    if code.read_text(encoding="utf-8") != digest_of_code():
        own = Path(monuseg.__file__).parent
        return None, PipelineError(f"{worker} runs other code than this project's, {own}; {ANEW}")
    task, function = pickle.loads(work)  # noqa: S301
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
