"""Settings of this machine, from the environment: none of them can change a byte of output."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from joblib import cpu_count

from monuseg.core.errors import PipelineError
from monuseg.core.paths import SCRATCH

MOST_DIGITS = 9  # of a number in a variable


@dataclass(frozen=True)
class Settings:
    """What differs between machines and never between results.

    Attributes:
        archives: MONUSEG_ARCHIVES, folder of archives that were fetched by hand; found by SHA-256.
        cache: MONUSEG_CACHE, folder that keeps downloaded archives by SHA-256, outside any work
            tree; defaults to `monuseg` in the user's cache folder (XDG_CACHE_HOME).
        workers: MONUSEG_WORKERS, processes of a parallel map, and threads that prepare the batches
            of a GPU; defaults to the cores at hand.
        scheduler: MONUSEG_SCHEDULER, address of a Dask scheduler for parallel maps, or empty.
        device_index: MONUSEG_DEVICE_INDEX, which GPU to use where there are several, or None.
        scratch: MONUSEG_SCRATCH, folder of what an interrupted training goes on from; may be shared
            by several work trees.
        checkpoint_seconds: MONUSEG_CHECKPOINT_SECONDS, the least time between two savings of a
            training's state, 0 to save each epoch; None, the default, saves as often as costs at
            most a twentieth of the time.
    """

    archives: Path | None
    cache: Path
    workers: int
    scheduler: str
    device_index: int | None
    scratch: Path
    checkpoint_seconds: int | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the variables; an empty one counts as unset.

        Raises:
            PipelineError: a number is not one, or a folder that must exist does not.
        """
        archives = environment.get("MONUSEG_ARCHIVES")
        if archives and not Path(archives).is_dir():
            raise PipelineError(
                f"MONUSEG_ARCHIVES: {archives} is not a folder; name the folder with the archives"
            )
        caches = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cls(
            archives=Path(archives) if archives else None,
            cache=Path(environment.get("MONUSEG_CACHE") or caches / "monuseg"),
            workers=_whole_number(environment, "MONUSEG_WORKERS", 1) or cpu_count(),
            scheduler=environment.get("MONUSEG_SCHEDULER", ""),
            device_index=_whole_number(environment, "MONUSEG_DEVICE_INDEX", 0),
            scratch=Path(environment.get("MONUSEG_SCRATCH") or SCRATCH),
            checkpoint_seconds=_whole_number(environment, "MONUSEG_CHECKPOINT_SECONDS", 0),
        )


def _whole_number(environment: Mapping[str, str], name: str, least: int) -> int | None:
    text = environment.get(name)
    if not text:
        return None
    if not text.isdecimal() or len(text) > MOST_DIGITS or int(text) < least:
        raise PipelineError(f"{name}: {text[:60]!r} is not a whole number of at least {least}")
    return int(text)
