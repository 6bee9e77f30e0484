"""How an image came to be: what is of one build, and so must not be in the image."""
