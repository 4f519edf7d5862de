"""The one way in which the project maps a function over images in parallel."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import (
    active_children,
    connection,
    forkserver,
    get_context,
    parent_process,
    resource_tracker,
)
from threading import Thread
from typing import TypeVar

from tqdm import tqdm

from monuseg.core.errors import PipelineError
from monuseg.core.settings import Settings
from monuseg.core.supervision import ENDING, uninterrupted

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, title: str
) -> list[Result]:
    """`[function(item) for item in items]`, in order, on all cores or on a Dask cluster.

    Args:
        function: picklable (a function of a module, or a `functools.partial` of one) and pure but
            for files of its own; its results must not depend on where it runs.
        items: what to map over, usually image ids.
        title: what the progress bar says.

    Raises:
        Whatever `function` raises for the first item that fails.
    """
    settings = Settings.from_environment()
    pending = list(items)
    if settings.scheduler:
        return _shown(_on_dask(function, pending, settings.scheduler), len(pending), title)
    if settings.workers == 1 or len(pending) < 2:
        return _shown(map(function, pending), len(pending), title)
    with _pool(min(settings.workers, len(pending))) as pool:
        try:
            with uninterrupted():  # a worker that is half started would not be known
                futures = [pool.submit(function, item) for item in pending]
            return _shown((future.result() for future in futures), len(pending), title)
        except BrokenProcessPool as error:
            raise PipelineError(
                f"{title}: a worker process was killed, most often for lack of memory; "
                "set MONUSEG_WORKERS to fewer"
            ) from error


def _shown(results: Iterator[Result], count: int, title: str) -> list[Result]:
    return list(tqdm(results, total=count, desc=title, disable=not sys.stderr.isatty()))


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, none of which is left when the block ends, however it ends."""
    # A forkserver starts children from a clean process: no threads or locks of ours are copied.
    _start_forkserver()
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("forkserver"), initializer=_begin_as_worker
    )
    try:
        yield pool
    except KeyboardInterrupt:
        # Whoever interrupts does not want to wait for what the workers are at.
        for worker in active_children():
            worker.kill()
        raise
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        pool.shutdown()


def _start_forkserver() -> None:
    """Start the server with signals blocked, which it and its children inherit.

    A terminal sends Ctrl-C to all processes of its foreground: those that are still importing would
    each print a traceback. What comes meanwhile for this process is delivered at the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        # Apart and first: starting it unblocks some of them. It is to outlive a lost terminal.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_as_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    Thread(target=_end_with_parent, name="end with parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _on_dask(
    function: Callable[[Item], Result], items: list[Item], scheduler: str
) -> Iterator[Result]:
    try:
        from distributed import Client
    except ImportError as error:
        raise PipelineError(
            "MONUSEG_SCHEDULER is set but Dask is not installed: "
            "run `pip install distributed`, or unset the variable"
        ) from error
    try:
        client = Client(scheduler)
    except (OSError, ValueError) as error:
        raise PipelineError(
            f"MONUSEG_SCHEDULER: {scheduler}: no scheduler there ({error}); name the address of "
            "one that runs, as tcp://host:8786, or unset the variable"
        ) from error
    with client:
        # pure=False: the function reads files, so equal arguments may mean other contents.
        # One by one: `gather` would raise whichever item's error came first in time.
        for future in client.map(function, items, pure=False):
            yield future.result()
