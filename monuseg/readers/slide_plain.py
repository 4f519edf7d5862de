"""A plain image as a slide: decoded whole, once."""

import hashlib
from pathlib import Path

from monuseg.core.errors import PipelineError
from monuseg.formats.images import RGB
from monuseg.formats.scale import ASSUMED
from monuseg.readers.raster import BYTES_MAX, decode_rgb
from monuseg.readers.resolution import settle, stated_by_image
from monuseg.readers.slide import Slide


class PlainSlide(Slide):
    """What `monuseg.readers.raster.decode_rgb` reads, pixel by pixel.

    Args:
        path: the file.
        um_per_pixel: given by the user, or None for what the file states.

    Raises:
        PipelineError: as `decode_rgb`; or the file is too large to be such an image.
    """

    def __init__(self, path: Path, *, um_per_pixel: float | None) -> None:
        size = path.stat().st_size
        if size > BYTES_MAX:
            raise PipelineError(
                f"{path}: {size} bytes, but at most {BYTES_MAX} are allowed; "
                "export the region of interest alone, or save it as a tiled TIF"
            )
        content = path.read_bytes()
        self._pixels = decode_rgb(content, name=str(path))
        self.path = path
        self.height, self.width = self._pixels.shape[:2]
        self._levels = [(self.height, self.width)]
        self.origin = (0, 0)
        found, self.remark = settle(stated_by_image(content), given=um_per_pixel)
        self.source = found.source
        self.um_per_pixel = None if found.source == ASSUMED else found.um_per_pixel
        self.identity = hashlib.sha256(content).hexdigest()

    def close(self) -> None:
        """Give back the pixels."""
        del self._pixels

    def _decode(self, level: int, y: int, x: int, height: int, width: int) -> RGB:
        return self._pixels[y : y + height, x : x + width]
