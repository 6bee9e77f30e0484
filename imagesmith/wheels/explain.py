"""What a failed build printed, as one sentence and what to do about it."""

from __future__ import annotations

import re

BY_HAND = (
    "install a version that has a wheel and capture again, or make this one's wheel where it builds"
    " (pip wheel --no-deps) and name its folder with PIP_FIND_LINKS"
)
_SHOWN = 300  # characters of a line
# What the line that matters looks like, and what it means to somebody who did not write it.
_KNOWN: tuple[tuple[str, str], ...] = (
    (
        r"fatal error: (?P<what>\S+): No such file or directory",
        "it needs the C header {what}, which is not among those that builds have here",
    ),
    (
        r"cannot find -l(?P<what>[\w.+-]+)",
        "it needs the C library {what}, which is not among those that builds have here",
    ),
    (
        r"Package '?(?P<what>[\w.+-]+)'?,? .*not found|Dependency \"(?P<also>[^\"]+)\" not found",
        "it needs the C library {what}, which is not among those that builds have here",
    ),
    (
        r"Temporary failure in name resolution|Name or service not known|Network is unreachable"
        r"|Could not resolve host|Failed to resolve",
        "it wants the network while it is built, and builds have none",
    ),
    (
        r"can't find Rust compiler|cargo.*(?:not found|No such file)"
        r"|`cargo` is not|Rust.*not found",
        "it is written in Rust, for which builds have no compiler here",
    ),
    (
        r"(?:command '|Unknown compiler\(s\): \[\[')(?P<what>[\w.+-]+)'.*"
        r"|No such file or directory: '(?P<also>[\w.+-]+)'"
        r"|(?P<third>[\w.+-]+): (?:command )?not found",
        "it needs the program {what}, which builds have not here",
    ),
    (
        r"(?:ModuleNotFoundError|BackendUnavailable).*No module named '(?P<what>[\w.]+)'",
        "it needs {what} to be built and does not say so in its pyproject.toml",
    ),
)
_COMPILER = re.compile(r"^\S+:\d+:(\d+:)? (fatal )?error: .+|.*undefined reference to .+")


def explain(printed: str) -> str:
    """Give why a build failed, in one line: what is known, and the line of its log that tells."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    compilers = next((line for line in lines if _COMPILER.match(line)), None)
    for pattern, meaning in _KNOWN:
        found = next(filter(None, (re.search(pattern, line) for line in lines)), None)
        if found is None or (compilers and "command" in found[0]):
            continue
        what = next((value for value in found.groupdict().values() if value), "")
        return f"{meaning.format(what=what)} ({_cut(found.string)})"
    last = lines[-1] if lines else "it printed nothing"
    return _cut(compilers or last)


def _cut(line: str) -> str:
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
