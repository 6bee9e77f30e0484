"""requirements.txt as pip reads it (pip's reference, "Requirements File Format").

Options that choose where packages come from are taken; those that have no meaning for a lock are
noted, and all others refused, since a lock without them would be another than the user means.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.capture.specification import PipRequirement
from imagesmith.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagesmith.capture.specification import Draft

_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_OPTIONS = re.compile(r"\s+(?=-)")  # those of one requirement begin here
_VCS = re.compile(r"(git|hg|svn|bzr)\+")
_ARCHIVE = re.compile(r"\.(whl|zip|tar\.gz|tgz|tar\.bz2|tar\.xz)\Z", re.IGNORECASE)
_EGG = re.compile(r"[#&]egg=([\w.-]+)")
_TAIL = re.compile(r"(\[[^\[\]]*\])?(\s+;.*)?\Z")  # extras and marker after a path or URL
_DEEPEST = 20

_LONG = {
    "-i": "--index-url",
    "--pypi-url": "--index-url",
    "-f": "--find-links",
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
}
_WITH_VALUE = {
    *_LONG.values(),
    "--extra-index-url",
    "--only-binary",
    "--trusted-host",
    "--use-feature",
    "--hash",
}
_NEEDLESS = {
    "--hash": "the lock gets hashes of its own",
    "--require-hashes": "the lock has hashes always",
    "--prefer-binary": "wheels are preferred always",
    "--only-binary": "wheels are preferred always",
    "--trusted-host": "certificates are checked always",
    "--use-feature": "pip itself is not asked",
}


@dataclass(frozen=True)
class Context:
    """Where lines stand: the folder that their paths start from, and the files around them."""

    folder: Path
    opened: tuple[Path, ...] = ()
    constraint: bool = False


def read_requirements(path: Path, draft: Draft) -> None:
    """Take all that a requirements file and those that it includes ask for."""
    _read(path, path, draft, Context(path.parent))


def _read(path: Path, where: object, draft: Draft, around: Context) -> None:
    text = draft.text_of(path, where)
    if text is None:
        return
    opened = (*around.opened, _resolved(path))
    inside = Context(path.parent, opened, around.constraint)
    for number, line in _logical_lines(text):
        take_line(line, f"{path}:{number}", draft, inside)


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Give the lines with their numbers, from 1: continued ones joined, without comments."""
    start, joined = 0, ""
    # A backslash at the very end continues nothing.
    for number, line in enumerate([*text.splitlines(), ""], 1):
        is_comment = line.lstrip().startswith("#")
        start, joined = start or number, joined + (" " + line if is_comment else line)
        if line.endswith("\\") and not is_comment:
            joined = joined[:-1]
            continue
        if stripped := _COMMENT.sub("", joined).strip():
            yield start, stripped
        start, joined = 0, ""


def take_line(line: str, where: str, draft: Draft, around: Context) -> None:
    """Take one line: a requirement, or options."""
    line = _VARIABLE.sub(lambda match: draft.environ.get(match[1], match[0]), line)
    line = line.replace("\t", " ")
    if not line.isprintable():
        draft.refuse(where, "the line holds what cannot be printed", "write it anew")
        return
    if line.startswith("-"):
        _take_options(line, where, draft, around, alone=True)
        return
    requirement, *options = _OPTIONS.split(line, maxsplit=1)
    _require(requirement, where, draft, around)
    for text in options:
        _take_options(text, where, draft, around, alone=False)


# --- Requirements -------------------------------------------------------------------------------


def _require(text: str, where: str, draft: Draft, around: Context, editable: bool = False) -> None:
    try:
        requirement = _requirement(text, where, around.folder, editable)
    except ValueError as fault:
        draft.refuse(
            where,
            f"{redacted(text)!r} is no requirement of pip: {redacted(str(fault))}",
            "write it as NAME, NAME==VERSION or NAME>=VERSION,<VERSION",
        )
        return
    (draft.constraints if around.constraint else draft.pip).append(requirement)


def _requirement(text: str, where: str, folder: Path, editable: bool) -> PipRequirement:
    """Read a requirement as requirements files have it; ValueError if it is none."""
    tail = _TAIL.search(text)
    assert tail is not None  # it can be empty
    place = text[: tail.start()]
    if "://" in place.partition("@")[0] or _VCS.match(place):
        return PipRequirement(text, _kind(place), _told_name(place), editable, where)
    if editable or _is_path(place, folder):
        line = str(_there(place, folder)) + tail[0]
        return PipRequirement(line, "path", _told_name(place), editable, where)
    return pep508(text, where)


