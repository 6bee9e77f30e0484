"""The two trees that are made of Debian's packages: to run models in, and to build wheels in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imagesmith.image import oci

if TYPE_CHECKING:
    from collections.abc import Mapping

# Where a pattern says {python}, the minor version is put in.
_RUNTIME = r"""
    usr/bin/(busybox|python{python})
  | usr/lib/python{python}/(?!({unused})(/|\.py$)).*
  | usr/lib/x86_64-linux-gnu/([^/]+\.so[^/]*|ossl-modules/.*)
  | usr/lib64/.*
  | usr/lib/os-release
  | usr/share/zoneinfo/(?!right/|posix/|localtime).*
  | usr/share/ca-certificates/.*\.crt
  | etc/(debian_version|os-release|mime\.types|protocols|services|rpc|ethertypes|host\.conf)
  | etc/ssl/openssl\.cnf
"""
_UNUSED = (
    *("test", "idlelib", "lib2to3", "ensurepip", "tkinter", "turtledemo", "turtle", "pydoc_data"),
    "sitecustomize",  # Debian's link to a crash reporter's hook
)
_COMPILERS = r"""
    usr/bin/(x86_64-linux-gnu-)?(
        gcc(-(ar|nm|ranlib))? | g\+\+ | cpp | ar | as | c\+\+filt | gold | ld(\.bfd|\.gold)?
      | nm | objcopy | objdump | ranlib | readelf | size | strings | strip | pkg-?conf(ig)?
      | python{python}-config
    )(-\d+)?
  | usr/bin/make
  | usr/(lib|libexec)/gcc/.*
  | usr/include/.*
  | usr/(lib/x86_64-linux-gnu|share)/pkgconfig/.*
  | usr/lib/x86_64-linux-gnu/[^/]+\.[ao]
"""
# Sanitizers, plugins of the compiler, and what only a program without shared libraries is made of.
_COMPILERS_UNUSED = r"""
    usr/lib(/gcc)?/x86_64-linux-gnu/(.*/)?lib([alt]|hwa|ub)san[^/]*
  | usr/lib/gcc/.*/plugin/.*
  | usr/lib/x86_64-linux-gnu/lib(c|m-[\d.]+|mvec|python[\d.]+)\.a
  | usr/lib/python{python}/config-[^/]+/.*\.[ao]
  | usr/lib/x86_64-linux-gnu/libgprofng[^/]*
"""
# What the scripts of sdists (configure, make) call; busybox is all of them.
_TOOLS = """
    awk basename bzip2 chmod cmp cp cut date diff dirname echo egrep env expr false fgrep find
    grep gunzip gzip head hostname id ln ls md5sum mkdir mktemp mv nproc od paste patch
    printf pwd readlink realpath rm rmdir sed seq sha256sum sleep sort stat tac tail tar tee touch
    tr true uname uniq unzip wc which xargs xz zcat
"""


@dataclass(frozen=True)
class Flavour:
    """What a kind of base is made of.

    ``packages`` are Debian's beside Python's own, a name may say ``{python}``; ``kept`` and
    ``dropped`` patterns of paths, ``links`` programs under other names. Raise ``recipe`` when the
    same packages are to give another base: those in stores are then made again.
    """

    name: str
    label: str  # that an image of this flavour bears
    recipe: str
    packages: tuple[str, ...]
    kept: str
    dropped: str = "(?!)"  # matches nothing
    links: Mapping[str, str] = field(default_factory=dict)

    def pattern(self, python: str) -> str:
        """Give the verbose regular expression of the paths that a base for Python X.Y keeps."""
        text = f"(?!({self.dropped})$)({self.kept})"
        return text.replace("{python}", python.replace(".", r"\."))


CLOSURE = Flavour(
    name="closure-base",
    label=oci.LABEL_BASE,
    recipe="1",
    packages=("libstdc++6", "busybox", "ca-certificates", "netbase", "tzdata", "base-files"),
    kept=_RUNTIME.replace("{unused}", "|".join(_UNUSED)),
    links=dict.fromkeys(("sh", "cat", "test", "["), "busybox"),
)
TOOLCHAIN = Flavour(
    name="closure-base-build",
    label=oci.LABEL_TOOLCHAIN,
    recipe="1",
    packages=(
        *CLOSURE.packages,
        *("gcc", "g++", "make", "libc6-dev", "libpython{python}-dev", "pkg-config"),
    ),
    kept=f"{CLOSURE.kept}|{_COMPILERS}",
    dropped=_COMPILERS_UNUSED,
    links={**CLOSURE.links, **dict.fromkeys(_TOOLS.split(), "busybox"), "cc": "gcc", "c++": "g++"},
)
