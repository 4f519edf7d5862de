"""Segmentation of nuclei in H&E images: the library that the stages share."""

from monuseg.core.startup import end_quietly_on_interrupt

end_quietly_on_interrupt()
