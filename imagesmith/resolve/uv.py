"""The solver for pip's packages: ``uv pip compile``, which can target linux-64 from any host.

uv runs in a scratch folder under fixed names, so that its answer depends on the question alone. Of
the user's configuration only what opens the way to an index counts; what would change the answer
(uv.toml, constraints, a resolution strategy, a date) does not, or the same capture would be locked
otherwise in another folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError
from imagesmith.partial import scratch
from imagesmith.resolve.uv_errors import explain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from imagesmith.resolve.indexes import Indexes
    from imagesmith.resolve.platform import Target
    from imagesmith.resolve.solver import Question

_INPUT = "requirements.in"
_OUTPUT = "pylock.toml"
_CONSTRAINTS = "constraints.txt"

# The user's own of these are passed on: how to reach an index, and where uv keeps its cache.
_KEPT = frozenset(
    {
        "UV_CACHE_DIR",
        "UV_HTTP_CONNECT_TIMEOUT",
        "UV_HTTP_RETRIES",
        "UV_HTTP_TIMEOUT",
        "UV_INSECURE_HOST",
        "UV_KEYRING_PROVIDER",
    }
)
# An index out of reach is told within 15 s: two tries, a connection of 5 s or a silence of 6 s.
_PATIENCE = {"UV_HTTP_CONNECT_TIMEOUT": "5", "UV_HTTP_TIMEOUT": "6", "UV_HTTP_RETRIES": "1"}
_ALWAYS = {
    "UV_NO_CONFIG": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    # Companies that intercept TLS have their certificate in the system's store (two names of one
    # setting, for older and newer uv).
    "UV_NATIVE_TLS": "1",
    "UV_SYSTEM_CERTS": "1",
}
_METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
_WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


class UvSolver:
    """Solves with the ``uv`` that is installed beside imagesmith."""

    @property
    def identity(self) -> str:
        """The uv that answers, known without starting it."""
        return f"uv {metadata.version('uv')}"

    def solve(self, question: Question) -> bytes:
        """Give the answer as uv's pylock.toml; see ``Solver``."""
        with scratch() as folder:
            (folder / _INPUT).write_text(_lines(question.requirements))
            if question.preferences:  # uv prefers the versions of an output that is already there
                (folder / _OUTPUT).write_text(_preferred(question.preferences))
            limits = (*question.constraints, *_stubs(question.provided, folder))
            (folder / _CONSTRAINTS).write_text(_lines(limits))
            indexes = with_built(question, folder)
            done = subprocess.run(
                _command(question),
                cwd=folder,
                env=_environment(indexes, os.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise ImagesmithError(explain(done.stderr, question.target))
            return (folder / _OUTPUT).read_bytes()


def with_built(question: Question, folder: Path) -> Indexes:
    """Lay the wheels that no index has beside the question, and give the indexes and that place."""
    if not question.built:
        return question.indexes
    place = folder / "built"
    place.mkdir()
    for file in question.built:
        (place / file.filename).symlink_to(file.path)
    links = (*question.indexes.find_links, place.as_uri())
    return replace(question.indexes, find_links=links)


def _command(question: Question) -> list[str]:
    from uv import find_uv_bin

    target: Target = question.target
    return [
        find_uv_bin(), "pip", "compile", _INPUT, "--output-file", _OUTPUT,
        "--format", "pylock.toml", "--no-header", "--no-annotate",
        "--python", sys.executable,  # only started; the target's version is the next option
        "--python-version", target.python, "--python-platform", target.uv_platform,
        "--constraints", _CONSTRAINTS,
        "--only-binary", ":all:",
        "--index-strategy", _strategy(question.indexes),
        "--quiet", "--no-progress", "--color", "never",
    ]  # fmt: skip


def _strategy(indexes: Indexes) -> str:
    """Choose how several indexes are one: as for pip, which filled the captured environment.

    With a single index uv's own way is kept, because it tells when a login is refused.
    """
    return "unsafe-best-match" if indexes.extra else "first-index"


def _environment(indexes: Indexes, environ: Mapping[str, str]) -> dict[str, str]:
    """Make uv's environment; indexes go here, because anyone can read an argument list."""
    kept = {k: v for k, v in environ.items() if not k.startswith("UV_") or k in _KEPT}
    settings = {**_PATIENCE, **kept, **_ALWAYS}
    if indexes.default:
        settings["UV_DEFAULT_INDEX"] = indexes.default
    if indexes.extra:
        settings["UV_INDEX"] = " ".join(indexes.extra)
    if indexes.find_links:
        settings["UV_FIND_LINKS"] = ",".join(indexes.find_links)
    return settings


def _lines(requirements: Iterable[str]) -> str:
    return "".join(f"{requirement}\n" for requirement in requirements)


def _stubs(provided: Iterable[str], folder: Path) -> Iterator[str]:
    """Make an empty wheel for each distribution that is there already, and a constraint to it.

    uv then holds its version against all that is required of it, and asks no index for it, which
    may lack that version: conda's packages need not be on any.
    """
    for line in provided:
        name, _, version = line.partition("==")
        stem = f"{name.replace('-', '_')}-{version}"
        wheel = folder / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for file, text in (("METADATA", _METADATA), ("WHEEL", _WHEEL), ("RECORD", "")):
                filled = text.format(name=name, version=version)
                archive.writestr(zipfile.ZipInfo(f"{stem}.dist-info/{file}"), filled)
        yield f"{name} @ {wheel.as_uri()}"


def _preferred(preferences: Iterable[str]) -> str:
    """Write preferences as the least pylock.toml that uv reads."""
    packages = (preference.split("==") for preference in preferences)
    return 'lock-version = "1.0"\ncreated-by = "imagesmith"\n' + "".join(
        f'\n[[packages]]\nname = "{name}"\nversion = "{version}"\n' for name, version in packages
    )
