"""Shared libraries by their sonames: whose they are to bring, and which Debian package does.

Source: Debian Policy, 8.1: a library's package is named for its soname; the exceptions are those
that wheels ask for most often.
"""

from __future__ import annotations

import re

from imagesmith.image import oci

# The driver of a graphics card is mounted into a container by whoever starts it.
_DRIVERS = re.compile(r"lib(cuda|nvidia-.+|nvcuvid|nvoptix|cudadebugger)\.so(\.\d+)*")
_SONAME = re.compile(r"(?P<name>[\w.+-]+?)(?:-(?P<version>[\d.]+))?\.so(?:\.(?P<major>\d[\d.]*))?")
_EXCEPTIONS = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libGLU.so.1": "libglu1-mesa",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgobject-2.0.so.0": "libglib2.0-0",
    "libgio-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libgmodule-2.0.so.0": "libglib2.0-0",
    "libjvm.so": "openjdk-17-jre-headless",
    "libR.so": "r-base-core",
    "libblas.so.3": "libblas3",
    "liblapack.so.3": "liblapack3",
    "libjpeg.so.62": "libjpeg62-turbo",
    "libtcl8.6.so": "libtcl8.6",
    "libtk8.6.so": "libtk8.6",
    "libgdk_pixbuf-2.0.so.0": "libgdk-pixbuf-2.0-0",
    "libgtk-3.so.0": "libgtk-3-0",
    "libgtk-x11-2.0.so.0": "libgtk2.0-0",
    "libz.so.1": "zlib1g",
}


def is_the_hosts(soname: str) -> bool:
    """Say whether a library comes with the host's driver, and never with an image."""
    return _DRIVERS.fullmatch(soname) is not None


def debian_package(soname: str) -> str:
    """Name the Debian package that a library is in, as a rule: ``libfoo1`` for ``libfoo.so.1``."""
    if soname in _EXCEPTIONS:
        return _EXCEPTIONS[soname]
    match = _SONAME.fullmatch(soname)
    if match is None:
        return soname.lower()
    name = match["name"].replace("_", "-").lower()
    if match["version"]:
        name = f"{name}-{match['version']}"
    if match["major"] and name[-1].isdigit():
        name += "-"
    return name + (match["major"] or "")


def mend(soname: str, base: oci.ImageConfig) -> str:
    """Say what brings a library that is missing to an image on a base of this config."""
    if oci.LABEL_PACKAGES in base.labels:
        return f"--apt {debian_package(soname)}"
    return "name a --base that has it, or leave --base out"
