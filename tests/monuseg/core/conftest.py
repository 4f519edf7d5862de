"""A stage that maps in parallel, for tests of how."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monuseg.formats.images import write_rgb
from monuseg.formats.manifest import ImageRecord, write_records
from tests.repository import REPOSITORY

StageMasks = Callable[..., dict[str, bytes]]
IMAGES = "abcdef"


@pytest.fixture
def outlined(project: Path) -> Path:
    """A project with annotated images."""
    raw = project / "data" / "raw"
    raw.mkdir(parents=True)
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in ((2, 2), (7, 2), (7, 6)))
    region = f"<Region><Vertices>{vertices}</Vertices></Region>"
    records = []
    for image_id in IMAGES:
        write_rgb(raw / f"{image_id}.tif", np.zeros((9, 11, 3), np.uint8))
        (raw / f"{image_id}.xml").write_text(
            f"<Annotations><Annotation><Regions>{region}</Regions></Annotation></Annotations>"
        )
        records.append(
            ImageRecord(image_id, "lung", image_id, "train", 0.25, "stated", "aperio-xml", "0", "0")
        )
    write_records(raw / "manifest.csv", records)
    return project


@pytest.fixture
def stage_masks(outlined: Path) -> StageMasks:
    """What `python -m stages.masks` writes, run as DVC does."""

    def run(**environment: str) -> dict[str, bytes]:
        subprocess.run(
            [sys.executable, "-m", "stages.masks", "--debug"],
            cwd=outlined,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
            check=True,
        )
        return {path.name: path.read_bytes() for path in (outlined / "data/masks").iterdir()}

    return run
