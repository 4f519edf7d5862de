"""Random crops of H&E images and their label maps, as pure functions of a random generator."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import sparse
from skimage.color import hed_from_rgb, rgb_from_hed

from monuseg.formats.images import RGB, Labels
from stages.train.params import AugmentationParams

Pixels = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

# Optical density of each possible pixel value; one is added so that black stays finite.
DENSITY = -np.log((np.arange(256) + 1) / 256).astype(np.float32)
# In sigmas, where a Gaussian is taken as zero: there it has 0.01 of its height.
GAUSSIAN_END = 3
# From what archives of slides keep at worst to what scanners write at best.
JPEG_QUALITY = (40, 95)


def random_crop(
    image: RGB,
    labels: Labels,
    maps: Pixels,
    centre: tuple[float, float],
    size: int,
    params: AugmentationParams,
    generator: np.random.Generator,
) -> tuple[RGB, Labels, Pixels]:
    """A rotated, scaled and perhaps mirrored and bent square around a point.

    It is cut from the whole image, so that its rotated corners show real context; only beyond the
    image's border are pixels mirrored. A single interpolation does all of it, so that elastic
    deformation blurs no more than rotation alone.

    Labels and maps are transformed with the image. Maps of distances to an edge are exact on the
    whole image, where they were made. Transformed, they remain good as long as the shift changes
    little across a nucleus, that is, for `elastic` well below `elastic_scale`.

    Args:
        image: (height, width, 3).
        labels: (height, width).
        maps: (height, width, n) of values that may be interpolated; n may be 0.
        centre: (y, x) of the crop's centre, in pixels.
        size: side of the crop in pixels.
        params: `rotate`, `scale`, `flip`, `elastic` and `elastic_scale` are used.
        generator: gives angle, scale, flip and shifts; without elastic deformation no numbers are
            drawn for shifts.

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
    bent = _bent(matrix, size, params, generator) if params.elastic else None

    def cut(array: npt.NDArray[np.generic], interpolation: int) -> npt.NDArray[np.generic]:
        if not array.size:
            return np.zeros((size, size, 0), array.dtype)
        border = cv2.BORDER_REFLECT_101
        if bent is not None:
            return np.asarray(cv2.remap(array, *bent, interpolation, borderMode=border))
        flags = interpolation | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(array, matrix, (size, size), flags=flags, borderMode=border)
        )

    return (
        cut(image, cv2.INTER_LINEAR).astype(np.uint8, copy=False),
        cut(labels, cv2.INTER_NEAREST).astype(np.uint16, copy=False),
        # OpenCV drops the last axis where it is 1.
        cut(maps, cv2.INTER_LINEAR).reshape(size, size, -1).astype(np.uint8, copy=False),
    )


def displacement(
    size: int, deviation: float, scale: float, generator: np.random.Generator
) -> Field:
    """A smooth random shift of each pixel, for elastic deformation.

    As in Simard et al. ("Best practices for convolutional neural networks", 2003), it is noise
    smoothed by a Gaussian. Their noise has a value per pixel. Here it has one per point of a grid
    as coarse as the Gaussian is wide, as in Ronneberger et al. (U-Net, 2015,
    https://arxiv.org/abs/1505.04597), which is far cheaper and, for a Gaussian, as smooth. The grid
    extends beyond the crop, and each pixel's weights are scaled to a sum of squares of 1, so that
    shifts are as large at the border, and on a grid point, as elsewhere.

    Args:
        size: side of the field in pixels.
        deviation: standard deviation in pixels of a shift along an axis, the same at each pixel.
        scale: sigma of the Gaussian in pixels.
        generator: gives the noise.

    Returns:
        (2, size, size) shifts in pixels, along x and along y.
    """
    weights = _weights(size, scale)
    nodes = weights.shape[1]
    noise = generator.standard_normal((2, nodes, nodes), np.float32) * np.float32(deviation)
    return np.stack([weights @ (weights @ along).T for along in noise])


