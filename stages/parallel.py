"""The one way in which the project maps a function over images in parallel."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

from stages.errors import PipelineError
from stages.params.settings import Settings

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
        results = _on_dask(function, pending, settings.scheduler)
    elif settings.workers == 1 or len(pending) < 2:
        results = map(function, pending)
    else:
        results = _on_cores(function, pending, min(settings.workers, len(pending)))
    return list(tqdm(results, total=len(pending), desc=title, disable=not sys.stderr.isatty()))


def _on_cores(
    function: Callable[[Item], Result], items: list[Item], workers: int
) -> Iterator[Result]:
    # A forkserver starts children from a clean process: no threads or locks of ours are copied.
    context = get_context("forkserver" if os.name == "posix" else "spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            yield from pool.map(function, items)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


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
    with Client(scheduler) as client:
        # pure=False: the function reads files, so equal arguments may mean other contents.
        # One by one: `gather` would raise whichever item's error came first in time.
        for future in client.map(function, items, pure=False):
            yield future.result()
