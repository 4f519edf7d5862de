"""Settings of this machine, from the environment: none of them can change a byte of output."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from joblib import cpu_count

from monuseg.core.errors import PipelineError
from monuseg.core.paths import DATA, METRICS, PARAMS, SCRATCH

MOST_DIGITS = 9  # of a number in a variable


@dataclass(frozen=True)
class Settings:
    """What differs between machines and never between results.

    Attributes:
        archives: MONUSEG_ARCHIVES, folder of archives that were fetched by hand; found by SHA-256.
        cache: MONUSEG_CACHE, folder that keeps downloaded archives by SHA-256, outside any work
            tree; defaults to `monuseg` in the user's cache folder (XDG_CACHE_HOME).
        workers: MONUSEG_WORKERS, processes of a parallel map, and threads that prepare the batches
            of a GPU; defaults to the cores at hand: those that affinity, cgroup and SLURM allow.
        scheduler: MONUSEG_SCHEDULER, address of a Dask scheduler for parallel maps, or empty.
        device_index: MONUSEG_DEVICE_INDEX, which GPU to use where there are several, or None; of
            several devices that train together the first.
        scratch: MONUSEG_SCRATCH, folder of what an interrupted training goes on from; may be shared
            by several work trees.
        checkpoint_seconds: MONUSEG_CHECKPOINT_SECONDS, the least time between two savings of a
            training's state, 0 to save each epoch; None, the default, saves as often as costs at
            most a twentieth of the time.
        processes: MONUSEG_PROCESSES, how many train a model together, on one machine or several.
        process_index: MONUSEG_PROCESS_INDEX, which of them this one is, from 0; only 0 writes.
        coordinator: MONUSEG_COORDINATOR, `host:port` at which 0 listens.
    """

    archives: Path | None
    cache: Path
    workers: int
    scheduler: str
    device_index: int | None
    scratch: Path
    checkpoint_seconds: int | None
    processes: int
    process_index: int
    coordinator: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the variables; an empty one counts as unset.

        Raises:
            PipelineError: a number is not one, a folder that must exist does not or stages would
                replace it, or of several processes the coordinator or this one is not named.
        """
        processes = whole_number(environment, "MONUSEG_PROCESSES", 1) or 1
        index = whole_number(environment, "MONUSEG_PROCESS_INDEX", 0)
        coordinator = environment.get("MONUSEG_COORDINATOR", "")
        if processes > 1 and (not coordinator or index is None or index >= processes):
            raise PipelineError(
                f"MONUSEG_PROCESSES: {processes}, so set MONUSEG_PROCESS_INDEX to a number from 0 "
                f"to {processes - 1}, and MONUSEG_COORDINATOR to host:port of number 0"
            )
        given = environment.get("MONUSEG_ARCHIVES")
        archives = _folder("MONUSEG_ARCHIVES", given) if given else None
        if archives and not archives.is_dir():
            raise PipelineError(
                f"MONUSEG_ARCHIVES: {archives} is not a folder; name the folder with the archives"
            )
        caches = environment.get("XDG_CACHE_HOME", "")
        if not Path(caches).is_absolute():  # as its specification has it
            caches = "~/.cache"
        return cls(
            archives=archives,
            cache=_folder("MONUSEG_CACHE", environment.get("MONUSEG_CACHE") or f"{caches}/monuseg"),
            workers=whole_number(environment, "MONUSEG_WORKERS", 1) or _cores(environment),
            scheduler=environment.get("MONUSEG_SCHEDULER", ""),
            device_index=whole_number(environment, "MONUSEG_DEVICE_INDEX", 0),
            scratch=_folder("MONUSEG_SCRATCH", environment.get("MONUSEG_SCRATCH") or str(SCRATCH)),
            checkpoint_seconds=whole_number(environment, "MONUSEG_CHECKPOINT_SECONDS", 0),
            processes=processes,
            process_index=index or 0 if processes > 1 else 0,
            coordinator=coordinator,
        )


def _cores(environment: Mapping[str, str]) -> int:
    """Those that this process may use; joblib knows affinity and cgroup, but not SLURM.

    SLURM binds a job's processes to its cores only where it is set up to.
    """
    cores: int = cpu_count()
    return min(cores, whole_number(environment, "SLURM_CPUS_PER_TASK", 1) or cores)


def _folder(name: str, text: str) -> Path:
    try:
        folder = Path(text).expanduser()
        real, *replaced = (path.resolve() for path in (folder, DATA, METRICS))
    except RuntimeError as error:  # no home, or links in a circle
        raise PipelineError(f"{name}: {text}: {error}; set it to another folder") from error
    if PARAMS.is_file() and any(real.is_relative_to(one) for one in replaced):
        raise PipelineError(
            f"{name}: {text} lies where stages replace whole folders; name one outside {DATA} and "
            f"{METRICS}"
        )
    return folder


def whole_number(environment: Mapping[str, str], name: str, least: int) -> int | None:
    """A variable's number; None if it is unset or empty.

    Raises:
        PipelineError: it is no whole number, or below `least`.
    """
    text = environment.get(name)
    if not text:
        return None
    if not text.isdecimal() or len(text) > MOST_DIGITS or int(text) < least:
        raise PipelineError(f"{name}: {text[:60]!r} is not a whole number of at least {least}")
    return int(text)
