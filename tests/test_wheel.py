"""What somebody gets who installs the wheel: weights, the command, and no TensorFlow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import REPOSITORY

SLIDES = "docs/synthetic-slides.jpg"


def installed(folder: Path) -> Path:
    """An environment with the wheel of this clone and what it needs, at the pinned versions."""
    dist, environment = folder / "dist", folder / "environment"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", dist, REPOSITORY], check=True, cwd=folder
    )
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    (wheel,) = dist.glob("*.whl")
    pins = REPOSITORY / "constraints.txt"
    subprocess.run(
        [
            environment / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check",
            "install", "--constraint", pins, wheel,
        ],
        check=True, cwd=folder,
    )  # fmt: skip
    return environment / "bin"


@pytest.mark.long
def test_the_wheel_alone_segments_an_image_in_another_folder(tmp_path: Path) -> None:
    commands = installed(tmp_path)
    elsewhere = tmp_path / "my images"
    elsewhere.mkdir()
    shutil.copy(REPOSITORY / SLIDES, elsewhere / "photo.jpg")
    done = subprocess.run(
        [commands / "monuseg", "segment", "photo.jpg"],
        cwd=elsewhere, capture_output=True, text=True, check=True,
        env={"HOME": str(tmp_path), "PATH": os.defpath},
    )  # fmt: skip
    assert " nuclei at 0.251 um per pixel (default)" in done.stdout
    assert "not for commercial use" in done.stdout
    assert (elsewhere / "nuclei" / "photo.nuclei.geojson").is_file()
    packages = subprocess.run(
        [commands / "python", "-m", "pip", "list"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "tensorflow" not in packages
    assert "openvino" in packages
