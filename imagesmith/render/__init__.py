"""Writing a plan down as a Dockerfile and its context, which any builder carries out."""

from imagesmith.render.context import check_place, render
from imagesmith.render.dockerfile import dockerfile, load

__all__ = ["check_place", "dockerfile", "load", "render"]
