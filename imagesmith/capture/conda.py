"""What conda has installed in a prefix of any platform, from its conda-meta folder alone."""

from __future__ import annotations

import ast
import json
import os
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.capture.channels import public, read_condarc
from imagesmith.capture.environment import CondaPackage
from imagesmith.capture.match_spec import parse_spec
from imagesmith.findings import Finding, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from imagesmith.capture.channels import Condarc

META = "conda-meta"
_HISTORY = "history"
_BELOW_SITE = re.compile(r"(?:lib/(?:python|pypy)\d+\.\d+t?|Lib)/site-packages/(.+)")
_METADATA = re.compile(r"([^/]+)\.(?:dist-info|egg-info)(?:/|\Z)")
_SPECS = re.compile(r"#\s*(\w+) specs:\s*(\[.*\])\s*")


def read_conda(
    prefix: Path, environ: Mapping[str, str]
) -> tuple[tuple[CondaPackage, ...], tuple[str, ...], tuple[Finding, ...]]:
    """Read packages, sorted by name, and channels, the first first; nothing of it is run.

    No packages where there is no conda-meta. Channels that condarc files name come before the
    others, which go by their number of packages. The findings are warnings:
    capture.broken-metadata for each record that is left out, capture.several-versions, and
    usage.condarc.
    """
    if not os.path.isdir(prefix / META):  # noqa: PTH112 (pathlib's raises for some names)
        return (), (), ()
    condarc, findings = read_condarc(prefix, environ)
    found: list[Finding] = [*findings]
    records = _records(prefix / META, partial(_package, condarc=condarc), found)
    requested = _requested(prefix / META / _HISTORY, found)
    packages = tuple(
        replace(package, requested=requested.get(name, package.requested))
        for name, package in sorted(records.items())
    )
    return packages, _channels(packages, condarc, prefix), tuple(found)


def _records(folder: Path, read: Any, findings: list[Finding]) -> dict[str, CondaPackage]:
    """Read the records by name; of two with one name the later written counts."""
    packages: dict[str, CondaPackage] = {}
    written: dict[str, int] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            package: CondaPackage = read(json.loads(path.read_bytes()))
            time = path.stat().st_mtime_ns
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
            findings.append(_broken(path, fault))
            continue
        name = package.name
        if name in packages:
            findings.append(_several(name, sorted((packages[name].version, package.version))))
        if time >= written.get(name, time):
            packages[name], written[name] = package, time
    return packages


def _package(record: Mapping[str, Any], condarc: Condarc) -> CondaPackage:
    """Read one record (conda's prefix record); ValueError, TypeError or KeyError if it is none."""
    files = [_text(path).replace("\\", "/") for path in record.get("files") or ()]
    below = [match[1] for path in files if (match := _BELOW_SITE.fullmatch(path))]
    subdir = _text(record.get("subdir") or _subdir(record))
    package = CondaPackage(
        name=_text(record["name"]).lower(),
        version=_text(record["version"]),
        build=_text(record["build"]),
        subdir=subdir,
        channel=_channel(record, condarc),
        requires=tuple(map(_text, record.get("depends") or ())),
        distributions=tuple(sorted(_distributions(below))),
        modules=tuple(sorted(_modules(below))),
        requested=_asked(record),
        size=sum(_sizes(record)),
    )
    named = (package.name, package.version, package.build, subdir)
    for text in (*named, *package.requires, *package.distributions):
        if not text or not text.isprintable():
            raise ValueError(f"{text!a} in it is no text that can be printed")
    return package


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!a:.80} in it should be a text")
    return value


def _subdir(record: Mapping[str, Any]) -> str:
    """Give the platform of a record that older versions wrote, which only its URL says."""
    return _text(record["url"]).rpartition("/")[0].rpartition("/")[2]


def _channel(record: Mapping[str, Any], condarc: Condarc) -> str:
    """Give the channel's URL, "" where the record does not know it."""
    url = record.get("url") or ""
    if "://" in _text(url):  # what it was fetched from says more than a name
        return public(url.rpartition("/")[0])
    named = _text(record.get("channel") or "")
    if not named or named.startswith("<"):  # <unknown>
        return ""
    return public(condarc.urls(named, Path("/"))[0])


def _distributions(paths: Iterable[str]) -> set[str]:
    """Give the normalised names in the folders that describe distributions."""
    from packaging.utils import canonicalize_name

    folders = {match[1] for path in paths if (match := _METADATA.match(path))}
    return {canonicalize_name(folder.partition("-")[0]) for folder in folders}


def _modules(paths: Iterable[str]) -> set[str]:
    from imagesmith.capture.agent import claimed

    return claimed(paths)


def _asked(record: Mapping[str, Any]) -> str | None:
    """Give the spec that the record itself says it was asked for by; conda writes "None", too."""
    several = record.get("requested_specs") or [record.get("requested_spec")]
    texts = [_text(text) for text in several if text not in (None, "", "None")]
    try:
        return parse_spec(texts[0]).text if texts else None
    except ValueError:  # a file of a package, and so this very one
        return _text(record["name"]).lower()


def _sizes(record: Mapping[str, Any]) -> Iterator[int]:
    for path in (record.get("paths_data") or {}).get("paths") or ():
        size = path.get("size_in_bytes")
        if isinstance(size, int):
            yield size


def _requested(history: Path, findings: list[Finding]) -> dict[str, str | None]:
    """Read which specs the user asked for (None: taken back); of each name the last counts."""
    requested: dict[str, str | None] = {}
    try:
        text = history.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return requested
    except OSError as fault:
        findings.append(_broken(history, fault))
        return requested
    for line in filter(None, map(_SPECS.fullmatch, text.splitlines())):
        removed = line[1] in ("remove", "uninstall")
        for text in _listed(line[2]):
            try:
                spec = parse_spec(text)
            except ValueError as fault:
                findings.append(_broken(history, fault))
            else:
                requested[spec.name] = None if removed else spec.text
    return requested


def _listed(text: str) -> list[str]:
    """Read a list of texts as Python or JSON spell it; what is none is one text that says so."""
    try:
        return list(map(_text, ast.literal_eval(text)))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return [text]


def _channels(packages: Iterable[CondaPackage], condarc: Condarc, prefix: Path) -> tuple[str, ...]:
    counted = Counter(package.channel for package in packages if package.channel)
    by_size = sorted(counted, key=lambda url: (-counted[url], url))
    named = [url for channel in condarc.channels for url in _public_urls(condarc, channel, prefix)]
    return tuple(dict.fromkeys([*(url for url in named if url in counted), *by_size]))


def _public_urls(condarc: Condarc, channel: str, prefix: Path) -> tuple[str, ...]:
    try:
        return tuple(map(public, condarc.urls(channel, prefix)))
    except ValueError:  # no channel that a record could come from
        return ()


def _broken(path: Path, fault: Exception) -> Finding:
    why = f"it lacks {fault}" if isinstance(fault, KeyError) else str(fault)
    if isinstance(fault, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        why = "it is not JSON"
    return warning(
        "capture.broken-metadata",
        ascii(str(path))[1:-1],
        f"what {path.name!a} in {path.parent.name} says is left out: {why}",
        "install the package again: conda install --force-reinstall NAME",
    )


def _several(name: str, versions: Iterable[str]) -> Finding:
    return warning(
        "capture.several-versions",
        name,
        f"conda-meta has {name} {' and '.join(versions)}; the record that was written last counts",
        f"install it again: conda install --force-reinstall {name}",
    )
