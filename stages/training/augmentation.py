"""Random crops of H&E images and their label maps, each a pure function of a random generator."""

import cv2
import numpy as np
import numpy.typing as npt
from skimage.color import hed_from_rgb, rgb_from_hed

from stages.dataset.images import RGB, Labels
from stages.params.train import AugmentationParams

Pixels = npt.NDArray[np.uint8]

UINT8_MAX = 255.0
# Optical density of each possible pixel value; one is added so that black stays finite.
DENSITY = -np.log((np.arange(256) + 1) / 256).astype(np.float32)


def random_crop(
    image: RGB,
    labels: Labels,
    maps: Pixels,
    centre: tuple[float, float],
    size: int,
    params: AugmentationParams,
    generator: np.random.Generator,
) -> tuple[RGB, Labels, Pixels]:
    """A rotated, scaled and perhaps mirrored square around a point.

    It is cut from the whole image, so that what lies outside an upright square is real context;
    only beyond the image's border it is mirrored.

    Args:
        image: (height, width, 3).
        labels: (height, width).
        maps: (height, width, n) of values that may be interpolated; n may be 0.
        centre: (y, x) in pixels, of the crop.
        size: side of the crop in pixels.
        params: `rotate`, `scale` and `flip` are used.
        generator: gives angle, scale and flip.

    Returns:
        (size, size, 3) image, bilinear, (size, size) labels, nearest, and (size, size, n) maps,
        bilinear.
    """
    angle = np.deg2rad(generator.uniform(-params.rotate, params.rotate))
    # Log-uniform: enlarging by a factor is as likely as shrinking by it.
    scale = np.exp(generator.uniform(*np.log(params.scale)))
    mirror = -1.0 if params.flip and generator.random() < 0.5 else 1.0
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    linear = np.array([[cosine * mirror, -sine], [sine * mirror, cosine]])
    middle = np.array([size / 2, size / 2])
    source = np.array([centre[1], centre[0]])
    # From the crop's pixels to the image's, about pixel centres at whole numbers.
    offset = source - 0.5 - linear @ (middle - 0.5)
    matrix = np.column_stack([linear, offset])

    def cut(array: npt.NDArray[np.generic], interpolation: int) -> npt.NDArray[np.generic]:
        if not array.size:
            return np.zeros((size, size, 0), array.dtype)
        flags = interpolation | cv2.WARP_INVERSE_MAP
        border = cv2.BORDER_REFLECT_101
        return np.asarray(
            cv2.warpAffine(array, matrix, (size, size), flags=flags, borderMode=border)
        )

    return (
        cut(image, cv2.INTER_LINEAR).astype(np.uint8, copy=False),
        cut(labels, cv2.INTER_NEAREST).astype(np.uint16, copy=False),
        # OpenCV drops the last axis where it is 1.
        cut(maps, cv2.INTER_LINEAR).reshape(size, size, -1).astype(np.uint8, copy=False),
    )


def jitter_colour(
    image: Pixels, params: AugmentationParams, generator: np.random.Generator
) -> Pixels:
    """Other amounts of stain, another brightness, and now and then a blur.

    The stains are those of Ruifrok and Johnston, "Quantification of histochemical staining by
    color deconvolution", 2001. Each one's amount is multiplied and shifted (Tellez et al., 2018,
    https://arxiv.org/abs/1808.05896); in optical density that is one 3 x 3 product for all.

    Args:
        image: (height, width, 3) RGB.
        params: `stain`, `stain_shift`, `brightness`, `blur` and `blur_probability` are used.
        generator: gives the amounts.
    """
    factors = generator.uniform(1 - params.stain, 1 + params.stain, 3)
    shifts = generator.uniform(-params.stain_shift, params.stain_shift, 3)
    mixing = (hed_from_rgb * factors) @ rgb_from_hed
    density = DENSITY[image] @ mixing.astype(np.float32)
    density += (shifts @ rgb_from_hed).astype(np.float32)
    brightness = generator.uniform(1 - params.brightness, 1 + params.brightness)
    jittered = np.exp(-density) * np.float32(256 * brightness) - 1
    result: Pixels = np.clip(np.rint(jittered), 0, UINT8_MAX).astype(np.uint8)
    blurred = generator.random() < params.blur_probability
    sigma = generator.uniform(0, params.blur)
    if blurred and sigma > 0:
        result = np.asarray(cv2.GaussianBlur(result, (0, 0), sigma), np.uint8)
    return result
