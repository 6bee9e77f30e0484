"""What imagesmith renders: the Dockerfile of an image and its blocks."""
