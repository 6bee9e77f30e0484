"""Closure bases: the images below every image of ours, made from Debian's packages."""

from imagesmith.base.closure import available, ensure, find, make, take, toolchain
from imagesmith.base.system import system

__all__ = ["available", "ensure", "find", "make", "system", "take", "toolchain"]
