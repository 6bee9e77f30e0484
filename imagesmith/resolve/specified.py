"""What a file asks for, as what to ask of channels and indexes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error
from imagesmith.resolve.needed import TESTED, Needs, Wish, runtime
from imagesmith.resolve.origin import Origin
from imagesmith.resolve.relax import Pin
from imagesmith.resolve.report import Entry, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagesmith.capture.specification import PipRequirement, Specification
    from imagesmith.resolve.available import Available
    from imagesmith.resolve.conda.ask import CondaAnswer
    from imagesmith.resolve.platform import Target

_FILE = "the file"


def needs(specification: Specification, target: Target, wish: Wish) -> Needs:
    """Say what a file needs, and the runtime beside it."""
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
        origins=tuple(map(_origin, (r for r in specification.pip if r.kind != "index"))),
        findings=(),
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
    specification: Specification,
    answer: CondaAnswer | None,
    on_index: Mapping[str, Available],
) -> Iterator[Entry]:
    """Say of each thing that the file asks for whether linux-64 has it."""
    found = answer.found if answer else {}
    for spec in specification.conda:
        status = Status.EXACT if spec.name in found or spec.name == "python" else Status.MISSING
        yield _entry("conda", spec.name, spec.version, status)
    for requirement in specification.pip:
        name = requirement.name or requirement.public
        status = on_index[name].status if name in on_index else Status.WHEEL
        if requirement.kind != "index":
            status = Status.NOT_ON_INDEX
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


def _origin(requirement: PipRequirement) -> Origin:
    """Read ``NAME @ URL``, a URL or a path as requirements files have them."""
    reference = requirement.line.removeprefix("-e ").strip()
    head, at, rest = reference.partition(" @ ")
    reference = rest if at and "://" not in head else reference
    if "://" not in reference:
        reference = Path(reference).as_uri()
    return Origin(requirement.name or "", None, reference)
