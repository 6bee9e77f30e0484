"""What the index has of each captured distribution: asked for all of them in one pass.

Solvers stop at the first thing that is missing, and never look at what is not needed. Projects'
pages are kept with their ETag, so that asking again costs an answer without a body.

Sources: PEP 503 and PEP 691 (simple index, HTML and JSON), PEP 592 (yanked files).
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from html import unescape
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urljoin

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.resolve.report import Status
from imagesmith.store import key_of
from imagesmith.urls import bare, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import httpx

    from imagesmith.resolve.indexes import Indexes
    from imagesmith.resolve.platform import Target
    from imagesmith.store import Store

PUBLIC = "https://pypi.org/simple"
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.2"
_KIND = "projects"
_AT_A_TIME = 16
_TIMEOUT = 15.0  # seconds

_TAG = re.compile(r"""<a\s((?:[^>"']|"[^"]*"|'[^']*')*)>""", re.IGNORECASE)
_HREF = re.compile(r"""href\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)

# What a project's page is read as: text of HTML, or the files that JSON tells of.
_Page = str | list[dict[str, Any]]
# Files by version: those that are not yanked, and the others.
_Files = dict[str, tuple[list["_Link"], list["_Link"]]]


@dataclass(frozen=True)
class Available:
    """What the index has of a version; where that is no wheel for the target, also the
    ``versions`` with one, and the URL and digest of the ``source`` archive, if there is one."""

    status: Status
    versions: tuple[str, ...]
    source: tuple[str, str] | None = None


def available(
    wanted: Iterable[tuple[str, str]], target: Target, indexes: Indexes, store: Store
) -> dict[str, Available]:
    """Say what the indexes have of these distributions (normalised names, versions).

    Raises ImagesmithError (reach.index) where one does not answer.
    """
    places = [*indexes.extra, indexes.default or PUBLIC]
    asked = sorted(wanted)
    at_a_time = 1 if all(place.startswith("file:") for place in places) else _AT_A_TIME
    with _Desk(indexes, store, target) as desk, ThreadPoolExecutor(at_a_time) as pool:

        def look(one: tuple[str, str]) -> Available:
            return _judge([desk.seen(place, *one) for place in places], target)

        return dict(zip((name for name, _ in asked), pool.map(look, asked), strict=True))


@dataclass(frozen=True)
class _Seen:
    """What one index has of a version: names of its wheels, whether others were yanked, a source
    archive's URL and digest; and of the project, where no such wheel fits, the ``versions`` with
    one that does, and whether there is any file at all."""

    wheels: tuple[str, ...] = ()
    yanked: bool = False
    has_source: bool = False
    source: tuple[str, str] | None = None
    versions: tuple[str, ...] = ()
    is_known: bool = False


def _judge(seen: Sequence[_Seen], target: Target) -> Available:
    if any(_fits(one.wheels, target) for one in seen):
        return Available(Status.WHEEL, ())
    fitting = tuple(dict.fromkeys(version for one in seen for version in one.versions))
    source = next((one.source for one in seen if one.source), None)
    return Available(_without_wheel(seen), fitting, source)


def _without_wheel(seen: Sequence[_Seen]) -> Status:
    if not any(one.is_known for one in seen):
        return Status.MISSING
    if any(one.has_source for one in seen):
        return Status.SDIST_ONLY
    if any(one.wheels for one in seen):
        return Status.NO_LINUX_WHEEL
    return Status.YANKED if any(one.yanked for one in seen) else Status.VERSION_MISSING


def _fits(wheels: Iterable[str], target: Target) -> bool:
    return any(target.rank(name) is not None for name in wheels)


class _Desk:
    """Asks indexes for projects' pages."""

    def __init__(self, indexes: Indexes, store: Store, target: Target) -> None:
        self._indexes = indexes
        self._store = store
        self._target = target
        self._closing = ExitStack()
        self._starting = Lock()

    def __enter__(self) -> _Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    @cached_property
    def _http(self) -> httpx.Client:
        import httpx

        limits = httpx.Limits(max_connections=_AT_A_TIME)
        client = httpx.Client(follow_redirects=True, timeout=_TIMEOUT, limits=limits)
        return self._closing.enter_context(client)

    def seen(self, index: str, name: str, version: str) -> _Seen:
        """Say what an index has of a version; nothing where it has not heard of the project."""
        url = f"{bare(index).rstrip('/')}/{name}/"
        if url.startswith("file:"):
            return _look(_on_disk(url), url, name, version, self._target)
        key = key_of(url, version, self._target.python, self._target.glibc)
        known = self._store.recall(_KIND, key) or {}
        headers = {"Accept": _ACCEPT}
        if "etag" in known:
            headers["If-None-Match"] = known["etag"]
        answer = self._get(url, headers)
        if answer.status_code == 304:
            return _remembered(known["seen"])
        if answer.status_code == 404:
            return _Seen()
        if not answer.is_success:
            raise ImagesmithError(_unreachable(url, f"it answers {answer.status_code}"))
        seen = _look(_read(answer), str(answer.url), name, version, self._target)
        if etag := answer.headers.get("ETag"):
            self._store.remember(_KIND, key, {"etag": etag, "seen": asdict(seen)})
        return seen

    def _get(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        with self._starting:
            http = self._http
        import httpx

        login = self._indexes.credentials(url, os.environ)
        try:
            return http.get(url, headers=headers, auth=login)
        except (httpx.HTTPError, httpx.InvalidURL) as reason:
            text = str(reason) or type(reason).__name__
            raise ImagesmithError(_unreachable(url, text)) from reason


def _remembered(known: Mapping[str, Any]) -> _Seen:
    lists = {key: tuple(known[key]) for key in ("wheels", "versions")}
    source = tuple(known["source"]) if known["source"] else None
    return _Seen(**{**known, **lists, "source": source})


def _look(page: _Page, url: str, name: str, version: str, target: Target) -> _Seen:
    """Read a page; of one with thousands of files only those of the version, if that is enough."""
    wanted = _canonical(version)
    near = _grouped(_links(page, f"-{version}-"), name).get(wanted, ([], []))[0]
    if _fits((link.filename for link in near), target):
        return _Seen(tuple(link.filename for link in near), is_known=True)
    by_version = _grouped(_links(page), name)
    files, yanked = by_version.get(wanted, ([], []))
    sources = [file for file in files if not file.filename.endswith(".whl")]
    hashed = ((bare(urljoin(url, f.url)), f"sha256:{f.sha256}") for f in sources if f.sha256)
    return _Seen(
        wheels=tuple(file.filename for file in files if file.filename.endswith(".whl")),
        yanked=bool(yanked),
        has_source=bool(sources),
        source=next(hashed, None),
        versions=tuple(
            other
            for other, (kept, _) in by_version.items()
            if _fits((file.filename for file in kept), target)
        ),
        is_known=bool(by_version),
    )


def _read(answer: httpx.Response) -> _Page:
    import orjson

    if "json" not in answer.headers.get("Content-Type", ""):
        return answer.text
    try:
        files: list[dict[str, Any]] = orjson.loads(answer.content)["files"]
        _links(files)
        return files
    except (ValueError, KeyError, TypeError, AttributeError) as reason:
        raise ImagesmithError(
            _unreachable(str(answer.url), f"it is no simple index: {reason}")
        ) from reason


def _on_disk(url: str) -> _Page:
    folder = path_of(url)
    try:
        return (folder / "index.html").read_text(encoding="utf-8")
    except OSError:
        found = folder.iterdir() if folder.is_dir() else ()
        return [{"filename": file.name, "url": file.name} for file in found]


class _Link(NamedTuple):
    """A file on a project's page; its URL may be relative, its sha256 is "" if it is not told."""

    filename: str
    url: str
    sha256: str
    yanked: bool


def _links(page: _Page, part: str = "") -> list[_Link]:
    """Read the files of a project's page, those that have ``part`` in their name at the least."""
    if isinstance(page, str):
        return _in_html(_around(page, part) if part else page)
    return [
        _Link(
            file["filename"],
            file["url"],
            file.get("hashes", {}).get("sha256", ""),
            bool(file.get("yanked")),
        )
        for file in page
        if part in file["filename"]
    ]


def _around(page: str, part: str) -> str:
    """Give the links of an HTML page that have a text in them; pages may have megabytes."""
    found = []
    end = 0
    while (place := page.find(part, end)) >= 0:
        begin = max(page.rfind("<a", end, place), end)
        end = page.find("</a", place)
        end = len(page) if end < 0 else end
        found.append(page[begin:end])
    return "\n".join(found)


def _in_html(page: str) -> list[_Link]:
    """Read the links of an HTML page; a parser takes ten times as long for a page of thousands."""
    found = []
    for tag in _TAG.findall(page):
        if href := _HREF.search(tag):
            url, _, fragment = unescape(href[1] or href[2]).partition("#")
            sha256 = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
            name = unquote(url.partition("?")[0].rpartition("/")[2])
            found.append(_Link(name, url, sha256, "data-yanked" in tag))
    return found


def _grouped(links: Iterable[_Link], project: str) -> _Files:
    files: _Files = {}
    for link in links:
        version = _version(link.filename, project)
        if version is not None:
            files.setdefault(version, ([], []))[link.yanked].append(link)
    return files


def _version(filename: str, project: str) -> str | None:
    if filename.endswith(".whl"):
        parts = filename.split("-")
        return _canonical(parts[1]) if len(parts) >= 5 else None
    stem = re.sub(r"\.(tar\.gz|zip|tar\.bz2|tgz)$", "", filename)
    if stem == filename or len(stem) <= len(project):
        return None
    return _canonical(stem[len(project) + 1 :])


@lru_cache(maxsize=100_000)
def _canonical(version: str) -> str:
    from packaging.utils import canonicalize_version

    return canonicalize_version(version, strip_trailing_zero=True)


def _unreachable(url: str, why: str) -> Finding:
    return error(
        "reach.index",
        url,
        f"the index cannot be asked: {why}",
        "check the network, the proxy and the index's URL (--index-url, or pip's configuration)",
    )
