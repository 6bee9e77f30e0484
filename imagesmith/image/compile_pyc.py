"""Compiles Python sources to byte code that is the same in every run.

Run by a base's own interpreter: ``compile_pyc.py SOURCES PREFIX OUT``. SOURCES and OUT are zip
archives; PREFIX is the absolute folder below which the sources will lie. Standard library only,
Python 3.9 and later.

A .pyc is magic, flags, hash and code (PEP 552, unchecked hash-based: the source is not looked at
when the byte code is loaded). The code is marshalled in version 2, because later versions note
which objects are shared, and that differs from run to run.
"""

import importlib.util
import marshal
import sys
import warnings
import zipfile

_UNCHECKED = (0b01).to_bytes(4, "little")
_TESTS = {"test", "tests"}


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
    return importlib.util.MAGIC_NUMBER + _UNCHECKED + hashed + marshal.dumps(code, 2)


def _cached(name: str) -> str:
    folder, slash, module = name.rpartition("/")
    tag = sys.implementation.cache_tag
    return f"{folder}{slash}__pycache__/{module[: -len('.py')]}.{tag}.pyc"


if __name__ == "__main__":
    main(*sys.argv[1:])
