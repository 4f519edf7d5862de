"""Parallel maps on a Dask cluster whose workers see the same files and run the same code."""

import functools
import hashlib
import importlib.util
import logging
import pickle
import socket
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import monuseg
from monuseg.core.errors import PipelineError
from monuseg.core.paths import SCRATCH
from monuseg.core.turn import prefix

VARIABLE = "MONUSEG_SCHEDULER"
ANEW = "start it anew in the project's environment"
PATIENCE = 5.0  # seconds until a scheduler has answered, and until it has a worker
ABSENCE = 60.0  # seconds that no worker may be there later: one that was killed is started anew


class KillerError(PipelineError):
    """An item ended every worker that tried it."""


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
        PipelineError: as `cluster`, or a worker as `_checked`.
    """
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with cluster(task, function, scheduler, SCRATCH.absolute()) as (client, work):
        # Not joblib's Dask backend, which maps in this process where the cluster has one thread.
        # pure=False: functions read files, so equal arguments may mean other contents.
        futures = client.map(work, items, pure=False)
        try:
            for future in futures:
                yield _result(future, client)
        finally:
            client.cancel(futures)


@contextmanager
def cluster(
    task: Callable[..., Any], function: Callable[..., Any], scheduler: str, folder: Path
) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    """A client of a scheduler, and what its workers are to be given for each item.

    That is `task(function, item)`, but on a worker that does not see the folder, or runs other
    code, a pair of None and a PipelineError. What a cluster's end raises in the block is one, too.

    Args:
        task: see `monuseg.core.parallel.outcome_of`.
        function: as for `on_dask`.
        scheduler: its address.
        folder: exists; absolute.

    Raises:
        PipelineError: Dask is not installed, no scheduler or worker answers, a worker has no code
            of this project, or all have ended.
    """
    try:
        from distributed import Client, KilledWorker
        from distributed.comm import CommClosedError
    except ImportError as error:
        raise PipelineError(
            f"{VARIABLE}: Dask is not installed; run `pip install distributed`, or unset it"
        ) from error
    for name in ("distributed", "distributed.client"):  # which has a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)  # an error here is one line
    try:
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError, AssertionError, RuntimeError) as error:
        raise PipelineError(
            f"{VARIABLE}: {scheduler}: no scheduler there ({error}); start one, or unset it"
        ) from error
    # As bytes: what a worker of other code cannot load would end it before it is asked.
    work = pickle.dumps((task, function))
    try:
        with tempfile.TemporaryDirectory(prefix=prefix(), dir=folder) as shared, client:
            code = Path(shared) / "code"
            code.write_text(digest_of_code(), encoding="utf-8")
            client.wait_for_workers(1, timeout=PATIENCE)
            found = client.run(importlib.util.find_spec, __name__, on_error="return")
            for worker, spec in found.items():
                if not isinstance(spec, ModuleSpec):
                    raise PipelineError(f"{VARIABLE}: {worker} lacks this project's code; {ANEW}")
            yield client, functools.partial(_checked, work, code)
    except TimeoutError as error:
        raise PipelineError(
            f"{VARIABLE}: {scheduler} has no worker; start one: dask worker {scheduler}"
        ) from error
    except (KilledWorker, CommClosedError, CancelledError) as error:
        raise PipelineError(
            f"{VARIABLE}: {scheduler}: the scheduler or its workers ended, often for lack of memory"
        ) from error


def as_they_end(
    work: Callable[[Any], Any], items: Sequence[Any], client: Any
) -> Generator[tuple[int, tuple[Any, Exception | None]], None, None]:
    """What comes of items that take long, each a worker at a time, in the order in which they end.

    No task waits at a worker: if another killed that, the scheduler would take both for guilty. And
    so it has little to do, however many items there are. An item that has killed as many workers as
    the scheduler allows comes to a `KillerError`. Tasks that run when the generator is closed are
    cancelled; it is theirs to notice.

    Args:
        work: from `cluster`.
        items: what it is given.
        client: from `cluster`.

    Yields:
        The number of an item, and its outcome.
    """
    ended: SimpleQueue[Any] = SimpleQueue()
    running: dict[str, tuple[int, Any]] = {}
    waiting = list(enumerate(items))[::-1]
    try:
        while waiting or running:
            for worker in _free(client, len(running))[: len(waiting)]:
                number, item = waiting.pop()
                # Others may take it over if this worker ends.
                future = client.submit(
                    work, item, pure=False, workers=[worker], allow_other_workers=True
                )
                running[future.key] = number, future
                future.add_done_callback(ended.put)
            try:
                number, future = running.pop(ended.get(timeout=PATIENCE).key)
            except Empty:  # workers may have come, or gone
                client.wait_for_workers(1, timeout=ABSENCE)
                continue
            yield number, _outcome(future, client)
    finally:
        client.cancel([future for _, future in running.values()])


def _free(client: Any, running: int) -> list[str]:
    """The workers that have no task, but no more than make one a worker."""
    tasks = client.processing()
    return [worker for worker, own in tasks.items() if not own][: max(0, len(tasks) - running)]


def _outcome(future: Any, client: Any) -> tuple[Any, Exception | None]:
    from distributed import KilledWorker

    try:
        outcome: tuple[Any, Exception | None] = _result(future, client)
    except KilledWorker as error:
        return None, KillerError(
            f"killed its worker {error.allowed_failures + 1} times, most often for lack of memory; "
            "give workers more, or leave it out"
        )
    return outcome


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
            f"{worker} does not see {code.parents[1]}; let workers share the project's file system"
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
