"""The networks, a file each, looked up by name."""
