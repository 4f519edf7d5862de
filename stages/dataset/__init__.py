"""From archives to images, masks and splits; imports no Keras."""
