"""Stage baseline: nuclei by colour deconvolution and Otsu's threshold."""
