"""What the channels' answer means for what was captured: entries of the report, and findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagesmith.findings import Finding, error
from imagesmith.resolve.conda.ask import SUBDIR
from imagesmith.resolve.explain import cannot_go_together, nearest
from imagesmith.resolve.report import GOOD, Entry, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagesmith.capture.environment import CondaPackage
    from imagesmith.resolve.conda.ask import CondaAnswer
    from imagesmith.resolve.needed import Needs
    from imagesmith.resolve.relax import Pin


def entries(
    packages: Sequence[CondaPackage], answer: CondaAnswer, needed_by: Mapping[str, tuple[str, ...]]
) -> Iterator[Entry]:
    """Say of each captured package what linux-64 has of it."""
    for package in packages:
        status = _status(package, answer)
        yield Entry(
            manager="conda",
            name=package.name,
            wanted=package.version,
            got=None,
            status=status,
            needed_by=needed_by.get(package.name, ()),
            remedy=_remedy(package.name, package.version, status, answer),
            size=package.size,
        )


def findings(needs: Needs, answer: CondaAnswer) -> Iterator[Finding]:
    """Find every needed package that the channels lack, and every conflict."""
    pinned = {pin.name: pin for pin in needs.pins}
    for name in answer.absent:
        yield _absent(pinned[name], needs.needed_by.get(name, ()), answer)
    if answer.conflict is None:
        return
    reason = _one_line(answer.reason)
    if not answer.conflict.cores:
        yield error(
            "unsatisfiable.conflict",
            SUBDIR,
            f"nothing can be solved for {SUBDIR}: {reason}",
            "see that the channels have this Python: --channel URL",
        )
    for core in answer.conflict.cores:
        yield cannot_go_together(core, reason, answer.conflict.relaxations, SUBDIR)


def _status(package: CondaPackage, answer: CondaAnswer) -> Status:
    versions = answer.found.get(package.name)
    if versions is None:
        there = package.name in answer.elsewhere or package.subdir not in (SUBDIR, "noarch")
        return Status.PLATFORM_ONLY if there else Status.MISSING
    builds = versions.get(package.version)
    if builds is None:
        return Status.VERSION_MISSING
    if all(b.channel.rstrip("/") != package.channel.rstrip("/") for b in builds):
        return Status.OTHER_CHANNEL
    same = any((b.subdir, b.build) == (package.subdir, package.build) for b in builds)
    return Status.EXACT if same else Status.OTHER_BUILD


def _remedy(name: str, version: str, status: Status, answer: CondaAnswer) -> str:
    if status in GOOD:
        return ""
    if status is Status.VERSION_MISSING:
        near = nearest(version, answer.found[name])
        return f"{SUBDIR} has {', '.join(near)}: --update {name}=={near[0]}"
    return f"if the function can do without it: --allow-missing {name}"


def _absent(pin: Pin, needed_by: Sequence[str], answer: CondaAnswer) -> Finding:
    needed = f"{_text(pin)}, which {' and '.join(needed_by) or 'the lock'} needs,"
    if pin.name in answer.found:
        near = nearest(pin.version or "", answer.found[pin.name])
        return error(
            "missing.version",
            _text(pin),
            f"{needed} is not in the {SUBDIR} channels, which have {', '.join(near)}",
            f"take another version: --update {pin.name}=={near[0]}",
        )
    there = answer.elsewhere.get(pin.name)
    where = f"is there for {', '.join(there)} alone" if there else "is in none of the channels"
    return error(
        "missing.package",
        _text(pin),
        f"{needed} {where}",
        f"if the function can do without it, say --allow-missing {pin.name};"
        " if another channel has it, name that with --channel URL",
    )


def _text(pin: Pin) -> str:
    return f"{pin.name} {pin.version}" if pin.version else pin.name


def _one_line(reason: str) -> str:
    plain = reason.replace("Cannot solve the request because of:", "")
    return " ".join("".join(c if c.isascii() else " " for c in plain).split()).rstrip(".")
