"""Compiles Python sources to byte code that is the same in every run.

Run by a base's own interpreter: ``compile_pyc.py SOURCES PREFIX OUT``. SOURCES and OUT are zip
archives; PREFIX is the absolute folder below which the sources will lie. Standard library only,
Python 3.9 and later.

A .pyc is magic, flags, hash and code (PEP 552, unchecked hash-based: the source is not looked at
when the byte code is loaded). The code is marshalled in version 2, because later versions note
which objects are shared, and that differs from run to run. The elements of a constant set are
sorted, as Python has done itself since 3.11: their own order comes from hashes, and None's is its
address.
"""

import importlib.util
import marshal
import re
import struct
import sys
import types
import warnings
import zipfile
from typing import Any

_UNCHECKED = (0b01).to_bytes(4, "little")
_TESTS = {"test", "tests"}
_VERSION = 2  # of marshal
_SORTS_SETS = sys.version_info >= (3, 11)
# The first element of a tuple that is to be a frozenset.
_SET = b"\0a frozenset, its elements sorted\0"


def main(sources: str, prefix: str, out: str) -> None:
    """Compile every source of one archive into the other."""
    warnings.simplefilter("ignore")
    with zipfile.ZipFile(sources) as archive, zipfile.ZipFile(out, "w") as compiled:
        for name in sorted(filter(_is_wanted, set(archive.namelist()))):
            code = _compile(archive.read(name), f"{prefix}/{name}")
            if code is not None:
                compiled.writestr(zipfile.ZipInfo(_cached(name)), code)


def _is_wanted(name: str) -> bool:
    top, *folders = name.split("/")[:-1] or [""]
    return (
        name.endswith(".py")
        and not top.endswith(".data")
        and not _TESTS.intersection([top, *folders])
    )


def _compile(source: bytes, path: str) -> "bytes | None":
    """Give the .pyc of a source, or None where this Python cannot compile it."""
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, OverflowError, MemoryError):
        return None  # Python 2 templates and the like, which pip leaves without byte code too
    hashed = importlib.util.source_hash(source)
    data = _marshalled(code) if _SORTS_SETS else sorted_dumps(code)
    return importlib.util.MAGIC_NUMBER + _UNCHECKED + hashed + data


def sorted_dumps(code: types.CodeType) -> bytes:
    """Marshal code as Python 3.11 does, which sorts a set's elements by what each is marshalled to.

    In a tuple's place stands a frozenset, which differs in its letter and in its length.
    """
    head = re.compile(rb"\((.{4})" + re.escape(_marshalled(_SET)), re.DOTALL)

    def of_a_set(found: "re.Match[bytes]") -> bytes:
        (length,) = struct.unpack("<i", found[1])
        return b">" + struct.pack("<i", length - 1)

    return head.sub(of_a_set, _marshalled(_sorted(code)))


def _sorted(constant: Any) -> Any:
    """Give a constant with tuples in the place of frozensets."""
    if isinstance(constant, types.CodeType):
        return constant.replace(co_consts=tuple(map(_sorted, constant.co_consts)))
    if isinstance(constant, tuple):
        return tuple(map(_sorted, constant))
    if isinstance(constant, frozenset):
        return (_SET, *sorted(map(_sorted, constant), key=_marshalled))
    return constant


def _marshalled(constant: Any) -> bytes:
    return marshal.dumps(constant, _VERSION)


def _cached(name: str) -> str:
    folder, slash, module = name.rpartition("/")
    tag = sys.implementation.cache_tag
    return f"{folder}{slash}__pycache__/{module[: -len('.py')]}.{tag}.pyc"


if __name__ == "__main__":
    main(*sys.argv[1:])
