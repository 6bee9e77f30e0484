"""What may be a name: Clipper's rules for models, versions and types, checked before all else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, error
from imagesmith.runtime.wire import InputType, parse_input_type

if TYPE_CHECKING:
    from collections.abc import Iterator

# clipper_admin's deploy_regex_str: Clipper refuses anything else.
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")


def check_name(name: str, version: str | None) -> Iterator[Finding]:
    """Find what Clipper would refuse in a model's name or version (None: not chosen yet)."""
    for what, value in (("name", name), ("version", version)):
        if value is not None and not _DNS_LABEL.match(value):
            yield error(
                f"usage.{what}",
                value,
                f"{value!r} is not a {what} that Clipper takes",
                "use lower-case letters, digits and inner hyphens only"
                + (f", for example {suggestion!r}" if (suggestion := _mend(value)) else ""),
            )


def check_input_type(text: str) -> tuple[InputType | None, list[Finding]]:
    """Read one of Clipper's input types or aliases; (None, findings) if it is none."""
    try:
        return parse_input_type(text), []
    except ValueError:
        return None, [
            error(
                "usage.input-type",
                text,
                f"{text!r} is not an input type of Clipper",
                "use one of: bytes, integers, floats, doubles, strings",
            )
        ]


def is_text(name: str) -> bool:
    """Say whether a name is UTF-8; one that is not reaches Python with lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_strings(text: str) -> list[Finding]:
    """Find what is wrong with the kind of thing that strings are to arrive as."""
    if text in ("str", "bytes"):
        return []
    return [
        error(
            "usage.strings",
            text,
            f"{text!r} is nothing that strings could arrive as",
            "use one of: str, bytes",
        )
    ]


def _mend(value: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")
