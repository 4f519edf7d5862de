"""Blocks: the nuclei of the whole image, each once, wherever a run was interrupted."""

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from monuseg.core.errors import PipelineError
from monuseg.formats.images import RGB, Labels
from monuseg.inference.params import PredictParams
from monuseg.inference.sliding_window import Region
from monuseg.inference.streaming import Stream
from monuseg.inference.views import augmented, predict_augmented
from monuseg.nuclei.watershed import NucleiSettings, nuclei_from_predictions
from monuseg.segment.blocks import HAEMATOXYLIN, Blocks, Finished, segment_blocks
from monuseg.segment.objects import Objects
from stages.download.synthetic.slide import draw_slide

PARAMS = PredictParams.load().model_copy(
    update={"window": 128, "overlap": 32, "flips": False, "rotations": False, "scales": [1.0]}
)
SETTINGS = NucleiSettings(threshold=0.5, smoothing=1.0, min_distance=5, min_area=30)
CLASSES = ["nucleus"]


def haematoxylin(windows: np.ndarray) -> np.ndarray:
    """A model without training: blurred haematoxylin."""
    density = HAEMATOXYLIN[windows, [0, 1, 2]].sum(axis=-1).astype(np.float32)
    blurred = np.stack([cv2.GaussianBlur(one, (0, 0), 2.0) for one in density])
    return np.asarray(np.clip(blurred / 0.5, 0, 1)[..., np.newaxis])


class Slide:
    """An image, read as a slide is, and its nuclei."""

    def __init__(self, image: RGB, scale: float = 1.0, settings: NucleiSettings = SETTINGS) -> None:
        self.image, self.scale, self.settings = image, scale, settings
        self.height, self.width = image.shape[:2]

    def read(self, y: int, x: int, height: int, width: int) -> RGB:
        """Pixels, as `Read`."""
        return self.image[y : y + height, x : x + width]

    def whole(self) -> tuple[np.ndarray, Labels]:
        """Probabilities and nuclei of the whole image at once."""
        found = predict_augmented(haematoxylin, self.image, PARAMS, divisor=16, scale=self.scale)
        return found, nuclei_from_predictions(found, CLASSES, self.settings, self.scale)

    def segment(
        self,
        folder: Path,
        *,
        side: int,
        halo: int = 96,
        wanted: Callable[[Region], bool] = lambda region: True,
        progress: Callable[[int, int], None] | None = None,
    ) -> Finished:
        """The nuclei by blocks."""
        finished = Finished(folder, Blocks(self.height, self.width, side, halo), {"model": "h"})
        stream = Stream(
            augmented(haematoxylin, PARAMS), self.read, self.height, self.width, PARAMS,
            divisor=16, scale=self.scale, wanted=wanted,
        )  # fmt: skip
        segment_blocks(
            stream, self.read, finished, CLASSES, self.settings, self.scale,
            wanted=wanted, progress=progress,
        )  # fmt: skip
        return finished


def painted(blocks: Iterable[Objects], height: int, width: int) -> np.ndarray:
    """A label map; no pixel may belong to two nuclei."""
    labels = np.zeros((height, width), np.int32)
    number = 0
    for objects in blocks:
        for (top, left, bottom, right), mask in zip(objects.boxes, objects.masks, strict=True):
            number += 1
            part = labels[top:bottom, left:right]
            assert not part[mask].any()
            part[mask] = number
    return labels


def assert_same_nuclei(first: np.ndarray, second: np.ndarray) -> None:
    assert np.array_equal(first > 0, second > 0)
    pairs = first[first > 0].astype(np.int64) << 32 | second[first > 0]
    assert first.max() == second.max() == len(np.unique(pairs)) > 0


@pytest.fixture(scope="module")
def slide() -> Slide:
    return Slide(draw_slide("breast", 420, 500, 1.0, np.random.default_rng(5)).image)


