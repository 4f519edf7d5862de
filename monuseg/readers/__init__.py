"""Other people's files: raster images and annotations."""
