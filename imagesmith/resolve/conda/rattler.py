"""The child that asks conda's channels, through py-rattler: what there is, and what fits together.

Run as ``python -m imagesmith.resolve.conda.rattler ANSWER`` with the question (JSON) on stdin; the
answer is a file, since py-rattler can abort the interpreter at exit after a solve that failed, and
since what it prints is not ours. One child answers everything about a set of channels, because
reading their index is what takes the time.

The question:
    channels      URLs, the first first
    secrets       {URL: the URL with user, password or token}
    cache         the folder that repodata is kept in
    subdir        "linux-64"
    elsewhere     other subdirs, in which what is missing is looked for
    virtual       {"__glibc": "2.36", ...}
    wanted        [[name, version], …]: what was captured
    base          match specs that must hold and cannot be relaxed
    pins          [[name, version], …]: what must be there in that version, range, or any (null)
    preferences   [[name, version], …]: taken where that is possible

The answer:
    found         {name: {version: [[subdir, build, channel], …]}} for the names wanted and pinned
    elsewhere     {name: [subdir, …]} for those that are not found
    absent        the names of pins that the channels lack in that version: left out of the solve
    records       the solution, as repodata has it, with url and channel; or null
    reason        the solver's words where there is no solution
    cores         as relax.Conflict, where there is none
    relaxations   likewise
or  unreachable   why a channel could not be read
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64encode
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

import rattler
from rattler.exceptions import GatewayError, SolverError
from rattler.networking import (
    AddHeadersMiddleware,
    AuthenticationMiddleware,
    Client,
    MirrorMiddleware,
    RetryMiddleware,
)

from imagesmith.resolve.relax import Pin, explain
from imagesmith.store import write_whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

Found = dict[str, dict[str, list[tuple[str, str, str]]]]
_TRIES = 2


def main(answer: str) -> None:
    """Answer the question on stdin."""
    question = json.load(sys.stdin)
    try:
        said = _Channels(question).answer()
    except GatewayError as failure:
        said = {"unreachable": str(failure)}
    write_whole(Path(answer), json.dumps(said).encode())


class _Channels:
    """The channels of a question, read once."""

    def __init__(self, question: dict[str, Any]) -> None:
        self._question = question
        self._platforms = [rattler.Subdir(question["subdir"]), rattler.Subdir("noarch")]
        self._sources = [rattler.Channel(url) for url in question["channels"]]
        self._gateway = rattler.Gateway(cache_dir=question["cache"], client=_client(question))
        self._virtual = [
            rattler.GenericVirtualPackage(
                rattler.PackageName(name), rattler.Version(version), rattler.BuildString("0")
            )
            for name, version in question["virtual"].items()
        ]

    def answer(self) -> dict[str, Any]:
        question = self._question
        pins = [Pin(name, version) for name, version in question["pins"]]
        names = {name for name, _ in question["wanted"]} | {pin.name for pin in pins}
        found = _by_version(self._records(names, self._platforms))
        absent = [pin for pin in pins if not _is_among(pin, found.get(pin.name, {}))]
        return {
            "found": found,
            "elsewhere": self._elsewhere(names - found.keys()),
            "absent": [pin.name for pin in absent],
            **self._solved([pin for pin in pins if pin not in absent]),
        }

    def _solved(self, pins: Sequence[Pin]) -> dict[str, Any]:
        """Solve as near to the capture as can be, or say why there is no solution."""
        exact = [f"{name} =={version}" for name, version in self._question["preferences"]]
        for constraints in ([exact] if exact else []) + [[]]:
            try:
                records = self._solve(pins, constraints)
            except SolverError as failure:
                reason = str(failure)
            else:
                plain = [json.loads(record.to_json()) for record in records]
                return {"records": sorted(plain, key=lambda record: record["name"])}
        conflict = explain(pins, self._versions)
        return {
            "records": None,
            "reason": reason,
            "cores": [[[p.name, p.version] for p in core] for core in conflict.cores],
            "relaxations": [
                [[m.name, m.wanted, m.got] for m in moves] for moves in conflict.relaxations
            ],
        }

    def _versions(self, pins: Sequence[Pin]) -> dict[str, str] | None:
        try:
            return {r.name.normalized: str(r.version) for r in self._solve(pins, [])}
        except SolverError:
            return None

    def _solve(
        self, pins: Sequence[Pin], constraints: Sequence[str]
    ) -> list[rattler.RepoDataRecord]:
        return asyncio.run(
            rattler.solve(
                self._sources,
                [*self._question["base"], *map(_spec, pins)],
                gateway=self._gateway,
                platforms=self._platforms,
                virtual_packages=self._virtual,
                locked_packages=self._liked,
                constraints=constraints,
            )
        )

    @cached_property
    def _liked(self) -> list[rattler.RepoDataRecord]:
        """Give the newest build of each preference."""
        wanted = dict(self._question["preferences"])
        builds: dict[str, rattler.RepoDataRecord] = {}
        for record in self._records(wanted, self._platforms):
            name = record.name.normalized
            if str(record.version) == wanted[name]:
                best = builds.setdefault(name, record)
                builds[name] = max(best, record, key=_age)
        return list(builds.values())

    def _elsewhere(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Say in which other subdirs the packages are that this one has not."""
        missing = set(names)
        subdirs: dict[str, set[str]] = defaultdict(set)
        if missing and self._question["elsewhere"]:
            others = [rattler.Subdir(name) for name in self._question["elsewhere"]]
            for record in self._records(missing, others):
                subdirs[record.name.normalized].add(record.subdir)
        return {name: sorted(found) for name, found in subdirs.items()}

    def _records(
        self, names: Iterable[str], platforms: Sequence[rattler.Subdir]
    ) -> list[rattler.RepoDataRecord]:
        asked = sorted(names)
        if not asked:
            return []
        query = self._gateway.query(self._sources, platforms, asked, recursive=False)
        return [record for records in asyncio.run(_awaited(query)) for record in records]