@pytest.mark.parametrize("side", [150, 256, 1000])
@pytest.mark.parametrize("scale", [1.0, 1.97])
def test_the_nuclei_are_those_of_the_whole_image(
    slide: Slide, side: int, scale: float, tmp_path: Path
) -> None:
    scaled = Slide(slide.image, scale)
    probability, labels = scaled.whole()
    finished = scaled.segment(tmp_path, side=side)
    found = painted(finished, scaled.height, scaled.width)
    assert_same_nuclei(found, labels)
    number = 0
    density = HAEMATOXYLIN[slide.image, [0, 1, 2]].sum(axis=-1)
    for objects in finished:
        for place in range(len(objects)):
            number += 1
            own = found == number
            rows, columns = np.nonzero(own)
            box = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
            assert objects.boxes[place].tolist() == box
            mean = probability[..., 0][own].astype(float).mean()
            assert objects.probability[place] == pytest.approx(mean, rel=1e-5)
            assert objects.haematoxylin[place] == pytest.approx(density[own].mean(), rel=1e-5)


def test_an_interrupted_run_goes_on_where_it_was(slide: Slide, tmp_path: Path) -> None:
    class Killed(Exception):  # noqa: N818
        pass

    def killed(done: int, nuclei: int) -> None:
        if done == 4:
            raise Killed

    whole = [*slide.segment(tmp_path / "whole", side=150)]
    with pytest.raises(Killed):
        slide.segment(tmp_path / "killed", side=150, progress=killed)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("block-*")}
    assert len(times) in (4, 5)  # the next one may have been begun, and is finished then
    told: list[tuple[int, int]] = []
    again = slide.segment(
        tmp_path / "killed", side=150, progress=lambda done, nuclei: told.append((done, nuclei))
    )
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert [done for done, _ in told] == list(range(len(times) + 1, 13))
    assert told[-1][1] == sum(map(len, whole))
    for one, other in zip(again, whole, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.probability, other.probability)
        assert all(map(np.array_equal, one.masks, other.masks))


