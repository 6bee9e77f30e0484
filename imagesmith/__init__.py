"""imagesmith: a Python prediction function and its environment, as a locked image for Clipper."""

__version__ = "0.1.0"
