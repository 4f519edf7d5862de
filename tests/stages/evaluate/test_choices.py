"""Which settings of nuclei there are to choose from."""

from monuseg.nuclei.watershed import NucleiSettings
from stages.evaluate.choices import combinations
from stages.evaluate.params import NucleiParams


def test_a_setting_that_a_separation_does_not_use_is_not_varied() -> None:
    params = NucleiParams(
        separation=["shape", "distance"],
        smoothing=[1.0],
        min_distance=[4, 5, 6],
        marker_threshold=[0.3, 0.4, 0.6],
        min_area=[3],
        min_probability=[0.0],
    )
    by_shape = [NucleiSettings(0.5, 1.0, distance, 3, "shape", 0.3) for distance in (4, 5, 6)]
    by_distance = [NucleiSettings(0.5, 1.0, 4, 3, "distance", marker) for marker in (0.3, 0.4, 0.6)]
    assert combinations(params, 0.5, ["nucleus", "distance"]) == by_shape + by_distance
