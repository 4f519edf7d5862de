"""When an assumed resolution is doubted."""

import pytest

from monuseg.segment.resolution_check import size_remark


@pytest.mark.parametrize(
    ("median_area", "um_per_pixel", "remedy"),
    [
        (100.0, 0.25, "scanned at 20x, give --um-per-pixel 0.5"),  # 6 um2
        (390.0, 0.25, None),
        (98.0, 0.5, None),  # the same nuclei at 20x, which was said
        (1600.0, 0.25, "scanned at 80x, give --um-per-pixel 0.125"),
    ],
)
def test_nuclei_of_an_unusual_size_speak_against_it(
    median_area: float, um_per_pixel: float, remedy: str | None
) -> None:
    said = size_remark(200, median_area, um_per_pixel)
    assert said == remedy or (said is not None and remedy is not None and remedy in said)


def test_a_few_nuclei_say_nothing() -> None:
    assert size_remark(0, None, 0.25) is None
    assert size_remark(5, 50.0, 0.25) is None
