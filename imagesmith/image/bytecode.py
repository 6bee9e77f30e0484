"""Byte code, compiled once for each archive of sources and base, by the base's own interpreter.

The interpreter runs without a container and without privileges: the unpacked base's loader is
started with the base's libraries, so neither the host's Python nor its libc takes part.
"""

from __future__ import annotations

import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error
from imagesmith.image.tar import Deflated, Kind, Member
from imagesmith.partial import scratch
from imagesmith.store import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imagesmith.store import Store

# Part of every key: raise it when the same sources are to give other bytes.
RECIPE = 3

_LEVEL = 6
_SCRIPT = Path(__file__).with_name("compile_pyc.py")
_LOADER = "ld-linux-x86-64.so.2"
# Debian's folders first, then those of distributions without multiarch.
_LIBRARIES = (
    "usr/local/lib",
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "usr/lib64",
    "lib64",
)
_PREFIXES = ("usr/local", "usr")


@dataclass(frozen=True)
class Interpreter:
    """How to run a base's Python on the host: ``argv`` before its arguments, the whole ``env``."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


def base_python(root: Path, python: str) -> Interpreter:
    """Find the Python X.Y of an unpacked base; ImagesmithError (build.base-python) if none.

    It finds its standard library by PYTHONHOME, and has the fixed hash seed without which sets in
    byte code differ from run to run; so it must not be run with -E or -I.
    """
    libraries = [folder for name in _LIBRARIES if (folder := root / name).is_dir()]
    loader = next(filter(Path.is_file, (folder / _LOADER for folder in libraries)), None)
    prefix = next((p for p in _PREFIXES if (root / p / "bin" / f"python{python}").is_file()), None)
    if loader is None or prefix is None:
        raise ImagesmithError(
            error(
                "build.base-python",
                root,
                f"the base has no Python {python} for glibc on its PATH",
                f"name a base that has python{python}, or leave --base out",
            )
        )
    executable = root / prefix / "bin" / f"python{python}"
    argv = (str(loader), "--library-path", ":".join(map(str, libraries)), str(executable))
    env = {
        "PYTHONHOME": str(root / prefix),
        "PYTHONHASHSEED": "0",
        "PYTHONCOERCECLOCALE": "0",  # libc would look for the locale's data on the host
    }
    return Interpreter((*argv, "-s", "-S", "-B"), env)


@dataclass(frozen=True)
class ByteCode:
    """Byte code in the store: one blob, in which each file is a raw deflate stream.

    So it is compressed once, and whatever layers it goes into take it over as it is. ``files`` are
    their paths, where they lie in the blob, and what they are.
    """

    digest: str
    blob: Path
    files: tuple[tuple[str, int, int, int, int], ...]  # path, offset, size, CRC-32, plain size

    @classmethod
    def of(cls, store: Store, archive: Path) -> ByteCode:
        """Deflate what a zip holds, and keep that in the store."""
        import deflate

        files = []
        with zipfile.ZipFile(archive) as source, store.writer() as blob:
            for entry in source.infolist():
                data = bytes(deflate.deflate_compress(source.read(entry), _LEVEL))
                files.append((entry.filename, blob.size, len(data), entry.CRC, entry.file_size))
                blob.write(data)
        return cls(blob.digest, store.path(blob.digest), tuple(files))

    def members(self, below: str = "") -> Iterator[Member]:
        """Give the files as members below a folder of the image."""
        for path, offset, size, crc, plain in self.files:
            deflated = Deflated(self.blob, offset, size, crc)
            yield Member(f"{below}{path}", Kind.FILE, size=plain, deflated=deflated)


def compiled(
    store: Store,
    interpreter_key: str,
    interpreter: Callable[[], Interpreter],
    sources: Path,
    digest: str,
    prefix: str,
) -> ByteCode:
    """Give the byte code of a wheel, or another zip of sources, made once for its digest.

    ``interpreter_key`` tells interpreters that give different bytes apart, and ``interpreter``,
    asked only where byte code must be made, gives the one that is meant; ``prefix`` is the absolute
    path in the image below which the sources will lie, "" for its root. Left out are test
    folders, ``*.data``, and sources that do not compile. Raises ImagesmithError (build.bytecode)
    where the interpreter fails.
    """
    key = key_of("bytecode", RECIPE, interpreter_key, digest, prefix)
    if known := _kept(store, key):
        return known
    with store.making("bytecode", key):
        if known := _kept(store, key):
            return known
        with scratch() as folder:
            out = folder / "bytecode.zip"
            compile_sources(interpreter(), sources, prefix, out)
            made = ByteCode.of(store, out)
        store.remember("bytecode", key, {"digest": made.digest, "files": made.files})
        return made


def _kept(store: Store, key: str) -> ByteCode | None:
    fact = store.recall("bytecode", key)
    if fact is None or store.drop_damaged(fact["digest"]):
        return None
    return ByteCode(fact["digest"], store.path(fact["digest"]), tuple(map(tuple, fact["files"])))


def compile_sources(interpreter: Interpreter, sources: Path, prefix: str, out: Path) -> None:
    """Compile a zip of sources, which will lie below ``prefix``, into a zip of byte code.

    Raises ImagesmithError (build.bytecode) where the interpreter fails.
    """
    argv = [*interpreter.argv, str(_SCRIPT), str(sources), prefix, str(out)]
    try:
        done = subprocess.run(argv, env=interpreter.env, capture_output=True, check=False)
    except OSError as bad:
        raise _failed(sources, f"cannot be started: {bad}", "") from bad
    if done.returncode:
        log = done.stderr.decode(errors="replace")
        raise _failed(sources, f"ended with status {done.returncode} while compiling it", log)


def _failed(sources: Path, what: str, log: str) -> ImagesmithError:
    return ImagesmithError(
        error(
            "build.bytecode",
            sources.name,
            f"the base's Python {what}",
            "see the log below; if the base cannot run on this host, name another with --base",
        ),
        log=log,
    )
