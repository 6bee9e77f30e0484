"""Closure bases: the images below every image of ours, made from Debian's packages."""

from imagesmith.base.closure import available, described, ensure, find, make, take, toolchain
from imagesmith.base.system import system

__all__ = ["available", "described", "ensure", "find", "make", "system", "take", "toolchain"]
