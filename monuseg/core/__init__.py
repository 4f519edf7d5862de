"""Plumbing: how commands are run, written and reported. Nothing here decides what is computed."""
