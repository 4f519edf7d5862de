"""SegNet (Badrinarayanan et al. 2017)."""
