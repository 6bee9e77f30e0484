"""What the user names on the command line: ``path/file.py:attribute`` or ``module:attribute``."""

from __future__ import annotations

import keyword
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.names import is_text

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Target:
    """An object by the module that holds it.

    ``text`` is what the user wrote; ``root`` goes first on ``sys.path``, as ``python file.py``
    would put it there; ``attribute`` may be dotted; ``file`` is None for ``module:attribute``.
    """

    text: str
    root: Path
    module: str
    attribute: str
    file: Path | None


def parse(text: str, project: Path) -> Target:
    """Read a target; relative files and modules are looked for from ``project``.

    Raises ImagesmithError: capture.bad-target, capture.no-file.
    """
    if not is_text(text) or not is_text(str(project)):
        raise ImagesmithError(_bad(text, f"its path, from {str(project)!r}, is not UTF-8 text"))
    place, colon, attribute = text.rpartition(":")
    if not colon or not place or not all(map(_is_name, attribute.split("."))):
        raise ImagesmithError(_bad(text, "it does not name an object after a colon"))
    if place.endswith(".py") or "/" in place:
        return _of_file(text, (project / place).absolute(), attribute)
    if not all(map(_is_name, place.split("."))):
        raise ImagesmithError(_bad(text, f"{place!r} is neither a file nor a module's name"))
    return Target(text, project.absolute(), place, attribute, None)


def _of_file(text: str, file: Path, attribute: str) -> Target:
    if not os.path.isfile(file):  # noqa: PTH113 (pathlib's raises where a name is too long)
        raise ImagesmithError(
            error(
                "capture.no-file",
                text,
                f"there is no file {file}",
                "name a Python file that is there, relative to where you are",
            )
        )
    if file.suffix != ".py" or "." in file.stem:
        raise ImagesmithError(_bad(text, f"Python cannot import a file named {file.name!r}"))
    root, packages = _root(file.parent)
    names = packages if file.stem == "__init__" else (*packages, file.stem)
    if not names:
        raise ImagesmithError(_bad(text, f"{file.parent} is no package that could be imported"))
    return Target(text, root, ".".join(names), attribute, file)


def _root(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Climb out of the packages that a folder is in; the folder above and the packages' names."""
    packages: list[str] = []
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        packages.insert(0, folder.name)
        folder = folder.parent
    return folder, tuple(packages)


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _bad(text: str, reason: str) -> Finding:
    return error(
        "capture.bad-target",
        text,
        f"{text!r} is not a target: {reason}",
        "write path/file.py:function, or module:object.method",
    )
