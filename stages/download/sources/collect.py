"""All archives of the chosen source, verified, in one folder."""

import shutil
from pathlib import Path

from monuseg.core.errors import PipelineError, tell
from monuseg.core.files import replacing, sha256_of
from monuseg.core.settings import Settings
from stages.download.params import Archive, DatasetParams, RemoteArchive, TransferParams
from stages.download.sources import store
from stages.download.sources.verify import failure, mismatch
from stages.download.synthetic.archive import write_archives


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
        PipelineError: an archive is not available, or is not the one asked for.
    """
    if params.synthetic:
        return write_archives(params.synthetic, folder)
    transfer = params.gdrive or params.url
    source = transfer or params.file
    collected = []
    for archive in source.archives if source else []:
        target = folder / archive.name
        _obtain(archive, transfer, settings, target)
        collected.append(target)
    return collected


def _obtain(
    archive: Archive, transfer: TransferParams | None, settings: Settings, target: Path
) -> None:
    found = store.find(archive, settings)
    if found:
        tell(f"{archive.name}: {found}")
    elif transfer is None or not isinstance(archive, RemoteArchive):
        raise _not_found(archive, settings)
    elif archive.sha256:
        found = _download(archive, transfer, store.entry(settings.cache, archive.sha256))
    else:
        _download_unpinned(archive, transfer, target)
        return
    # A link would let a change to one file reach the other.
    with replacing(target) as temporary:
        shutil.copyfile(found, temporary)
        # By hand or by a process, what was found may have been changed since.
        if sha256_of(temporary) != archive.sha256:
            raise PipelineError(f"{found}: changed while it was copied; run again")


def _download(archive: RemoteArchive, transfer: TransferParams, entry: Path) -> Path:
    # Not above: synthetic and local archives need none of the libraries for the web.
    from stages.download.sources.fetch import fetch

    with store.downloading(entry) as folder:
        # Another process may have filled the cache while this one waited.
        if store.is_whole(entry):
            return entry
        # One name whatever the params call it, so that a renamed archive is still resumed.
        downloaded = folder / "archive.zip"
        is_resumed = any(folder.iterdir())
        while True:
            fetch(archive, transfer, downloaded)
            problem = mismatch(downloaded, archive)
            if not problem:
                return downloaded.replace(entry)
            downloaded.unlink()
            if not is_resumed:
                raise failure(archive, problem)
            tell(f"{archive.name}: {problem}; starting afresh")
            is_resumed = False


def _download_unpinned(archive: RemoteArchive, transfer: TransferParams, target: Path) -> None:
    from stages.download.sources.fetch import fetch  # see `_download`

    # Without a hash a resumed mixture or a damaged cache would go unnoticed, so neither is used.
    fetch(archive, transfer, target)
    problem = mismatch(target, archive)
    if problem:
        raise failure(archive, problem)
    tell(
        f"{archive.name}: sha256: {sha256_of(target)}, size: {target.stat().st_size}; nothing "
        "vouches for these bytes until you pin both in params.yaml"
    )


def _not_found(archive: Archive, settings: Settings) -> PipelineError:
    wanted = f"{archive.name}: no file of sha256 {archive.sha256}"
    if settings.archives is None:
        return PipelineError(
            f"{wanted}, since MONUSEG_ARCHIVES is not set; set it to the folder that holds it"
        )
    same_name = settings.archives / archive.name
    if same_name.is_file():
        return PipelineError(
            f"{wanted} in {settings.archives}; the file of that name there has sha256 "
            f"{sha256_of(same_name)}: if you trust it, pin that in params.yaml"
        )
    return PipelineError(f"{wanted} in {settings.archives}; put it there, under any name")