@lru_cache(maxsize=1)
def _weights(size: int, scale: float) -> Any:
    """(size, nodes) weights of the noise along an axis; each row has norm 1.

    The matrix is sparse: most weights are 0, and NumPy leaves dense products to BLAS, whose threads
    take ten times as long while the backend's occupy all cores.
    """
    nodes = scale * np.arange(-GAUSSIAN_END, np.ceil((size - 1) / scale) + GAUSSIAN_END + 1)
    away = (np.arange(size)[:, np.newaxis] - nodes) / scale
    weights = np.exp(-(away**2) / 2) * (np.abs(away) <= GAUSSIAN_END)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return sparse.csr_array(weights.astype(np.float32))


def _bent(
    matrix: npt.NDArray[np.float64],
    size: int,
    params: AugmentationParams,
    generator: np.random.Generator,
) -> tuple[Field, Field]:
    """Where the crop's pixels lie in the image: x and y, (size, size) each.

    Args:
        matrix: (2, 3) from the crop's pixels to the image's.
        size: side of the crop in pixels.
        params: `elastic` and `elastic_scale`, in the crop's pixels.
        generator: gives the shifts.
    """
    shift = displacement(size, params.elastic, params.elastic_scale, generator)
    places = np.arange(size, dtype=np.float32)
    x, y = shift[0] + places, shift[1] + places[:, np.newaxis]
    (xx, xy, x0), (yx, yy, y0) = matrix.astype(np.float32)
    return xx * x + xy * y + x0, yx * x + yy * y + y0


def jitter_colour(
    image: Pixels, params: AugmentationParams, generator: np.random.Generator
) -> Pixels:
    """Vary the amounts of the stains and the brightness, and sometimes blur.

    The stains are those of Ruifrok and Johnston, "Quantification of histochemical staining by
    color deconvolution", 2001. Each one's amount is multiplied and shifted (Tellez et al., 2018,
    https://arxiv.org/abs/1808.05896); in optical density that is one 3 x 3 product for all.

    Args:
        image: (height, width, 3) RGB.
        params: `stain`, `stain_shift`, `brightness`, `white_balance`, `blur` and
            `blur_probability` are used.
        generator: gives the amounts.
    """
    factors = generator.uniform(1 - params.stain, 1 + params.stain, 3)
    shifts = generator.uniform(-params.stain_shift, params.stain_shift, 3)
    mixing = (hed_from_rgb * factors) @ rgb_from_hed
    brightness = generator.uniform(1 - params.brightness, 1 + params.brightness)
    light = np.full(3, 256 * brightness)
    if params.white_balance:
        spread = params.white_balance
        light *= generator.uniform(1 - spread, 1 + spread, 3)
    # OpenCV's functions, each a fraction of NumPy's time, whose products moreover have threads that
    # would compete with the backend's for the cores. Light, too, is a shift of optical density.
    affine = np.column_stack([-mixing.T, np.log(light) - shifts @ rgb_from_hed])
    values = cv2.transform(cv2.LUT(image, DENSITY), affine.astype(np.float32))
    cv2.exp(values, values)
    np.clip(values, 1, 256, out=values)  # black and white
    result = np.asarray(cv2.convertScaleAbs(values, alpha=1.0, beta=-1.0), np.uint8)
    blurred = generator.random() < params.blur_probability
    sigma = generator.uniform(0, params.blur)
    if blurred and sigma > 0:
        result = np.asarray(cv2.GaussianBlur(result, (0, 0), sigma), np.uint8)
    return result


def lower_resolution(
    image: Pixels, params: AugmentationParams, generator: np.random.Generator
) -> Pixels:
    """Sometimes make an image look as if a coarser scan of it had been enlarged.

    That is how images of other resolutions come to a model: without fine detail, and with the
    blocks of JPEG as large as the scan's own pixels make them.

    Args:
        image: (height, width, 3) RGB.
        params: `resolution` and `resolution_probability` are used.
        generator: gives whether, the factor, and the quality of JPEG.
    """
    lowered = generator.random() < params.resolution_probability
    factor = generator.uniform(1, params.resolution)
    if not lowered or factor == 1:
        return image
    height, width = image.shape[:2]
    quality = int(generator.integers(*JPEG_QUALITY, endpoint=True))
    smaller = (max(1, round(width / factor)), max(1, round(height / factor)))
    coarse = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", coarse[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    return np.asarray(cv2.resize(decoded, (width, height), interpolation=cv2.INTER_LINEAR))
