"""``pylock.toml``, the standard lock file of Python packages: read anybody's, write ours.

Source: PEP 751. What is written holds one wheel for each package, no times and no sizes, so that
its bytes depend on the wheels alone, whoever solved.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from imagesmith.findings import Finding, ImagesmithError, error, stop_on_errors
from imagesmith.resolve.lock import Lock, LockedSource, LockedWheel
from imagesmith.resolve.platform import Target
from imagesmith.urls import bare

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_HEX = re.compile(r"[0-9a-f]{64}\Z")
_HEAD = """\
# Locked by imagesmith for linux-64; installers read it as PEP 751 says.
lock-version = "1.0"
environments = ["sys_platform == 'linux' and platform_machine == 'x86_64'"]
requires-python = "=={python}.*"
created-by = "imagesmith"
"""
_NO_PACKAGES = "packages = []\n"  # the key must be there
_PACKAGE = """
[[packages]]
name = "{wheel.name}"
version = "{wheel.version}"
wheels = [
    {{ name = "{wheel.filename}", url = "{wheel.url}", hashes = {{ sha256 = "{sha256}" }} }},
]
"""
_BUILT = """
[[packages]]
name = "{wheel.name}"
version = "{wheel.version}"
{source}

[packages.tool.imagesmith]
wheel = "{wheel.filename}"
sha256 = "{sha256}"
source = {{ url = {url}, digest = "{wheel.source.digest}", commit = "{wheel.source.commit}" }}
"""
_TAIL = """
[tool.imagesmith]
python = "{target.python}"
glibc = "{target.glibc}"
"""


def render(lock: Lock) -> bytes:
    """Write a lock; no text in it needs escaping, which ``parse`` sees to."""
    head = _HEAD.format(python=lock.target.python)
    tail = _TAIL.format(target=lock.target)
    entries = map(_entry, lock.wheels) if lock.wheels else [_NO_PACKAGES]
    return "".join((head, *entries, tail)).encode()


def _entry(wheel: LockedWheel) -> str:
    sha256 = wheel.digest.partition(":")[2]
    if wheel.source is None:
        return _PACKAGE.format(wheel=wheel, sha256=sha256)
    url = json.dumps(wheel.source.url)
    return _BUILT.format(wheel=wheel, sha256=sha256, source=_source(wheel.source, url), url=url)


def _source(source: LockedSource, url: str) -> str:
    """Write where any installer finds what the wheel was made of."""
    if source.commit:
        return f'vcs = {{ type = "git", url = {url}, commit-id = "{source.commit}" }}'
    if "://" not in source.url:
        return f"directory = {{ path = {url} }}"
    name = json.dumps(unquote(source.url.rpartition("/")[2]))
    hashes = f'{{ sha256 = "{source.digest.partition(":")[2]}" }}'
    return f"sdist = {{ name = {name}, url = {url}, hashes = {hashes} }}"


def parse(
    data: bytes,
    target: Target,
    provided: Collection[str] = (),
    built: Sequence[LockedWheel] = (),
) -> Lock:
    """Read a pylock.toml, choosing for each package the wheel that fits the target best.

    ``provided`` are normalised names that come from elsewhere and are passed over; of those that
    were ``built`` here, these very wheels are taken.

    Raises ImagesmithError: usage.lock if it is none, and, all at once, missing.wheel for packages
    without a wheel for the target, missing.hash, missing.url and missing.wheel-name for wheels that
    cannot be trusted or fetched.
    """
    packages = [package for package in _packages(data) if package["name"] not in provided]
    made = {wheel.name: wheel for wheel in built}
    chosen = [
        made.get(package["name"]) or _made_here(package) or _choose(package, target)
        for package in packages
    ]
    stop_on_errors(found for found in chosen if isinstance(found, Finding))
    wheels = [found for found in chosen if not isinstance(found, Finding)]
    return Lock(target, tuple(sorted(wheels, key=lambda wheel: wheel.name)))


def versions(data: bytes) -> dict[str, str]:
    """Give the version of each package that a pylock.toml names; ImagesmithError (usage.lock)."""
    return {package["name"]: package["version"] for package in _packages(data)}


def target_of(data: bytes) -> Target:
    """Give the target that a lock of ours was made for; ImagesmithError (usage.lock) else."""
    match _document(data).get("tool"):
        case {"imagesmith": {"python": str(python), "glibc": str(glibc)}}:
            if re.fullmatch(r"3\.\d{1,3}", python) and re.fullmatch(r"2\.\d{1,3}", glibc):
                return Target(python, glibc)
    raise ImagesmithError(not_a_lock("pylock.toml", "it does not say what imagesmith made it for"))


def not_a_lock(subject: object, why: str) -> Finding:
    """Make the finding for a file that should be a lock."""
    return error(
        "usage.lock",
        subject,
        f"this is not a lock of imagesmith: {why}",
        "make it anew with imagesmith lock",
    )


def _document(data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as reason:  # of the encoding or of TOML
        raise ImagesmithError(not_a_lock("pylock.toml", str(reason))) from reason


def _packages(data: bytes) -> list[dict[str, Any]]:
    from packaging.utils import canonicalize_name

    document = _document(data)
    # A lock of nothing has no packages at all.
    packages = document.get("packages", [] if "lock-version" in document else None)
    if not isinstance(packages, list) or not all(map(_is_package, packages)):
        raise ImagesmithError(not_a_lock("pylock.toml", "its packages are not as PEP 751 says"))
    names = Counter(canonicalize_name(package["name"]) for package in packages)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ImagesmithError(
            not_a_lock("pylock.toml", f"it has more than one {', '.join(sorted(twice))}")
        )
    return packages


def _is_package(package: Any) -> bool:
    match package:
        case {"name": str(), "version": str()}:
            wheels = package.get("wheels", [])
            return isinstance(wheels, list) and all(isinstance(wheel, dict) for wheel in wheels)
    return False


def _made_here(package: dict[str, Any]) -> LockedWheel | None:
    """Read what ``render`` wrote of a wheel that was made here."""
    match package.get("tool"):
        case {"imagesmith": {"wheel": str(filename), "sha256": str(sha256), "source": dict(said)}}:
            texts = [said.get(key) for key in ("url", "digest", "commit")]
            whole = _HEX.match(sha256) and all(isinstance(text, str) for text in texts)
            if whole and _names(filename, package):
                source = LockedSource(*map(str, texts))
                version, digest = package["version"], f"sha256:{sha256}"
                return LockedWheel(package["name"], version, filename, "", digest, source)
    return None


def _choose(package: dict[str, Any], target: Target) -> LockedWheel | Finding:
    read = [_wheel(package, entry) for entry in package.get("wheels", [])]
    wheels = []
    for found in read:
        if isinstance(found, Finding):
            return found
        if (rank := target.rank(found.filename)) is not None:
            wheels.append((rank, found.filename, found))
    if wheels:
        return min(wheels)[2]
    subject = f"{package['name']}=={package['version']}"
    return error(
        "missing.wheel",
        subject,
        f"{subject} has no wheel for linux-64 with Python {target.python} and glibc {target.glibc}",
        "install a version that has one and capture again, or do without it in the function",
    )


def _wheel(package: dict[str, Any], entry: dict[str, Any]) -> LockedWheel | Finding:
    """Read one wheel of a package, or say why it cannot be trusted."""
    from packaging.utils import canonicalize_name

    subject = f"{package['name']}=={package['version']}"
    url = _clean(entry.get("url"))
    if url is None:
        return _finding("url", subject, "the lock names no http, https or file URL for it")
    filename = entry.get("name") or unquote(url.rpartition("/")[2])
    if not _names(filename, package):
        return _finding("wheel-name", subject, f"{filename!r} is not a name for its wheel")
    hashes = entry.get("hashes")
    digest = hashes.get("sha256") if isinstance(hashes, dict) else None
    if not isinstance(digest, str) or not _HEX.match(digest):
        return _finding("hash", subject, f"the index gives no sha256 for {filename}")
    name = canonicalize_name(package["name"])
    return LockedWheel(name, package["version"], filename, url, f"sha256:{digest}")


def _clean(url: Any) -> str | None:
    """Give a wheel's URL without anything secret; None if it is none that fetching can take."""
    try:
        cleaned = bare(url) if isinstance(url, str) else ""
        parts = urlsplit(cleaned)
        remote = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of a host, or of a port
        return None
    local = parts.scheme == "file" and not parts.netloc
    return cleaned if (remote or local) and parts.path.strip("/") and _is_plain(cleaned) else None


def _names(filename: Any, package: dict[str, Any]) -> bool:
    """Say whether this is the file name of a wheel of the package."""
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
    from packaging.version import InvalidVersion, Version

    if not isinstance(filename, str) or not _is_plain(filename + package["version"]):
        return False
    try:
        name, version, _, _ = parse_wheel_filename(filename)
        same = version == Version(package["version"])
    except (InvalidWheelFilename, InvalidVersion):
        return False
    return same and name == canonicalize_name(package["name"])


def _is_plain(text: str) -> bool:
    """Say whether a text stands in TOML and in requirements.txt as it is."""
    return text.isascii() and text.isprintable() and not set(text) & set('"\\ #')


def _finding(what: str, subject: str, why: str) -> Finding:
    return error(
        f"missing.{what}",
        subject,
        f"{subject} cannot be locked: {why}",
        "use an index that follows PEP 503 or 691 and gives hashes: --index-url URL",
    )
