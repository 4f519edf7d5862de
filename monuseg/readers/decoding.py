"""Decoders of others, kept silent, and what they raise for files that they cannot read."""

import os
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What Pillow and NumPy raise for damaged, unsupported or oversized files.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    RuntimeError,  # includes NotImplementedError
    struct.error,
)
STANDARD_ERROR = 2  # file descriptor

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep standard error clear of warnings and of what libraries print themselves.

    Their messages would clutter the one line of an error, and an exception reports any failure. All
    threads share the file descriptor, so they take turns.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings(), Path(os.devnull).open("wb") as nowhere:
        warnings.simplefilter("ignore")
        kept = os.dup(STANDARD_ERROR)
        try:
            os.dup2(nowhere.fileno(), STANDARD_ERROR)
            yield
        finally:
            os.dup2(kept, STANDARD_ERROR)
            os.close(kept)
