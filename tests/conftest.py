"""Fixtures that tests of several folders share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def archives() -> Path:
    """The folder of the real MoNuSeg archives; skips where MONUSEG_ARCHIVES names none."""
    folder = os.environ.get("MONUSEG_ARCHIVES")
    if not folder:
        pytest.skip("MONUSEG_ARCHIVES does not name the folder of the real archives")
    return Path(folder)
