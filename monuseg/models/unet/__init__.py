"""U-Net (Ronneberger et al. 2015)."""