def test_no_block_is_kept_after_one_that_could_not_be_written(
    slide: Slide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later one, found without its nuclei, would have them too when the run goes on."""
    write = Finished.write

    def full(finished: Finished, number: int, objects: Objects) -> None:
        if number == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(finished, number, objects)

    monkeypatch.setattr(Finished, "write", full)
    with pytest.raises(OSError, match="No space left"):
        slide.segment(tmp_path, side=150)
    kept = sorted(path.name for path in tmp_path.glob("block-*"))
    assert kept == [f"block-{number:08d}.npz" for number in range(3)]


def test_blocks_of_another_identity_are_not_taken_over(tmp_path: Path) -> None:
    blocks = Blocks(100, 100, 50, 10)
    Finished(tmp_path, blocks, {"weights": "a"}).write(0, Objects.none())
    (tmp_path / "notes.txt").write_text("somebody's")
    assert 0 in Finished(tmp_path, blocks, {"weights": "a"})
    assert 0 not in Finished(tmp_path, blocks, {"weights": "b"})
    assert (tmp_path / "notes.txt").exists()
    Finished(tmp_path, blocks, {"weights": "b"}).write(0, Objects.none())
    assert 0 not in Finished(tmp_path, Blocks(100, 100, 25, 10), {"weights": "b"})


def test_a_block_comes_back_as_it_was_written(tmp_path: Path) -> None:
    masks = [np.array([[True]]), np.eye(5, dtype=bool) | True, np.array([[True, False, True]] * 3)]
    boxes = np.array([[0, 0, 1, 1], [3, 4, 8, 9], [10**6, 5, 10**6 + 3, 8]], np.int64)
    numbers = np.array([0.5, 0.25, 1.0], np.float32)
    finished = Finished(tmp_path, Blocks(10, 10), {})
    finished.write(0, Objects(boxes, masks, numbers, numbers * 2))
    [found] = finished
    np.testing.assert_array_equal(found.boxes, boxes)
    assert found.boxes.dtype == np.int64
    assert all(map(np.array_equal, found.masks, masks))
    np.testing.assert_array_equal(found.haematoxylin, numbers * 2)


def test_a_damaged_block_is_named(tmp_path: Path) -> None:
    finished = Finished(tmp_path, Blocks(10, 10), {})
    finished.write(0, Objects.none())
    next(tmp_path.glob("block-*")).write_bytes(b"PK no more")
    with pytest.raises(PipelineError, match=r"block-00000000\.npz is damaged.*delete it"):
        list(finished)


@pytest.mark.parametrize("halo", [0, 8])
def test_with_too_small_a_halo_no_nucleus_is_doubled(
    slide: Slide, halo: int, tmp_path: Path
) -> None:
    _, labels = slide.whole()
    found = painted(slide.segment(tmp_path, side=60, halo=halo), slide.height, slide.width)
    # Cut at the seams, but neither twice nor missing.
    seen = found[labels > 0] > 0
    assert seen.mean() > 0.9
    whole, parts = np.unique(labels[labels > 0]).size, found.max()
    assert parts < 2 * whole


def test_a_large_nucleus_across_seams_is_one(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:600, :600]
    image = np.full((600, 600, 3), 240, np.uint8)
    for y, x in [(310, 300), (100, 290), (305, 520)]:
        image[((rows - y) / 100) ** 2 + ((columns - x) / 60) ** 2 <= 1] = (80, 40, 130)
    slide = Slide(image, settings=replace(SETTINGS, min_distance=60))
    _, labels = slide.whole()
    assert labels.max() == 3
    found = painted(slide.segment(tmp_path, side=300, halo=256), 600, 600)
    assert_same_nuclei(found, labels)


def test_glass_costs_nothing_and_what_reaches_into_it_is_kept(slide: Slide, tmp_path: Path) -> None:
    image = np.full((420, 900, 3), 243, np.uint8)
    image[:, :500] = slide.image
    wide = Slide(image)
    _, labels = wide.whole()
    finished = wide.segment(tmp_path, side=100, wanted=lambda region: region.left < 510)
    assert not any(9 * row + 7 in finished for row in range(5))
    found = painted(finished, 420, 900)
    assert_same_nuclei(found, labels)


def test_an_image_without_nuclei(tmp_path: Path) -> None:
    finished = Slide(np.full((90, 70, 3), 243, np.uint8)).segment(tmp_path, side=50)
    assert [len(objects) for objects in finished] == [0, 0, 0, 0]


def test_blocks_cover_an_image_once() -> None:
    blocks = Blocks(250, 410, 100, 20)
    times = np.zeros((250, 410), int)
    for core, seen in blocks:
        times[core.top : core.bottom, core.left : core.right] += 1
        assert seen.top == max(0, core.top - 20)
        assert seen.right == min(410, core.right + 20)
    assert (times == 1).all()
    assert blocks.around(0) == [1, 5, 6]
    assert blocks.around(7) == [1, 2, 3, 6, 8, 11, 12, 13]
    assert blocks.owners(np.array([[99, 199, 101, 201], [100, 0, 101, 1]])).tolist() == [1, 5]


@pytest.mark.real
@pytest.mark.long
def test_a_real_slide_read_in_parts_has_the_nuclei_of_the_whole(tmp_path: Path) -> None:
    if "MONUSEG_SLIDES" not in os.environ:
        pytest.skip(
            "needs a real slide: set MONUSEG_SLIDES to the folder of cmu-1-small-region.svs"
        )
    openslide = pytest.importorskip("openslide")
    with openslide.OpenSlide(
        Path(os.environ["MONUSEG_SLIDES"]) / "cmu-1-small-region.svs"
    ) as opened:
        pixels = opened.read_region((0, 0), 0, opened.dimensions).convert("RGB")
    slide = Slide(np.asarray(pixels), 0.499 / 0.25)
    _, labels = slide.whole()
    found = painted(slide.segment(tmp_path, side=900, halo=256), slide.height, slide.width)
    assert_same_nuclei(found, labels)
