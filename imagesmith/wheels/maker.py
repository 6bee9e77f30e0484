"""A wheel of whatever a requirement points at: an archive, a repository, a folder, or a wheel."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.resolve.indexes import Indexes, configured
from imagesmith.resolve.lock import LockedSource, LockedWheel
from imagesmith.urls import bare, path_of, redacted

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.progress import Progress
    from imagesmith.resolve.origin import Origin
    from imagesmith.resolve.platform import Target
    from imagesmith.run.runner import Runner
    from imagesmith.store import Store
    from imagesmith.wheels.source import Source

_PAUSES = (0.5, 2.0)  # seconds before another try of a download


@dataclass(frozen=True)
class WheelMaker:
    """Makes wheels for a target; see ``imagesmith.resolve.origin.Maker``.

    There is one for every lock and seldom a wheel to make, so what it needs is imported late.
    """

    target: Target
    runner: Runner
    store: Store
    progress: Progress
    index_url: str | None = None

    def make(self, origin: Origin) -> LockedWheel:
        """Give the wheel of an origin; its bytes are in the store.

        Raises ImagesmithError: build.sdist, build.source, missing.wheel-name, usage.repository,
        reach.index, reach.repository, and what they raise below.
        """
        if origin.reference.startswith("git+"):
            return self._of_repository(origin)
        parts = urlsplit(origin.reference)
        if parts.scheme == "file" and os.path.isdir(path_of(origin.reference)):  # noqa: PTH112
            return self._of_folder(origin, path_of(origin.reference))
        if parts.scheme not in ("file", "http", "https"):
            raise ImagesmithError(_unknown(origin))
        return self._of_archive(origin)

    def _of_repository(self, origin: Origin) -> LockedWheel:
        from imagesmith.wheels.git import checkout

        url, _, fragment = origin.reference.partition("#")
        scheme, _, place = url.partition("://")
        host, _, path = place.partition("/")  # which may hold the @ of a user
        path, _, revision = path.partition("@")
        head = f"{scheme}://{host}/{path}"
        source = checkout(
            head,
            revision,
            origin.name or None,
            self.store,
            self.progress,
            subdirectory=_subdirectory(fragment),
            scm_version=origin.version,
        )
        return self._built(source, bare(head.removeprefix("git+")))

    def _of_folder(self, origin: Origin, path: Path) -> LockedWheel:
        from imagesmith.wheels.source import of_folder

        source = of_folder(path, origin.name or None, self.store, scm_version=origin.version)
        return self._built(source, path.name)  # where it lies is nothing to the wheel

    def _of_archive(self, origin: Origin) -> LockedWheel:
        from imagesmith.wheels.source import Source

        url, _, fragment = origin.reference.partition("#")
        filename = unquote(urlsplit(url).path.rpartition("/")[2])
        digest = self._brought(url, origin.digest)
        if filename.endswith(".whl"):
            return self._wheel(origin, filename, bare(url), digest)
        below = _subdirectory(fragment)
        source = Source(origin.name or None, origin.version, filename, digest, subdirectory=below)
        return self._built(source, bare(url))

    def _wheel(self, origin: Origin, filename: str, url: str, digest: str) -> LockedWheel:
        from packaging.utils import InvalidWheelFilename, parse_wheel_filename

        try:
            name, version, _, _ = parse_wheel_filename(filename)
        except InvalidWheelFilename:
            raise ImagesmithError(_misnamed(origin, filename)) from None
        if self.target.rank(filename) is None or (origin.name and origin.name != name):
            raise ImagesmithError(_misnamed(origin, filename))
        return LockedWheel(name, str(version), filename, url, digest)

    def _built(self, source: Source, url: str) -> LockedWheel:
        from imagesmith.resolve.uv import UvSolver
        from imagesmith.wheels.build import WheelBuilder

        builder = WheelBuilder(
            self.target, UvSolver(), self.runner, self.store, self.progress, self.index_url
        )
        built = builder.build(source)
        locked = LockedSource(url, source.digest, source.commit)
        return LockedWheel(built.name, built.version, built.filename, "", built.digest, locked)

    def _brought(self, url: str, digest: str | None) -> str:
        """Bring a file into the store, and give its digest; the one that it must have, if any."""
        from imagesmith.fetch import source as reading

        store = self.store
        if digest and store.has(digest):
            return digest
        login = self._indexes.credentials(url, os.environ)
        for pause in (*_PAUSES, None):
            try:
                with (
                    reading.client() as http,
                    reading.opened(http, bare(url), login) as pieces,
                    store.writer(digest) as blob,
                ):
                    for piece in pieces:
                        blob.write(piece)
                return blob.digest
            except (reading.GoneError, reading.RefusedError, reading.UnreachableError) as reason:
                if pause is None or not getattr(reason, "passing", False):
                    raise ImagesmithError(_unreachable(url, reason)) from reason
                time.sleep(pause)
            except ValueError as reason:
                raise ImagesmithError(_changed(url, str(reason))) from reason
        raise AssertionError("the last try has returned")

    @cached_property
    def _indexes(self) -> Indexes:
        return configured(self.index_url, os.environ)


def _subdirectory(fragment: str) -> str:
    return parse_qs(fragment).get("subdirectory", [""])[0]


def _unknown(origin: Origin) -> Finding:
    return error(
        "missing.not-on-index",
        origin.name or redacted(origin.reference),
        f"{redacted(origin.reference)} is in no kind of repository that is known here",
        "make a wheel of it by hand and name its URL, or install a release of it from an index",
    )


def _misnamed(origin: Origin, filename: str) -> Finding:
    return error(
        "missing.wheel",
        origin.name or filename,
        f"{filename} is no wheel of it for linux-64",
        "name a wheel for linux-64 with this Python, or a source archive",
    )


def _unreachable(url: str, reason: Exception) -> Finding:
    return error(
        "reach.index",
        bare(url),
        f"{bare(url)} cannot be fetched: {reason}",
        "check the network, the proxy, and who may read it (~/.netrc opens it)",
    )


def _changed(url: str, why: str) -> Finding:
    return error(
        "build.wheel-hash",
        bare(url),
        f"{bare(url)} is not what the index says: {why}",
        "ask who keeps the index why the file changed",
    )
