"""Records of images for the tests of stage tile."""

from monuseg.formats.manifest import ImageRecord, Part

HASH = "0" * 64


def record_of(
    image_id: str,
    part: Part,
    *,
    organ: str = "lung",
    patient: str = "",
    um_per_pixel: float = 0.25,
    source: str = "given",
) -> ImageRecord:
    """A row of the manifest; without a patient, the image is one of its own."""
    return ImageRecord(
        id=image_id,
        organ=organ,
        patient=patient or image_id,
        part=part,
        um_per_pixel=um_per_pixel,
        um_per_pixel_source=source,
        annotation="aperio-xml",
        sha256=HASH,
        annotation_sha256=HASH,
    )
