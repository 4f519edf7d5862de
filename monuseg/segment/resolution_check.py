"""Whether nuclei look like those of the resolution that was assumed for want of a statement."""

# Median area of an image's nuclei in um2: 15 to 52 in 41 of MoNuSeg's 44 images, whatever the
# organ. Of an image at 20x that is taken for 40x it seems a quarter of that.
USUAL = (13.0, 55.0)
LEAST_NUCLEI = 20


def size_remark(nuclei: int, median_area: float | None, um_per_pixel: float) -> str | None:
    """What to say of an assumed resolution, or None if nothing speaks against it.

    Args:
        nuclei: how many were found.
        median_area: of them, in pixels.
        um_per_pixel: as assumed.
    """
    if median_area is None or nuclei < LEAST_NUCLEI:
        return None
    seems = median_area * um_per_pixel**2
    if USUAL[0] <= seems <= USUAL[1]:
        return None
    kind, factor = ("small", 2.0) if seems < USUAL[0] else ("large", 0.5)
    return (
        f"its nuclei are {kind} for {um_per_pixel:.3g} um per pixel (median {seems:.0f} um2, "
        f"usually {USUAL[0]:g} to {USUAL[1]:g}); if it was scanned at "
        f"{10 / um_per_pixel / factor:.2g}x, give --um-per-pixel {um_per_pixel * factor:.3g}"
    )
