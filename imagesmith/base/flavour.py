"""The trees that are made of Debian's packages: to run models in, and to build wheels in."""

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
# Modules that Python does not have everywhere, so that what imports them does without (NIS,
# terminals, Berkeley's dbm); those that only its own tests, build commands or prompt use; and
# what it has in C as well.
_MODELS_UNUSED = r"""
    usr/lib/python{python}/(
        (curses|msilib|_pyrepl)/.* | distutils/command/(?!__init__).*
      | (_pydatetime|_pydecimal|_pyio)\.py
      | lib-dynload/(
            _curses | _curses_panel | readline | nis | _dbm | ossaudiodev
          | _test\w* | _ctypes_test | _xxtestfuzz | xxlimited\w*
        )\.cpython-.*
    )
  | usr/lib/x86_64-linux-gnu/lib(BrokenLocale|SegFault|c_malloc_debug|memusage|pcprofile|thread_db)
    [-.].*
"""
# Of a headless JRE: what Spark runs on, without graphics, sound and smart cards; its launcher is a
# script for bash.
_JVM = "usr/lib/jvm/java-17-openjdk-amd64"
_JRE = rf"""
    usr/bin/bash
  | {_JVM}/(bin/(java|keytool) | lib/.* | conf/.* | release)
  | etc/java-17-openjdk/.*
"""
_JRE_UNUSED = rf"""
    {_JVM}/lib/(
        lib(awt\w*|fontmanager|freetype|j2pcsc|javajpeg|jawt|jsound|lcms|mlib_image|splashscreen)\.so
      | psfont.* | ct\.sym | jexec | server/classes.*\.jsa | security/cacerts
    )
  | {_JVM}/conf/(accessibility|sound|swing)\.properties
  | etc/java-17-openjdk/(accessibility|sound|swing|psfont).*
  | {_MODELS_UNUSED}
"""
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
    ``dropped`` patterns of paths, ``links`` programs under other names, ``env`` variables beside
    PATH. A ``lean`` one has no shared library that nothing in it needs. Raise ``recipe`` when the
    same packages are to give another base: those in stores are then made again.
    """

    name: str
    label: str  # that an image of this flavour bears
    recipe: str
    packages: tuple[str, ...]
    kept: str
    dropped: str = "(?!)"  # matches nothing
    links: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    kind: str = "closure"
    lean: bool = False

    @property
    def libraries(self) -> frozenset[str]:
        """The packages whose libraries stay though nothing in a lean base needs them.

        Wheels for linux-64 count on them (PEP 600, and auditwheel's policies).
        """
        return frozenset({"libc6", "libcrypt1", *self.packages})

    def pattern(self, python: str) -> str:
        """Give the verbose regular expression of the paths that a base for Python X.Y keeps."""
        text = f"(?!({self.dropped})$)({self.kept})"
        return text.replace("{python}", python.replace(".", r"\."))


CLOSURE = Flavour(
    name="closure-base",
    label=oci.LABEL_BASE,
    recipe="2",
    packages=("libstdc++6", "busybox", "ca-certificates", "netbase", "tzdata", "base-files"),
    kept=_RUNTIME.replace("{unused}", "|".join(_UNUSED)),
    dropped=_MODELS_UNUSED,
    links=dict.fromkeys(("sh", "cat", "test", "["), "busybox"),
    lean=True,
)
PYSPARK = Flavour(
    name="pyspark-base",
    label=oci.LABEL_BASE,
    recipe="1",
    packages=(*CLOSURE.packages, "openjdk-17-jre-headless", "bash"),
    kept=f"{CLOSURE.kept}|{_JRE}",
    dropped=_JRE_UNUSED,
    links={
        **CLOSURE.links,
        **dict.fromkeys(("basename", "dirname", "egrep", "env", "grep", "ls", "uname"), "busybox"),
        "java": f"../../{_JVM}/bin/java",
    },
    env={"JAVA_HOME": f"/{_JVM}"},
    kind="pyspark",
    lean=True,
)
BASES = {flavour.kind: flavour for flavour in (CLOSURE, PYSPARK)}
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
