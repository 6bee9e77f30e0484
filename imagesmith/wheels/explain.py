"""What a failed build printed, as one sentence and what to do about it."""

from __future__ import annotations

import re

BY_HAND = (
    "install a version that has a wheel and capture again, or make this one's wheel where it builds"
    " (pip wheel --no-deps) and name its folder with PIP_FIND_LINKS"
)
_SHOWN = 300  # characters of a line
_LIBRARY = "it needs the C library {}, which is not among those that builds have here"
# What the line that matters looks like, and what it means to somebody who did not write it.
_KNOWN = (
    (
        r"fatal error: (\S+): No such file or directory",
        "it needs the C header {}, which is not among those that builds have here",
    ),
    (r"cannot find -l([\w.+-]+)", _LIBRARY),
    (r"Package '?([\w.+-]+)'? was not found in the pkg-config search path", _LIBRARY),
    (r"ERROR: Dependency \"([^\"]+)\" not found", _LIBRARY),
    (
        r"(?:name resolution|Name or service not known|Network is unreachable|resolve host"
        r"|Failed to resolve)()",
        "it wants the network while it is built, and builds have none",
    ),
    (
        r"(?:find Rust compiler|requires Rust|[Cc]argo\b.*not (?:found|installed))()",
        "it is written in Rust, for which builds have no compiler here",
    ),
    (
        r"(?:command '|Unknown compiler\(s\): \[\[')([\w.+-]+)'(?: failed: No such file|\])",
        "it needs the program {}, which builds have not here",
    ),
    (r"No such file or directory: '([\w+-]+)'", "it looks for {}, which is not there"),
    (r"\b([\w.+-]+): (?:command )?not found$", "it needs the program {}, which builds have not"),
    (
        r"No module named '([\w.]+)'",
        "it needs {} to be built, and its pyproject.toml does not say so",
    ),
)
# Where the line is not known, but has the form of one that says what went wrong; the first counts
# of a compiler's, the last of the others.
_COMPILER = re.compile(r"\S+:\d+:(\d+:)? (fatal )?error: .+|.*undefined reference to .+")
_TOLD = re.compile(r"[|\s]*([\w.]*(Error|Exception|Exit)\b.*:|.*\b(ERROR|error|fatal):) .*\w.*")


def explain(printed: str) -> str:
    """Give why a build failed, in one line: what is known, and the line of its log that tells."""
    lines = [line.strip() for line in printed.splitlines() if re.search(r"\w", line)]
    for pattern, meaning in _KNOWN:
        if found := next(filter(None, (re.search(pattern, line) for line in lines)), None):
            return f"{meaning.format(found[1])} ({_cut(found.string)})"
    compilers = [line for line in lines if _COMPILER.fullmatch(line)]
    told = [line for line in lines if _TOLD.fullmatch(line)]
    return _cut((compilers[:1] or told[-1:] or lines[-1:] or ["it printed nothing"])[0])


def _cut(line: str) -> str:
    line = line.lstrip("| ")
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
