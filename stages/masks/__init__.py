"""Stage masks: annotations to instance label maps."""
