"""The one way in which the project maps a function over images in parallel."""

import functools
import multiprocessing.resource_tracker
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals import loky
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from monuseg.core.errors import PipelineError
from monuseg.core.settings import Settings
from monuseg.core.supervision import ENDING, uninterrupted

Item = TypeVar("Item")
Result = TypeVar("Result")
# Of each item the result, or the error that was raised in its place.
Outcomes = Generator[tuple[Any, Exception | None], None, None]

LOOK = 0.1  # seconds between two looks at the parent


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, title: str
) -> list[Result]:
    """`[function(item) for item in items]`, in order, on all cores or on a Dask cluster.

    Args:
        function: as `parallel_each` wants it.
        items: what to map over, usually image ids.
        title: what the progress bar says.

    Raises:
        Whatever `function` raises for the first item that fails.
    """
    results: list[Result] = []
    parallel_each(function, items, results.append, title=title)
    return results


def parallel_each(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    take: Callable[[Result], object],
    *,
    title: str,
) -> None:
    """`take(function(item))` for each item, in order; of large results none is held longer.

    Args:
        function: picklable (a function of a module that is not `__main__`, or a
            `functools.partial` of one) and pure but for files of its own, whose paths are absolute;
            its results must not depend on where it runs.
        items: what to map over, usually image ids.
        take: called in this process; far quicker than `function`, or results wait for it.
        title: what the progress bar says.

    Raises:
        Whatever `function` raises for the first item that fails.
    """
    settings = Settings.from_environment()
    pending = list(items)
    workers = min(settings.workers, len(pending))
    outcomes: Outcomes
    if settings.scheduler and pending:
        from monuseg.core.remote import on_dask  # only now: it may not be installed

        outcomes = on_dask(outcome_of, function, pending, settings.scheduler)
    else:
        outcomes = _on_processes(function, pending, max(1, workers))
    shown = tqdm(
        outcomes, total=len(pending), desc=title, disable=not (sys.stderr and sys.stderr.isatty())
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\d+ tasks ", UserWarning)  # what joblib cancels
        try:
            for result, error in shown:
                if error is not None:
                    raise error
                take(result)
        except TerminatedWorkerError as error:
            raise PipelineError(
                f"{title}: a worker process was killed, most often for lack of memory; "
                "set MONUSEG_WORKERS to fewer"
            ) from error
        finally:
            shown.close()
            outcomes.close()


def outcome_of(function: Callable[[Item], Result], item: Item) -> tuple[Any, Exception | None]:
    """What a function makes of an item, errors as values.

    Joblib and Dask raise the error that came first in time; users see the first item's.
    """
    try:
        return function(item), None
    except Exception as error:  # noqa: BLE001
        error.add_note(traceback.format_exc())
        try:
            return None, pickle.loads(pickle.dumps(error))  # noqa: S301
        except Exception:  # noqa: BLE001
            return None, RuntimeError(f"{type(error).__qualname__}: {error}")  # as it can travel


def _on_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Outcomes:
    # One worker is this process. Each has as many threads as it: what BLAS sums depends on their
    # number. Arrays are never shared, so nothing is left in /dev/shm.
    _keep_quiet_of_the_pool()
    with parallel_config(
        backend="loky",
        initializer=begin_as_worker,
        initargs=(os.getpid(),),
        inner_max_num_threads=cpu_count(),
    ):
        parallel = Parallel(
            n_jobs=workers, return_as="generator", batch_size=1, pre_dispatch="all", max_nbytes=None
        )
        outcomes = None
        try:
            # A worker that is half started would not be known, and not be ended.
            with _signals_kept_from_children(), uninterrupted():
                outcomes = parallel(delayed(outcome_of)(function, item) for item in items)
            yield from outcomes
        finally:
            if outcomes is not None:
                outcomes.close()


@functools.cache
def _keep_quiet_of_the_pool() -> None:
    """Report errors of threads as before, but of the pool's own.

    That thread stumbles over tasks that were cancelled, and would print a traceback beside the one
    line of an interruption.
    """
    report = threading.excepthook

    def report_others(arguments: threading.ExceptHookArgs) -> None:
        if arguments.thread is None or arguments.thread.name != "ExecutorManagerThread":
            report(arguments)

    threading.excepthook = report_others


@contextmanager
def _signals_kept_from_children() -> Iterator[None]:
    """Block signals, which processes that start meanwhile inherit.

    A terminal sends Ctrl-C to all processes of its foreground: workers that are still importing
    would each print a traceback. What comes for this process is delivered at the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        # Apart and first: they are to outlive a lost terminal, and unblock signals as they start.
        multiprocessing.resource_tracker.ensure_running()
        loky.backend.resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_as_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end with it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    threading.Thread(target=_end_with_parent, args=[parent], daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)
