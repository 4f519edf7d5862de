"""What the networks share: their registry, store, layers and backend."""
