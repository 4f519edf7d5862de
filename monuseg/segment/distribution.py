"""Slides on the workers of a Dask cluster.

A slide is the unit. Paths and settings go to the workers, and what came of a slide comes back; its
pixels and results are read and written by them, on a file system that all share.
"""

import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError
from contextlib import chdir, closing, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from monuseg.core.errors import PipelineError
from monuseg.core.locks import LockedError, exclusive
from monuseg.core.parallel import outcome_of
from monuseg.core.remote import ANEW, KillerError, as_they_end, cluster
from monuseg.core.settings import Settings
from monuseg.inference.params import PredictParams
from monuseg.inference.sliding_window import Floats, Pixels
from monuseg.segment.inputs import Input
from monuseg.segment.models import ModelChoice, Network, load
from monuseg.segment.slide import LOCK, unfinished

Row = TypeVar("Row")

# Seconds until a slide is given up that another process works on, and between looks at its lock.
RELEASE, LOOK = 600.0, 0.2

_loaded: dict[str, Network] = {}  # by what was asked for; of a worker
# A worker's threads compute one slide together: a network is not made for two at a time.
_one_slide = threading.Lock()


def on_workers(
    segment: Callable[..., Row],
    inputs: Sequence[Input],
    named: ModelChoice,
    network: Network,
    scheduler: str,
    output: Path,
) -> Generator[tuple[int, Row | PipelineError], None, None]:
    """Segment slides on a Dask cluster, one at a time on each worker, and print what each said.

    When the block that iterates ends early, workers give up their slides at the next window; the
    blocks that they have finished are kept.

    Args:
        segment: `segment(one, network=network)` for each; picklable, as are all that follow.
        inputs: their paths are absolute.
        named: the model, which a worker loads once.
        network: the same, loaded here: what its `auto` came to holds for all workers.
        scheduler: its address.
        output: the folder of the results.

    Yields:
        The number of an input and what became of it, in the order in which they end; an error if
        it has killed as many workers as the scheduler allows.

    Raises:
        PipelineError: as `monuseg.core.remote.cluster`; or a worker cannot load the network.
        Exception: whatever else `segment` raises, as OSError.
    """
    output.mkdir(parents=True, exist_ok=True)
    job = partial(_on_worker, segment, named, network.params, Path.cwd())
    with (
        cluster(outcome_of, job, scheduler, output.absolute()) as (client, work),
        closing(as_they_end(work, inputs, client)) as each,
        tqdm(total=len(inputs), unit="slide", disable=not sys.stderr.isatty()) as bar,
    ):
        for number, (done, error) in each:
            if error is not None and not isinstance(error, KillerError):
                raise error
            row: Any
            row, said, warned = done or (error, "", "")
            tqdm.write(warned, file=sys.stderr, end="")
            tqdm.write(said, file=sys.stdout, end="")
            sys.stdout.flush()
            yield number, row
            bar.update()


def _on_worker(
    segment: Callable[..., Row], named: ModelChoice, params: PredictParams, folder: Path, one: Input
) -> tuple[Row, str, str]:
    """Segment a slide; with what that printed on standard output and error.

    Messages show paths as seen from the client's folder.
    """
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks[worker.get_current_task()]
    threads = min(worker.state.nthreads, Settings.from_environment().workers)

    def stop_if_cancelled() -> None:
        if task.state == "cancelled":  # by a client that was ended, or is gone
            raise CancelledError

    with (
        _one_slide,
        chdir(folder if folder.is_dir() else "."),
        redirect_stdout(StringIO()) as said,
        redirect_stderr(StringIO()) as warned,
    ):
        network = _network(named, params.model_copy(update={"threads": threads}))

        def forward(windows: Pixels) -> Floats:
            stop_if_cancelled()
            return network.forward(windows)

        _wait_for(one.place, stop_if_cancelled)
        row = segment(one, network=replace(network, forward=forward))
    return row, said.getvalue(), warned.getvalue()


def _network(named: ModelChoice, params: PredictParams) -> Network:
    """Load the network, if this process has not."""
    asked = repr((named.members, named.identity, params))
    if asked not in _loaded:
        if _loaded:
            # Keras is set up once a process.
            raise PipelineError(f"a Dask worker has loaded another model or backend; {ANEW}")
        with redirect_stdout(StringIO()):  # the client has said it
            _loaded[asked] = load(named, params)
    return _loaded[asked]


def _wait_for(place: Path, stop_if_cancelled: Callable[[], None]) -> None:
    """Wait for who still works on a slide: a task of a client that is gone, or a killed machine.

    The first ends at its next window; of the second the file system may keep locks for a while.
    """
    lock, until = unfinished(place) / LOCK, time.monotonic() + RELEASE
    while lock.is_file() and time.monotonic() < until:
        stop_if_cancelled()
        with suppress(LockedError), exclusive(lock):
            return
        time.sleep(LOOK)
