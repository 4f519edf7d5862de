"""The image that results belong to."""

from dataclasses import dataclass

from monuseg.core.errors import PipelineError

Colour = tuple[int, int, int]

# Yellow of Okabe and Ito's palette (https://jfly.uni-koeln.de/color/): light against the dark
# nuclei, and away from pink and violet along the axis that all common kinds of colour vision have.
YELLOW: Colour = (240, 228, 66)


@dataclass(frozen=True)
class Target:
    """An image or a slide.

    Attributes:
        name: what messages call it.
        width: in pixels.
        height: in pixels.
        um_per_pixel: micrometres per pixel; None if unknown.
        identity: what the nuclei's UUIDs are derived from, such as the file's SHA-256.
        class_name: of its nuclei in QuPath.
        colour: RGB of that class and of outlines.
        origin: the pixel (x, y) that QuPath shows as its upper left one, the slide's
            `openslide.bounds-x` and `-y` unless `width` and `height` are within these bounds.
    """

    name: str
    width: int
    height: int
    um_per_pixel: float | None
    identity: str
    class_name: str = "Nucleus"
    colour: Colour = YELLOW
    origin: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if not self.class_name.strip() or ":" in self.class_name:
            # QuPath takes a colon for the mark of a derived class.
            raise PipelineError(f"class name {self.class_name!r}: it is empty or has a colon")
