"""Segmentation of nuclei in H&E images: a module a DVC stage, run as `python -m stages.<stage>`."""
