"""From probabilities to nuclei."""
