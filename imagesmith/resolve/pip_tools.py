"""The solver of pip itself: pip-tools' ``pip-compile`` chooses the versions.

It asks pip, which can only solve for the Python and the platform that it runs on. What it has
chosen is then looked up with uv, which knows the files behind it.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.partial import scratch
from imagesmith.resolve.uv import UvSolver, with_built
from imagesmith.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagesmith.resolve.indexes import Indexes
    from imagesmith.resolve.platform import Target
    from imagesmith.resolve.solver import Question

_INPUT = "requirements.in"
_OUTPUT = "requirements.txt"
_CONSTRAINTS = "constraints.txt"


class PipToolsSolver:
    """Solves with the pip-tools that is installed beside imagesmith."""

    @property
    def identity(self) -> str:
        """The pip-tools and the pip that answer."""
        return f"pip-tools {metadata.version('pip-tools')}, pip {metadata.version('pip')}"

    def solve(self, question: Question) -> bytes:
        """Give the answer as a pylock.toml; see ``Solver``.

        Raises usage.pip-resolver where this machine is not what is locked for.
        """
        _check(question.target)
        try:
            chosen = _compile(question)
        except _RefusedError as refused:
            UvSolver().solve(question)  # which says more of what is wrong
            raise ImagesmithError(_failed(str(refused))) from refused
        return UvSolver().solve(replace(question, requirements=chosen, preferences=()))


class _RefusedError(Exception):
    """pip-compile found no solution; the text is what it said."""


def _compile(question: Question) -> tuple[str, ...]:
    """Give the versions that pip-compile chooses, as sorted requirements."""
    with scratch() as folder:
        (folder / _INPUT).write_text(_lines(question.requirements))
        (folder / _CONSTRAINTS).write_text(_lines((*question.constraints, *question.provided)))
        # What is in the output already is preferred. It is a file of ours: as root, pip-compile
        # would put another in the place of a device.
        (folder / _OUTPUT).write_text(_lines(question.preferences))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "piptools", "compile", _INPUT, "-o", _OUTPUT),
                *("--constraint", _CONSTRAINTS, "--pip-args", "--only-binary :all:"),
                *("--strip-extras", "--allow-unsafe", "--no-annotate", "--no-header"),
                *("--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host"),
                *("--no-config", "--quiet"),
            ],
            cwd=folder,
            env=_environment(with_built(question, folder), os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise _RefusedError(done.stderr)
        lines = (folder / _OUTPUT).read_text().splitlines()
        return tuple(sorted(line for line in lines if "==" in line and line[0].isalnum()))


def _lines(requirements: tuple[str, ...]) -> str:
    return "".join(f"{requirement}\n" for requirement in requirements)


def _environment(indexes: Indexes, environ: Mapping[str, str]) -> dict[str, str]:
    """Make pip's environment; indexes go here, because anyone can read an argument list."""
    kept = {k: v for k, v in environ.items() if not k.startswith(("PIP_", "UV_"))}
    settings = {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    settings |= {k: environ[k] for k in ("PIP_CERT", "PIP_TRUSTED_HOST") if k in environ}
    if indexes.default:
        settings["PIP_INDEX_URL"] = indexes.default
    if indexes.extra:
        settings["PIP_EXTRA_INDEX_URL"] = " ".join(indexes.extra)
    if indexes.find_links:
        settings["PIP_FIND_LINKS"] = " ".join(indexes.find_links)
    return settings


def _check(target: Target) -> None:
    here = "{}.{}".format(*sys.version_info)
    libc, glibc = platform.libc_ver()
    fits = (sys.platform, platform.machine(), libc) == ("linux", "x86_64", "glibc")
    if not fits or here != target.python or _newer(glibc, target.glibc):
        raise ImagesmithError(
            error(
                "usage.pip-resolver",
                "pip-tools",
                f"pip solves for what it runs on, and that is not linux-64 with Python"
                f" {target.python} and a glibc of at most {target.glibc}",
                "leave --pip-resolver out: uv locks for another Python and platform",
            )
        )


def _newer(glibc: str, than: str) -> bool:
    return [*map(int, glibc.split("."))] > [*map(int, than.split("."))]


def _failed(said: str) -> Finding:
    return error(
        "unsatisfiable.solver",
        "pip-compile",
        f"pip-compile found no solution: {' '.join(redacted(said).split())[-500:]}",
        "leave --pip-resolver out: uv finds one",
    )
