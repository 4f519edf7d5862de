"""What a user is meant to read when something fails: one line, with the remedy."""

import errno
import os
import re
import socket
import ssl
import sys
from contextlib import suppress
from pathlib import Path

# What the system's errors mean here, and what helps.
_SAID = {
    errno.ENOSPC: "no space left on its disk; free some and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EFBIG: "more bytes than a file may have; raise the limit (`ulimit -f`) and run again",
    errno.EROFS: "on a read-only file system; make it writable, or run in a folder that is",
    errno.EACCES: "permission denied; change the permissions of it or of its folder",
    errno.EPERM: "permission denied; change the permissions of it or of its folder",
    errno.ENOENT: "no such file or folder; if a stage makes it, run `dvc repro`",
    errno.ENOTDIR: "a file stands where a folder is needed; move it away",
    errno.EEXIST: "a file, or a link to nothing, stands where a folder is needed; move it away",
    errno.ENAMETOOLONG: "a name too long for its file system; shorten it",
    errno.EISDIR: "a folder stands where a file is needed; move it away",
    errno.EMFILE: "too many open files; raise the limit (`ulimit -n`) and run again",
    errno.ENFILE: "too many open files on this machine; end other programs and run again",
    errno.EIO: "the disk fails to read or write it; check the disk",
}
# What is said of writing: these errors come from calls on open files, which have no name.
OF_WRITING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})

# Whose numbers are not the system's.
OF_LIBRARIES = (ssl.SSLError, socket.gaierror)


# A user and password in an address. A password may hold what no address may, so all is hidden up to
# the last @ of the word.
_LOGIN = re.compile(r"(?<=://)(?:[^\s/?#@:]*:\S*|[^\s/?#]*)@")
# What follows the path of an address: signatures and tokens have too many names for a list of them.
_QUERY = re.compile(r"(://[^\s?#]*[?#])\S+?(?=[)'\",;:]*(?:\s|$))")


class PipelineError(Exception):
    """Bad input: one line that names the file, the place in it and the remedy.

    `monuseg.core.command.run` prints it on standard error without a traceback and exits with
    `status`.
    """

    status = 1


class PartlyFailedError(PipelineError):
    """Of several inputs some failed; the results of the others are complete."""

    status = 2


def explained(error: Exception) -> str:
    """An error as a line: of the system's errors the file, what is wrong and what helps.

    Paths within the current folder, which is the project's, are shown relative to it.

    Args:
        error: a `PipelineError`, which is such a line already, or an `OSError`.
    """
    if not isinstance(error, OSError) or error.errno is None or isinstance(error, OF_LIBRARIES):
        return one_line(str(error))
    said = _SAID.get(error.errno, error.strerror or str(error))
    file = (
        "a file that the system does not name"
        if error.filename is None
        else os.fsdecode(error.filename)
    )
    return one_line(f"{file}: {said}")


def tell(text: str) -> None:
    """Print a line on standard error; whatever repeats others' words goes this way."""
    print(one_line(text), file=sys.stderr)


def without_secrets(text: str) -> str:
    """Text whose addresses have no login and no query."""
    return _QUERY.sub(r"\1***", _LOGIN.sub("***@", text))


def one_line(text: str) -> str:
    """One line without secrets of addresses and without codes that a terminal obeys."""
    with suppress(FileNotFoundError):  # the current folder may be gone
        text = re.sub(rf"(?<![\w./-]){re.escape(f'{Path.cwd()}{os.sep}')}", "", text)
    text = " ".join(without_secrets(text).split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
