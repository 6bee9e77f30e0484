"""The filters of Dockerfile templates: how a value is written so that a builder reads it back.

Source: the Dockerfile reference (parser directives, escape, environment replacement). A value goes
through two readers: one splits a line into words, one takes quotes, backslashes and ``$`` out of a
word. Neither has a way to write a line feed, so a value that holds one is refused.
"""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH = 98
_LONGEST = 60_000  # bytes; the classic builder reads lines of 65,535
_SECOND = 1_000_000_000
_WORD = re.compile(r"[A-Za-z0-9_./:@+-]+")
_ESCAPED = re.compile(r'[\\"$]')
_UNWRITABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def quote(value: object) -> str:
    """Give a value in double quotes; ValueError for one that a Dockerfile cannot hold."""
    return '"' + _ESCAPED.sub(r"\\\g<0>", _writable(value)) + '"'


def word(value: object) -> str:
    """Give a value that is written without quotes, as a path or a reference is."""
    text = str(value)
    if not _WORD.fullmatch(text):
        raise ValueError(f"{text[:80]!r} cannot be written without quotes")
    return text


def pairs(mapping: Mapping[str, object]) -> str:
    """Give what follows ENV or LABEL, a name and its value to a line."""
    lines = (f"{_name(name)}={quote(value)}" for name, value in mapping.items())
    return " \\\n    ".join(lines)


def exec_form(arguments: Sequence[object]) -> str:
    """Give a command as a JSON list, which no shell takes part in."""
    return json.dumps([_writable(argument) for argument in arguments], ensure_ascii=False)


def comment(text: object) -> str:
    """Give a text as comment lines."""
    lines = textwrap.wrap(_writable(text), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"# {line}" for line in lines)


def healthcheck(check: Mapping[str, Any]) -> str:
    """Give what follows HEALTHCHECK; times are in nanoseconds, ``Test`` starts with CMD."""
    kind, *arguments = check["Test"]
    if kind != "CMD":
        raise ValueError(f"a health check of the kind {kind} cannot be written")
    times = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
    options = [f"--{name}={_duration(check[key])}" for name, key in times.items() if check.get(key)]
    if retries := check.get("Retries"):
        options.append(f"--retries={int(retries)}")
    return " ".join([*options, "CMD", exec_form(arguments)])


FILTERS = {
    "quote": quote,
    "word": word,
    "pairs": pairs,
    "exec": exec_form,
    "comment": comment,
    "healthcheck": healthcheck,
}


def _name(name: str) -> str:
    if not name or "=" in name:
        raise ValueError(f"{name[:80]!r} cannot be the name of a variable or a label")
    return name if _WORD.fullmatch(name) else quote(name)


def _writable(value: object) -> str:
    text = str(value)
    if found := _UNWRITABLE.search(text):
        raise ValueError(f"{text[:80]!r} holds {found[0]!r}, which a Dockerfile cannot hold")
    if len(text.encode()) > _LONGEST:
        raise ValueError(f"{text[:80]!r}... is longer than a line of a Dockerfile may be")
    return text


def _duration(nanoseconds: int) -> str:
    seconds, rest = divmod(int(nanoseconds), _SECOND)
    return f"{int(nanoseconds)}ns" if rest else f"{seconds}s"
