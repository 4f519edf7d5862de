"""params.yaml and the environment as validated models, a module a block."""
