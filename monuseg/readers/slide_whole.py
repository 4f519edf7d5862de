"""Whole slides, by OpenSlide."""

import hashlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monuseg.core.errors import PipelineError
from monuseg.formats.images import RGB
from monuseg.readers.slide import WHITE, DamagedRegionError, Slide
from monuseg.readers.slide_resolution import slide_resolution

if TYPE_CHECKING:
    from openslide import AbstractSlide

INSTALL = "pip install openslide-python openslide-bin"
# Of a slide's beginning and end, for telling whether it is the same.
SAMPLE = 1 << 16
MIRAX = ".mrxs"  # has its pixels in a folder of the file's name
FLUORESCENCE = "SLIDE_TYPE_FLUORESCENCE"


class WholeSlide(Slide):
    """A slide that OpenSlide reads; its label and overview photograph are never looked at.

    Args:
        path: the file.
        opened: opens it; called again after damage.
        um_per_pixel: given by the user, or None for what the file states.
        crop_to_bounds: leave out the empty glass around what was scanned, as QuPath does.
        scene: which of several scanned areas, counted from 1; None for all, as they lie.

    Raises:
        PipelineError: it is of fluorescence, has no such scene, or as `slide_resolution`.
    """

    def __init__(
        self,
        path: Path,
        opened: "Callable[[], AbstractSlide]",
        *,
        um_per_pixel: float | None,
        crop_to_bounds: bool,
        scene: int | None,
    ) -> None:
        self.path = path
        self._opened = opened
        self._lock = threading.Lock()
        self._handle = opened()
        self._levels = [(height, width) for width, height in self._handle.level_dimensions]
        # OpenSlide's own, by which it finds the place of a region in a level.
        self._downsamples = self._handle.level_downsamples
        properties = dict(self._handle.properties)
        if properties.get("mirax.GENERAL.SLIDE_TYPE") == FLUORESCENCE:
            raise PipelineError(f"{path}: a fluorescence slide; only brightfield slides are read")
        found, self.remark = slide_resolution(properties, given=um_per_pixel, name=str(path))
        self.um_per_pixel, self.source = found.um_per_pixel, found.source
        y, x, self.height, self.width = self._box(properties, crop_to_bounds, scene)
        self.origin = (y, x)
        self.identity = _identity(path, properties, (y, x, self.height, self.width))

    def _box(
        self, properties: Mapping[str, str], crop_to_bounds: bool, scene: int | None
    ) -> tuple[int, int, int, int]:
        """Upper left pixel, height and width of what counts."""
        whole = (0, 0, *self._levels[0])
        if scene is not None:
            box = _box_at(properties, f"openslide.region[{scene - 1}].{{}}")
            if box is None:
                count = sum(key.startswith("openslide.region[") for key in properties) // 4
                raise PipelineError(f"{self.path}: no scene {scene}; it has {max(1, count)}")
        else:
            box = _box_at(properties, "openslide.bounds-{}") if crop_to_bounds else None
        if box is None:
            return whole
        y, x, height, width = box
        bottom, right = min(y + height, whole[2]), min(x + width, whole[3])
        y, x = max(0, y), max(0, x)
        return (y, x, bottom - y, right - x) if y < bottom and x < right else whole

    def close(self) -> None:
        """Close OpenSlide's handle; nothing can be read afterwards."""
        self._handle.close()

    def _decode(self, level: int, y: int, x: int, height: int, width: int) -> RGB:
        from openslide import OpenSlideError

        downsample = self._downsamples[level]
        region = (round(x * downsample), round(y * downsample)), level, (width, height)
        handle = self._handle
        try:
            return _on_white(np.asarray(handle.read_region(*region)))
        except OpenSlideError:
            pass
        # After one error every further read of a handle fails, of other threads and regions too. So
        # this may not be the damaged one: a handle that nobody else uses tells.
        with self._lock:
            alone = self._opened()
            try:
                return _on_white(np.asarray(alone.read_region(*region)))
            except OpenSlideError as error:
                place = f"rows {y} to {y + height}, columns {x} to {x + width} of level {level}"
                raise DamagedRegionError(
                    f"{self.path}: {place} cannot be decoded ({error}); fetch or export it again"
                ) from error
            finally:
                alone.close()
                if self._handle is handle:
                    self._handle = self._opened()


def _on_white(rgba: RGB) -> RGB:
    """(height, width, 4) of straight alpha on white, as (height, width, 3)."""
    colours, alpha = rgba[..., :3], rgba[..., 3:]
    if np.all(alpha == WHITE):
        return colours
    mixed = colours.astype(np.uint16) * alpha + np.uint16(WHITE) * (WHITE - alpha)
    return ((mixed + WHITE // 2) // WHITE).astype(np.uint8)


def _box_at(properties: Mapping[str, str], key: str) -> tuple[int, int, int, int] | None:
    try:
        y, x, height, width = (
            int(properties[key.format(part)]) for part in ("y", "x", "height", "width")
        )
    except (KeyError, ValueError):
        return None
    return y, x, height, width


def _identity(path: Path, properties: Mapping[str, str], box: tuple[int, ...]) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(SAMPLE)
        file.seek(max(0, size - SAMPLE))
        tail = file.read(SAMPLE)
    others = []
    if path.suffix.lower() == MIRAX:
        folder = path.with_suffix("")
        others = sorted((one.name, one.stat().st_size) for one in folder.iterdir())
    told = repr((size, others, sorted(properties.items()), box)).encode()
    return hashlib.sha256(told + head + tail).hexdigest()
