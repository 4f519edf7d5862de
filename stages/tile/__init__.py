"""Stage tile: images to splits, padded arrays and windows."""
