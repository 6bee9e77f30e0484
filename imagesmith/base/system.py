"""System packages for an image: Debian's, out of the suite that its base was made from.

They and what they need beyond the base are fetched once, kept in the store, and found there by
every later build, which so asks nobody.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from imagesmith.base import debian
from imagesmith.findings import Finding, ImagesmithError, error, stop_on_errors, warning
from imagesmith.image import oci
from imagesmith.image.system import SystemPackage, system_members
from imagesmith.partial import scratch
from imagesmith.store import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from imagesmith.image.deb import Control
    from imagesmith.progress import Progress
    from imagesmith.store import Store

_KIND = "system"
_RECIPE = 1  # part of the key of what was fetched: raise it when it is to be chosen anew
# What only maintainer scripts need, which are not run; it is taken where it is asked for by name.
_FOR_SCRIPTS = {
    *("adduser", "cdebconf", "debconf", "debconf-2.0", "dpkg", "init-system-helpers"),
    *("install-info", "perl-base", "sensible-utils", "ucf"),
}
# Lines of a script that leave a new image as it is: what frames them, and ldconfig, whose cache
# the loader does without.
_IDLE = re.compile(
    r"|#.*|set -\w+|exit 0|:|true|case .* in|esac|;;|[\w|*-]+\)( *;;)?|(el)?if .*|then|else|fi"
    r"|(/sbin/)?ldconfig.*|dpkg-maintscript-helper .*"
)


def system(
    base: oci.Image, names: Iterable[str], store: Store, progress: Progress
) -> tuple[SystemPackage, ...]:
    """Give the packages of these names and what they need beyond a base, sorted by name.

    They are then in the store. ``progress`` is told of those whose configuration would do more
    than nothing (build.postinst).

    Raises ImagesmithError: usage.apt for what is no name of a package, or a base that is not made
    from Debian's packages, and what ``debian.fetch_named`` raises.
    """
    wanted = sorted(set(names))
    if not wanted:
        return ()
    stop_on_errors(_unfit(base, wanted))
    key = key_of(_RECIPE, base.manifest.digest, wanted)
    known = store.recall(_KIND, key)
    if known is None or not all(store.has(fact["digest"]) for fact in known):
        known = _fetched(base, wanted, store, progress)
        store.remember(_KIND, key, known)
    for fact in known:
        if fact["scripted"]:
            progress.find(_not_configured(fact["name"]))
    return tuple(SystemPackage(one["name"], one["version"], one["digest"]) for one in known)


def _unfit(base: oci.Image, names: list[str]) -> tuple[Finding, ...]:
    from imagesmith.image.deb import is_name

    labels = base.config.labels
    if oci.LABEL_PACKAGES not in labels or labels[oci.LABEL_PYTHON] not in debian.SUITES:
        return (
            error(
                "usage.apt",
                base.reference,
                f"{base.reference} was not made from Debian's packages, so none can be put on it",
                "leave --base out, or have what is missing in the image that --base names",
            ),
        )
    return tuple(_no_name(name) for name in names if not is_name(name))


def _no_name(text: str) -> Finding:
    return error(
        "usage.apt",
        text,
        f"{text!r} can be no name of a Debian package",
        "name one, such as libgomp1: lower case letters, digits, and + - . after the first",
    )


def _fetched(
    base: oci.Image, wanted: list[str], store: Store, progress: Progress
) -> list[dict[str, Any]]:
    """Fetch packages into the store, and give what is to be remembered of each."""
    from imagesmith.image.deb import control

    suite = debian.SUITES[base.config.labels[oci.LABEL_PYTHON]]
    has = {pair.partition("=")[0] for pair in base.config.labels[oci.LABEL_PACKAGES].split()}
    try:
        with scratch() as folder:
            found = debian.fetch_named(suite, wanted, folder)
            controls = {package.name: control(package.path) for package in found}
            needed = _needed(controls, wanted, has | _FOR_SCRIPTS)
            new = sorted(needed - has)
            paths = {package.name: package.path for package in found}
            facts = [_fact(controls[name], store.add_file(paths[name])) for name in new]
            facts = [fact for fact in facts if _brings_something(fact, store)]
    except ValueError as bad:
        raise ImagesmithError(_damaged(suite, bad)) from bad
    except OSError as bad:
        raise store.failure(bad) from bad
    names = ", ".join(fact["name"] for fact in facts)
    progress.say("system", f"Debian {suite}: {names or 'the base has it all'}")
    return facts


def _needed(packages: Mapping[str, Control], wanted: list[str], without: set[str]) -> set[str]:
    """Follow what packages depend on, from those that are wanted; what they do ``without`` is no
    way on."""
    waiting, needed = [*wanted], set[str]()
    while waiting:
        name = waiting.pop()
        bringing = {name} & packages.keys() or {
            one.name for one in packages.values() if name in one.provides
        }
        for one in bringing - needed:
            needed.add(one)
            waiting += packages[one].depends - without
    return needed


def _fact(told: Control, digest: str) -> dict[str, Any]:
    lines = (line.strip() for line in told.postinst.splitlines())
    scripted = not all(map(_IDLE.fullmatch, lines))
    named = {"name": told.name, "version": told.version}
    return {**named, "digest": digest, "scripted": scripted}


def _brings_something(fact: Mapping[str, Any], store: Store) -> bool:
    """Say whether a package has a file for an image, or a script; some are only named."""
    package = SystemPackage(fact["name"], fact["version"], fact["digest"])
    return fact["scripted"] or any(True for _ in system_members([package], store))


def _not_configured(name: str) -> Finding:
    return warning(
        "build.postinst",
        name,
        f"the Debian package {name} has a script that would configure it; imagesmith runs none",
        "if verifying fails, do what it does in a template of your own (--template)",
    )


def _damaged(suite: str, bad: ValueError) -> Finding:
    return error(
        "build.base",
        suite,
        f"a package of Debian {suite} cannot be read: {bad}",
        "try once more; if it stays so, the mirror that apt is configured for is at fault",
    )
