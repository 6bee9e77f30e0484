"""What uv prints when it fails, as a finding: out of reach, missing, or a conflict.

uv prints ``error:``, then ``cause:`` lines from the outermost to the innermost, then hints.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, error
from imagesmith.urls import redacted

if TYPE_CHECKING:
    from imagesmith.resolve.platform import Target

_NO_SOLUTION = "No solution found"
_REACH = re.compile(
    r"failed to fetch|request failed|error sending request|dns error|timed out"
    r"|unsupported `content-type`|failed to read `--find-links`|http status",
    re.IGNORECASE,
)
_URL = re.compile(r"(?:https?|file)://[^\s`'\")]+")


def explain(stderr: str, target: Target) -> Finding:
    """Make the one finding that uv's words come to; uv itself stops at the first fault."""
    text = redacted(stderr)
    if _NO_SOLUTION not in text:
        return _unreachable(text) if _REACH.search(text) else _failed(text)
    return (
        _refused(text)
        or _no_index(text)
        or _no_package(text)
        or _no_version(text)
        or _no_wheel(text, target)
        or _conflict(text)
    )


def _unreachable(text: str) -> Finding:
    failed = _one_line(text.partition("error:")[2].partition("cause:")[0])
    subject = url[0] if (url := _URL.search(text)) else failed
    reason = _one_line(re.split(r"(?:cause|error):", text.partition("\nhint:")[0])[-1])
    if "certificate" in text:
        return error(
            "reach.index",
            subject,
            f"the index's certificate is not trusted: {reason}",
            "put your company's certificate into the system's store, or name its file in "
            "SSL_CERT_FILE",
        )
    return error(
        "reach.index",
        subject,
        f"the index cannot be reached: {reason}",
        "check the network, the proxy and the index's URL (--index-url, or pip's configuration)",
    )


def _refused(text: str) -> Finding | None:
    found = re.search(r"An index URL \((\S+)\) could not be queried.*?\((.+?)\)", text, re.DOTALL)
    return found and error(
        "reach.index",
        found[1],
        f"the index refuses the login: {_one_line(found[2])}",
        "put user and password into the index's URL (PIP_INDEX_URL) or into ~/.netrc",
    )


def _no_index(text: str) -> Finding | None:
    found = re.search(r"there are no versions of ([\w.-]+) and", _explanation(text))
    return found and error(
        "reach.index",
        found[1],
        f"what the index answers for {found[1]} names no file at all: a login page, perhaps",
        "open the index's URL in a browser; it must be the URL of a simple index (PEP 503)",
    )


def _no_package(text: str) -> Finding | None:
    found = re.search(r"([\w.-]+) was not found in the", _explanation(text))
    return found and error(
        "missing.package",
        found[1],
        f"no index has {found[1]}: {_explanation(text)}",
        "if it is on another index, pass --index-url URL or name that index in pip's configuration",
    )


def _no_version(text: str) -> Finding | None:
    found = re.search(r"there is no version of ([\w.-]+)==([^\s,]+)", _explanation(text))
    return found and error(
        "missing.version",
        f"{found[1]}=={found[2]}",
        f"no index has version {found[2]} of {found[1]}: {_explanation(text)}",
        f"install a version that the index has (pip install {found[1]}) and capture again",
    )


def _no_wheel(text: str, target: Target) -> Finding | None:
    found = re.search(r"([\w.-]+==[^\s,]+) has no (?:usable )?wheels", _explanation(text))
    if found is None:
        return None
    return error(
        "missing.wheel",
        found[1],
        f"{found[1]} has no wheel for linux-64 with Python {target.python} and glibc "
        f"{target.glibc}: {_what_there_is(text)}",
        "install a version that has one and capture again, or do without it in the function",
    )


def _what_there_is(text: str) -> str:
    platforms = re.search(r"on the following platforms?: (.+)", text)
    if platforms:
        return "there are wheels for " + platforms[1].replace("`", "")
    tags = re.search(r"with the following (Python[\w ]*? tags?): (.+)", text)
    if tags:
        return f"there are wheels with the {tags[1]} " + tags[2].replace("`", "")
    return "the index has only its source, or wheels for other systems"


def _conflict(text: str) -> Finding:
    return error(
        "unsatisfiable.conflict",
        "requirements",
        f"no set of versions satisfies everything: {_explanation(text)}",
        "change one of the named versions in the environment (pip install) and capture again",
    )


def _failed(text: str) -> Finding:
    return error(
        "unsatisfiable.solver",
        "uv",
        f"uv could not solve: {_one_line(text)}",
        "if the message does not help, run again with --debug and report it",
    )


def _explanation(text: str) -> str:
    """Give uv's reasoning on one line, without its hints and its stock ending."""
    reasoning = _one_line(text.partition("cause:")[2].partition("\nhint:")[0])
    return re.sub(r", we can conclude that your requirements are unsatisfiable\.$", "", reasoning)


def _one_line(text: str) -> str:
    return " ".join(text.split())
