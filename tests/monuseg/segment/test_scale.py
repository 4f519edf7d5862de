"""Memory does not grow with the slide."""

from pathlib import Path

import pytest

from tests.monuseg.segment.large_slides import segment, write_slide

MOST = 2000  # MB
FORMATS = ("--write", "labels,csv,geojson", "--views", "1")


def nuclei(said: str) -> int:
    """The number that the command prints: `slide.svs: 12 nuclei at ...`."""
    return int(said.partition(" nuclei at ")[0].rpartition(" ")[2])


def test_a_slide_of_5120_pixels(tmp_path: Path) -> None:
    slide = tmp_path / "slide.svs"
    write_slide(slide, 5120)
    taken = segment(slide, tmp_path / "results", *FORMATS)
    assert taken.peak < MOST
    # Of 630 a million pixels of tissue, which is of a kind that the weights were not trained on.
    assert nuclei(taken.said) > 400 * 5.12 * 2.56


@pytest.mark.long
def test_a_slide_of_20480_pixels_takes_no_more_memory_than_one_of_5120(tmp_path: Path) -> None:
    peaks = []
    for side in (5120, 20480):
        slide = tmp_path / f"{side}.svs"
        write_slide(slide, side)
        peaks.append(segment(slide, tmp_path / "results", *FORMATS).peak)
    assert peaks[1] < MOST
    assert peaks[1] < 1.1 * peaks[0]
