"""What `monuseg segment` writes of the nuclei of an image or a whole slide: see docs/outputs.md."""
