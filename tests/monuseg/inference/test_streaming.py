"""Streaming: the whole image's probabilities, each window once, in bounded memory."""

import tracemalloc
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from monuseg.formats.images import RGB
from monuseg.inference import streaming
from monuseg.inference.params import PredictParams
from monuseg.inference.sliding_window import Region
from monuseg.inference.streaming import Read, Stream
from monuseg.inference.views import augmented, predict_augmented

PARAMS = PredictParams.load().model_copy(
    update={"window": 64, "overlap": 16, "flips": True, "rotations": True, "scales": [1.0]}
)


def textured(height: int, width: int) -> RGB:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.0))


def reader(image: RGB) -> Read:
    def read(y: int, x: int, height: int, width: int) -> RGB:
        assert min(y, x) >= 0
        assert y + height <= image.shape[0]
        assert x + width <= image.shape[1]
        return image[y : y + height, x : x + width]

    return read


def with_context(windows: np.ndarray) -> np.ndarray:
    """A model of two classes whose answer depends on the window and the place in it."""
    scaled = windows.astype(np.float32) / 255
    blurred = np.stack([cv2.GaussianBlur(one, (0, 0), 2.0) for one in scaled])
    rise = np.linspace(0, 0.2, windows.shape[1], dtype=np.float32)[:, np.newaxis, np.newaxis]
    return np.concatenate([blurred[..., :1] * 0.8 + rise, scaled[..., 1:2]], axis=-1)


def parts(height: int, width: int, side: int, halo: int) -> list[Region]:
    return [
        Region(
            max(0, y - halo), min(height, y + side + halo),
            max(0, x - halo), min(width, x + side + halo),
        )
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]  # fmt: skip


@pytest.mark.parametrize("opencv", [4, streaming.OPENCV])
@pytest.mark.parametrize("classes", [1, 3, 6])
def test_probabilities_are_rounded_to_the_nearest_half(
    monkeypatch: pytest.MonkeyPatch, opencv: int, classes: int
) -> None:
    monkeypatch.setattr(streaming, "OPENCV", opencv)
    generator = np.random.default_rng(0)
    answer = generator.random((1, 64, 64, classes), np.float32)
    answer[:, 16:32] *= np.float32(2.0) ** -generator.integers(1, 30, (16, 64, classes))
    answer[:, 32:48] = answer[:, 32:48].astype(np.float16) + np.float32(2.0**-13)  # ties
    answer[:, 48] = (1, *[0] * (classes - 1))
    image = np.zeros((64, 64, 3), np.uint8)
    stream = Stream(lambda _: answer, reader(image), 64, 64, PARAMS, divisor=16)
    (found,) = stream.regions([Region(0, 64, 0, 64)])
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, answer[0].astype(np.float16))


@pytest.mark.parametrize("memory", [0, 100_000, 1 << 28])
@pytest.mark.parametrize(
    ("scale", "scales"), [(1.0, [1.0]), (1.97, [1.0]), (0.6, [1.0]), (1.3, [1.0, 0.7])]
)
def test_parts_have_the_bits_of_the_whole(
    scale: float, scales: list[float], memory: int, tmp_path: Path
) -> None:
    image = textured(151, 203)
    params = PARAMS.model_copy(update={"scales": scales})
    whole = predict_augmented(with_context, image, params, divisor=16, scale=scale)
    stream = Stream(
        augmented(with_context, params), reader(image), 151, 203, params,
        divisor=16, scale=scale, scratch=tmp_path / "scratch", memory=memory,
    )  # fmt: skip
    regions = parts(151, 203, 60, 20)
    for region, found in zip(regions, stream.regions(regions), strict=True):
        top, bottom, left, right = region
        np.testing.assert_array_equal(found, whole[top:bottom, left:right])
    assert not list(tmp_path.glob("scratch/*"))  # the file has no name


def test_each_window_is_computed_once() -> None:
    image, seen = textured(300, 250), Counter[bytes]()

    def forward(windows: np.ndarray) -> np.ndarray:
        seen.update(window.tobytes() for window in windows)
        return windows[..., :1] / np.float32(255)

    stream = Stream(forward, reader(image), 300, 250, PARAMS, divisor=16)
    list(stream.regions(parts(300, 250, 70, 30)))
    assert set(seen.values()) == {1}
    assert len(seen) == 6 * 5


def test_windows_without_tissue_are_not_computed_and_have_no_probability() -> None:
    image, windows = textured(64, 400), []

    def forward(pixels: np.ndarray) -> np.ndarray:
        windows.extend(pixels)
        return np.ones((*pixels.shape[:3], 1), np.float32)

    stream = Stream(
        forward, reader(image), 64, 400, PARAMS, divisor=16,
        wanted=lambda region: region.left < 60,
    )  # fmt: skip
    [found] = stream.regions([Region(0, 64, 0, 400)])
    assert len(windows) == 2  # from 0 and 48
    assert np.all(found[:, :112] == 1)  # up to the edge of what was computed
    assert np.all(found[:, 112:] == 0)


def test_if_no_window_is_computed_there_is_nothing_to_say() -> None:
    stream = Stream(
        with_context, reader(textured(64, 64)), 64, 64, PARAMS, divisor=16,
        wanted=lambda region: False,
    )  # fmt: skip
    with pytest.raises(ValueError, match="left out"):
        next(stream.regions([Region(0, 64, 0, 64)]))


def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"flips": False, "rotations": False})

    def forward(windows: np.ndarray) -> np.ndarray:
        return np.repeat(windows[..., :1] / np.float32(255), 4, axis=-1)

    def read(y: int, x: int, height: int, width: int) -> RGB:
        return np.full((height, width, 3), 128, np.uint8)

    peaks = []
    for side in (512, 1536):
        stream = Stream(
            forward, read, side, side, params, divisor=16, scratch=tmp_path, memory=1 << 20
        )
        tracemalloc.start()
        for _ in stream.regions(parts(side, side, 128, 32)):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]
