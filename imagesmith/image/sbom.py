"""An image's bill of materials: what its environment and its base are made of, as SPDX.

Sources: SPDX 2.3 (ISO/IEC 5962), in JSON; the purl-spec for the names of packages. It says what
packages are, not where this host had them from: the image must not depend on a mirror.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imagesmith.image import oci
from imagesmith.store import canonical, hex_of, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagesmith.image.system import SystemPackage
    from imagesmith.resolve.lock import Lock, LockedPackage, LockedWheel

SBOM = "sbom.spdx.json"
MEDIA_TYPE = "application/spdx+json"

_DOCUMENT = "SPDXRef-DOCUMENT"
_ENVIRONMENT = "SPDXRef-environment"
_BASE = "SPDXRef-base"
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9-]")
_UNKNOWN = "NOASSERTION"


def sbom(lock: Lock, base: oci.Image, created: str, system: Sequence[SystemPackage] = ()) -> bytes:
    """Give the bill of materials of an environment on a base; the same bytes for the same two.

    ``system`` are Debian's packages that the environment needs beyond the base, ``created`` an
    RFC 3339 time in UTC, to the second. Of a base that does not say what Debian packages it is made
    of, only its digest is told.
    """
    debian = base.config.labels.get(oci.LABEL_PACKAGES, "")
    added = [[package.name, package.digest] for package in system]
    said = key_of("sbom", lock.digest, base.manifest.digest, debian, created, *added)
    installed = [*map(_system, system), *map(_conda, lock.packages), *map(_wheel, lock.wheels)]
    below = list(_debian(debian))
    return canonical(
        {
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": _DOCUMENT,
            "name": "imagesmith-environment",
            "documentNamespace": f"https://spdx.org/spdxdocs/imagesmith-environment-{said}",
            "creationInfo": {"created": created, "creators": ["Tool: imagesmith"]},
            "packages": [
                _package(_ENVIRONMENT, "environment", lock.digest),
                _package(_BASE, "base", base.manifest.digest),
                *installed,
                *below,
            ],
            "relationships": [
                _related(_DOCUMENT, "DESCRIBES", _ENVIRONMENT),
                _related(_ENVIRONMENT, "DEPENDS_ON", _BASE),
                *(_related(_ENVIRONMENT, "CONTAINS", one["SPDXID"]) for one in installed),
                *(_related(_BASE, "CONTAINS", one["SPDXID"]) for one in below),
                *_dependencies(lock.packages),
            ],
        }
    )


def _wheel(wheel: LockedWheel) -> dict[str, Any]:
    made = f"made from the source {wheel.source.digest}" if wheel.source else ""
    if wheel.source and wheel.source.commit:
        made += f", commit {wheel.source.commit}"
    return {
        **_package(_id("pypi", wheel.name), wheel.name, wheel.version),
        **_archive(wheel.filename, wheel.digest),
        **_named(f"pkg:pypi/{_quoted(wheel.name)}@{_quoted(wheel.version)}"),
        **({"sourceInfo": made} if made else {}),
    }


def _conda(package: LockedPackage) -> dict[str, Any]:
    kind = "conda" if package.filename.endswith(".conda") else "tar.bz2"
    purl = (
        f"pkg:conda/{_quoted(package.name)}@{_quoted(package.version)}"
        f"?build={_quoted(package.build)}&subdir={_quoted(package.subdir)}&type={kind}"
    )
    return {
        **_package(_id("conda", package.name), package.name, package.version),
        **_archive(package.filename, package.digest),
        **_named(purl),
    }


def _system(package: SystemPackage) -> dict[str, Any]:
    checksum = {"algorithm": "SHA256", "checksumValue": hex_of(package.digest)}
    said = _of_debian(package.name, package.version, "system")
    return {**said, "checksums": [checksum]}


def _of_debian(name: str, version: str, kind: str) -> dict[str, Any]:
    purl = f"pkg:deb/debian/{_quoted(name)}@{_quoted(version)}"
    return {**_package(_id(kind, name), name, version), **_named(purl)}


def _debian(label: str) -> Iterator[dict[str, Any]]:
    """Read the packages that a base's label names, as ``name=version name=version``."""
    for name, version in dict(item.partition("=")[::2] for item in label.split()).items():
        if name and version:
            yield _of_debian(name, version, "deb")


def _dependencies(packages: tuple[LockedPackage, ...]) -> Iterator[dict[str, str]]:
    """Say which conda packages need which; of wheels the lock does not tell."""
    known = {package.name for package in packages}
    for package in packages:
        needed = {spec.partition(" ")[0] for spec in package.requires}
        for name in sorted(needed & known):
            yield _related(_id("conda", package.name), "DEPENDS_ON", _id("conda", name))


def _package(identity: str, name: str, version: str) -> dict[str, Any]:
    return {
        "SPDXID": identity,
        "name": name,
        "versionInfo": version,
        "downloadLocation": _UNKNOWN,
        "licenseConcluded": _UNKNOWN,
        "filesAnalyzed": False,
    }


def _archive(filename: str, digest: str) -> dict[str, Any]:
    checksum = {"algorithm": "SHA256", "checksumValue": hex_of(digest)}
    return {"packageFileName": filename, "checksums": [checksum]}


def _named(purl: str) -> Mapping[str, Any]:
    reference = {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": purl,
    }
    return {"externalRefs": [reference]}


def _related(one: str, how: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": how, "relatedSpdxElement": other}


def _id(kind: str, name: str) -> str:
    """Give an identifier, another one for every name: what it cannot hold stands in hex."""
    return f"SPDXRef-{kind}-" + _NOT_IN_AN_ID.sub(lambda mark: f".{ord(mark[0]):x}.", name)


def _quoted(text: str) -> str:
    return quote(text, safe=":")  # the one mark beyond RFC 3986's that a purl leaves as it is