async def _awaited(query: Any) -> list[list[rattler.RepoDataRecord]]:
    found: list[list[rattler.RepoDataRecord]] = await query
    return found


def _client(question: dict[str, Any]) -> Client:
    """Open channels: a token is part of the path, user and password are a header."""
    mirrors, headers = {}, {}
    for url, secret in question["secrets"].items():
        parts = urlsplit(secret)
        mirrors[url] = [urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))]
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            key = parts.hostname or "", parts.path
            headers[key] = {"Authorization": f"Basic {b64encode(pair).decode()}"}

    def opening(host: str, path: str) -> dict[str, str] | None:
        keys = (key for key in headers if key[0] == host and path.startswith(key[1] + "/"))
        return next((headers[key] for key in keys), None)

    opened = (MirrorMiddleware(mirrors), AddHeadersMiddleware(opening))
    return Client([*opened, RetryMiddleware(_TRIES), AuthenticationMiddleware()])


def _spec(pin: Pin) -> str:
    if pin.version is None:
        return pin.name
    return f"{pin.name} {'==' if pin.is_exact else ''}{pin.version}"


def _is_among(pin: Pin, versions: Collection[str]) -> bool:
    return pin.version in versions if pin.is_exact else bool(versions)


def _age(record: rattler.RepoDataRecord) -> tuple[int, float]:
    return record.build_number, record.timestamp.timestamp() if record.timestamp else 0.0


def _by_version(records: Iterable[rattler.RepoDataRecord]) -> Found:
    found: Found = {}
    for record in records:
        builds = found.setdefault(record.name.normalized, {}).setdefault(str(record.version), [])
        builds.append((record.subdir, str(record.build), record.channel))
    return found


if __name__ == "__main__":
    main(sys.argv[1])
