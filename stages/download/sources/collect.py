"""All archives of the chosen source, verified, in one folder."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from monuseg.core.errors import PipelineError
from monuseg.core.files import sha256_of
from monuseg.core.settings import Settings
from stages.download.params import Archive, DatasetParams, FileArchive
from stages.download.sources import drive, store, web
from stages.download.sources.verify import by_hand, mismatch
from stages.download.synthetic.archive import write_archives

Fetch = Callable[[Path], None]


def collect(params: DatasetParams, settings: Settings, folder: Path) -> list[Path]:
    """Bring the archives of the chosen source into `folder`.

    Those of known SHA-256 are first looked for in the folder of hand-fetched archives, then in the
    cache; only what neither has is downloaded.

    Args:
        params: reduced to the chosen source.
        settings: where hand-fetched archives and the cache lie.
        folder: exists.

    Returns:
        The archives.

    Raises:
        PipelineError: an archive cannot be had, or is not the one asked for.
    """
    if params.synthetic:
        return write_archives(params.synthetic, folder)
    collected = []
    for archive, fetch, page in _wanted(params):
        target = folder / archive.name
        _obtain(archive, fetch, page, settings, target)
        collected.append(target)
    return collected


def _wanted(params: DatasetParams) -> list[tuple[Archive, Fetch | None, str]]:
    """Each archive with how it is fetched and the address at which a browser can."""
    wanted: list[tuple[Archive, Fetch | None, str]] = []
    if params.gdrive:
        for on_drive in params.gdrive.archives:
            page = drive.PAGE_URL.format(on_drive.id)
            wanted.append((on_drive, partial(drive.fetch, on_drive, params.gdrive), page))
    if params.url:
        for on_web in params.url.archives:
            wanted.append((on_web, partial(web.fetch, on_web, params.url), on_web.url))
    if params.file:
        wanted += [(in_folder, None, "") for in_folder in params.file.archives]
    return wanted


def _obtain(
    archive: Archive, fetch: Fetch | None, page: str, settings: Settings, target: Path
) -> None:
    if archive.sha256 is None:
        if fetch:
            _download_unpinned(archive, fetch, page, target)
        return
    cache = store.Cache(settings.cache)
    found = store.find(settings.archives, archive) if settings.archives else None
    found = found or cache.get(archive.sha256)
    if found:
        print(f"{archive.name}: {found}", file=sys.stderr)
    elif fetch:
        found = _download(archive, archive.sha256, fetch, page, cache)
    else:
        raise _not_found(archive, settings)
    store.copy(found, target)


def _download(archive: Archive, sha256: str, fetch: Fetch, page: str, cache: store.Cache) -> Path:
    with cache.downloading(sha256) as folder:
        # Another process may have filled the cache while this one waited.
        found = cache.get(sha256)
        if found:
            return found
        # One name whatever the params call it, so that a renamed archive is still resumed.
        downloaded = folder / "archive.zip"
        resumed = any(folder.iterdir())
        fetch(downloaded)
        problem = mismatch(downloaded, archive)
        if problem and resumed:
            print(f"{archive.name}: {problem}; starting afresh", file=sys.stderr)
            downloaded.unlink()
            fetch(downloaded)
            problem = mismatch(downloaded, archive)
        if problem:
            downloaded.unlink()
            raise _wrong(archive, problem, page)
        return cache.put(downloaded, sha256)


def _download_unpinned(archive: Archive, fetch: Fetch, page: str, target: Path) -> None:
    # No hash, so nothing would tell a resumed mixture or a damaged cache from the real thing.
    fetch(target)
    problem = mismatch(target, archive)
    if problem:
        raise _wrong(archive, problem, page)
    print(
        f"{archive.name}: sha256: {sha256_of(target)}, size: {target.stat().st_size}; nothing "
        "vouches for these bytes until you pin both in params.yaml",
        file=sys.stderr,
    )


def _wrong(archive: Archive, problem: str, page: str) -> PipelineError:
    return PipelineError(f"{archive.name} ({page}): {problem}; {by_hand(archive, page)}")


def _not_found(archive: Archive, settings: Settings) -> PipelineError:
    wanted = f"{archive.name}: no file of sha256 {archive.sha256}"
    if settings.archives is None:
        return PipelineError(
            f"{wanted}, since MONUSEG_ARCHIVES is not set; set it to the folder that holds it"
        )
    same_name = settings.archives / archive.name
    if isinstance(archive, FileArchive) and same_name.is_file():
        return PipelineError(
            f"{wanted} in {settings.archives}; the file of that name there has sha256 "
            f"{sha256_of(same_name)}: if you trust it, pin that in params.yaml"
        )
    return PipelineError(f"{wanted} in {settings.archives}; put it there, under any name")
