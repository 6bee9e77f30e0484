"""What a file asks for, as what to ask of channels and indexes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.resolve.needed import TESTED, Needs, Wish, runtime
from imagesmith.resolve.relax import Pin
from imagesmith.resolve.report import Entry, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagesmith.capture.specification import PipRequirement, Specification
    from imagesmith.resolve.conda.ask import CondaAnswer
    from imagesmith.resolve.platform import Target

_FILE = "the file"


def needs(specification: Specification, target: Target, wish: Wish) -> Needs:
    """Say what a file needs, and the runtime beside it.

    Findings: ``missing.not-on-index`` for what is asked for by URL, path or repository.
    """
    pins = {
        spec.name: Pin(spec.name, wish.updates.get(spec.name, _exact(spec.version)))
        for spec in specification.conda
        if spec.name not in ("python", *wish.allow_missing)
    }
    lines = {
        requirement.name or requirement.line: _line(requirement, wish)
        for requirement in specification.pip
        if requirement.kind == "index" and requirement.name not in wish.allow_missing
    }
    tested = runtime(target.python)
    own = {*TESTED, "cloudpickle"} - lines.keys()
    return Needs(
        pins=tuple(sorted(pins.values(), key=lambda pin: pin.name)),
        likes=(),
        requirements=tuple(sorted([*lines.values(), *own])),
        preferences=tuple(sorted(f"{n}=={v}" for n, v in tested.items() if n not in lines)),
        needed_by=dict.fromkeys((*pins, *lines), (_FILE,)),
        findings=tuple(_not_on_index(specification.pip)),
    )


def minor(specification: Specification, known: Sequence[str]) -> str:
    """Choose the Python of a file: the newest of those that are known (X.Y) that it allows.

    Raises ImagesmithError (capture.python) where it allows none.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    text = specification.python or ""
    # conda writes 3.11.* as =3.11, too; a bare prefix means the same.
    spelled = re.sub(r"(^|,)\s*={0,2}(\d+\.\d+)(?:\.\*)?\s*(?=,|$)", r"\1==\2.*", text)
    newest = sorted(known, key=lambda one: [*map(int, one.split("."))], reverse=True)
    try:
        allowed = SpecifierSet(spelled)
    except InvalidSpecifier:
        allowed = SpecifierSet("<0")
    # Some file asks for one patch of it, which its minor version stands for here.
    for one in newest:
        if any(allowed.contains(f"{one}.{patch}") for patch in range(40)):
            return one
    raise ImagesmithError(
        error(
            "capture.python",
            text,
            f"the file wants Python {text}, and there are bases for {', '.join(known)}",
            "say which of them it shall be: --python X.Y",
        )
    )


def entries(
    specification: Specification, answer: CondaAnswer | None, needed_by: Mapping[str, object]
) -> Iterator[Entry]:
    """Say of each thing that the file asks for whether linux-64 has it."""
    found = answer.found if answer else {}
    for spec in specification.conda:
        status = Status.EXACT if spec.name in found or spec.name == "python" else Status.MISSING
        yield _entry("conda", spec.name, spec.version, status)
    for requirement in specification.pip:
        name = requirement.name or requirement.public
        status = Status.WHEEL if name in needed_by else Status.NOT_ON_INDEX
        yield _entry("pip", name, requirement.public, status)


def _entry(manager: str, name: str, wanted: str | None, status: Status) -> Entry:
    return Entry(manager, name, wanted or "any", None, status, (_FILE,), "", 0)


def _exact(version: str | None) -> str | None:
    return version.removeprefix("==") if version else None


def _line(requirement: PipRequirement, wish: Wish) -> str:
    """Give the requirement, with the version that the user wants instead."""
    name = requirement.name or ""
    if name not in wish.updates:
        return requirement.line
    extras = re.match(r"[\w.-]+\s*(\[[^\]]*\])?", requirement.line)
    head = extras[0].rstrip() if extras else name
    return f"{head}=={wish.updates[name]}" if wish.updates[name] else head


def _not_on_index(requirements: Sequence[PipRequirement]) -> Iterator[Finding]:
    for requirement in requirements:
        if requirement.kind != "index":
            yield error(
                "missing.not-on-index",
                requirement.name or requirement.public,
                f"{requirement.public} ({requirement.where}) is no release on an index",
                "write a release of it (NAME==VERSION), or publish it on an index of yours and"
                " pass --index-url URL",
            )
