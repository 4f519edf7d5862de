"""From transmitted light to the scanner's file: focus, illumination, sensor, JPEG."""

import cv2
import numpy as np

from monuseg.formats.images import RGB, decode_image
from stages.download.synthetic.noise import smooth_noise, soft_step
from stages.download.synthetic.stain import Colour

# Of the lens at best focus, in pixels of 0.25 um.
SHARPEST = 0.35
BLURRIEST = 0.9
DEFOCUS = 1.2  # more of it at most, where the section leaves the focus
# Share of the light that reaches the sensor from elsewhere on the slide.
STRAY = (0.01, 0.08)
WHITE = 230.0


def scan(light: Colour, generator: np.random.Generator) -> RGB:
    """Scan a slide.

    Args:
        light: (height, width, 3) as `stain.transmitted` gives it.
        generator: the slide's.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    height, width, _ = light.shape
    sigma = generator.uniform(SHARPEST, BLURRIEST)
    image = cv2.GaussianBlur(light, (0, 0), sigma)
    # A section is not flat: parts of it leave the focus.
    away = cv2.GaussianBlur(light, (0, 0), sigma + generator.uniform(0, DEFOCUS))
    part = soft_step(smooth_noise(generator, height, width, 160), 0.5, 1.0)[..., None]
    image = (1 - part) * image + part * away
    # Stray light: even the darkest nucleus is not black.
    image = image + generator.uniform(*STRAY) * (WHITE - image)
    if generator.random() < 0.7:
        # Scanners sharpen, which leaves pale rings around dark objects.
        wide = cv2.GaussianBlur(image, (0, 0), generator.uniform(1.2, 2.5))
        image = image + generator.uniform(0.2, 1.1) * (image - wide)
    shade = 1 + generator.uniform(0, 0.02) * smooth_noise(generator, height, width, 400)
    image = image * shade[..., None]
    noise = generator.standard_normal((height, width, 3), np.float32)
    # Neighbouring sensor pixels share colours, so their noise is a little blurred.
    noise = cv2.GaussianBlur(noise, (0, 0), 0.5)
    image = image + np.float32(generator.uniform(0.5, 4.0)) * noise
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    quality = int(generator.integers(55, 96))
    _, content = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = decode_image(content.tobytes(), name="synthetic slide")
    return np.ascontiguousarray(decoded[..., ::-1]).astype(np.uint8, copy=False)