def pep508(text: str, where: str) -> PipRequirement:
    """Read a requirement of PEP 508; ValueError if it is none."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        read = Requirement(text)
    except InvalidRequirement as fault:
        raise ValueError(str(fault).partition("\n")[0]) from None
    kind = _kind(read.url) if read.url else "index"
    return PipRequirement(str(read), kind, canonicalize_name(read.name), where=where)


def _kind(url: str) -> str:
    """Say what a URL leads to; ValueError if it is none."""
    scheme = re.match(r"[a-z][a-z0-9+.-]*(?=:)", url, re.IGNORECASE)
    if scheme is None:
        raise ValueError("what stands after @ is not a URL")
    return "vcs" if _VCS.match(url) else "path" if scheme[0].lower() == "file" else "url"


def _is_path(place: str, folder: Path) -> bool:
    if place.startswith((".", "/", "~")) or _ARCHIVE.search(place.partition("@")[0].strip()):
        return True
    return "/" in place.partition("@")[0] and _exists(folder / place)


def _there(place: str, folder: Path) -> Path:
    """Make a path absolute; ValueError if nothing is there."""
    path = folder.absolute() / os.path.expanduser(place)  # noqa: PTH111 (raises for some users)
    path = Path(os.path.normpath(path))
    if not _exists(path):
        raise ValueError(f"there is no {path}")
    return path


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 (pathlib's raises where a name is too long)


def _told_name(place: str) -> str | None:
    """Give the normalised name that an #egg= or a wheel's file name tells, or None."""
    from packaging.utils import canonicalize_name, parse_wheel_filename

    if egg := _EGG.search(place):
        return canonicalize_name(egg[1])
    try:
        base = place.partition("#")[0].partition("?")[0].rpartition("/")[2]
        return str(parse_wheel_filename(base)[0])
    except ValueError:  # no wheel
        return None


# --- Options ------------------------------------------------------------------------------------


def _take_options(line: str, where: str, draft: Draft, around: Context, alone: bool) -> None:
    """Take the options of a line, ``alone`` in it or those of a requirement."""
    try:
        words = deque(shlex.split(line))
    except ValueError:
        draft.refuse(where, "a quotation mark is not closed", "close it, or remove it")
        return
    while words:
        name, value = _option(words)
        if not name.startswith("-") or (not alone and name not in _NEEDLESS):
            _refuse_option(name, where, draft)
            return
        if name in _WITH_VALUE and not value:
            draft.refuse(where, f"{name} lacks its value", f"write it as {name} VALUE")
            return
        if not _take_option(name, value, where, draft, around):
            return


def _option(words: deque[str]) -> tuple[str, str]:
    """Take an option off a line: its long name, and its value or nothing."""
    word = words.popleft()
    name, is_joined, value = word.partition("=")
    if word[:2] in _LONG:
        name, value = word[:2], word[2:].removeprefix("=")
        is_joined = value
    name = _LONG.get(name, name)
    if name in _WITH_VALUE and not is_joined and words:
        value = words.popleft()
    return name, value


def _take_option(name: str, value: str, where: str, draft: Draft, around: Context) -> bool:
    """Take one option; False if it is none that is taken."""
    if name in ("--index-url", "--extra-index-url", "--find-links"):
        _take_index(name, value, where, draft, around.folder)
    elif name == "--editable":
        _require(value, where, draft, around, editable=True)
    elif name in ("--requirement", "--constraint"):
        _include(value, where, draft, around, name == "--constraint")
    elif name in _NEEDLESS:
        file = where.rpartition(":")[0]
        draft.note(file, f"{name} is passed over: {_NEEDLESS[name]}", "nothing is to be done")
    else:
        _refuse_option(name, where, draft)
        return False
    return True


def _take_index(name: str, value: str, where: str, draft: Draft, folder: Path) -> None:
    url = value if "://" in value else str(folder.absolute() / value)
    if url != value and not _exists(Path(url)):  # perhaps a URL that begins with its password
        message = f"what {name} names is neither a URL nor a folder here"
        draft.refuse(where, message, "write it as https://HOST/PATH, or as the path of a folder")
    elif name == "--index-url":
        draft.index_url = url
    else:
        (draft.find_links if name == "--find-links" else draft.extra_index_urls).append(url)


def _refuse_option(name: str, where: str, draft: Draft) -> None:
    if name.startswith("-"):
        shown = redacted(name)
        draft.refuse(where, f"the option {shown} of pip is not taken", f"remove {shown} from there")
    else:
        draft.refuse(where, "something stands after an option", "give it a line of its own")


def _include(value: str, where: str, draft: Draft, around: Context, constraint: bool) -> None:
    if "://" in value:
        draft.refuse(where, "an included file must be here, not at a URL", "download it first")
        return
    inside = Context(around.folder, around.opened, constraint or around.constraint)
    path = around.folder / value
    key = (_resolved(path), inside.constraint)
    if key[0] in around.opened or len(around.opened) >= _DEEPEST:
        draft.refuse(where, f"{value!r} includes itself, or too many files", "remove the line")
    elif key not in draft.included:
        draft.included.add(key)
        _read(path, where, draft, inside)
