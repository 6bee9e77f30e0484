"""What the index has of each captured distribution: asked for all of them in one pass.

Solvers stop at the first thing that is missing, and never look at what is not needed. Projects'
pages are kept with their ETag, so that asking again costs an answer without a body.

Sources: PEP 503 and PEP 691 (simple index, HTML and JSON), PEP 592 (yanked files).
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.resolve.report import Status
from imagesmith.store import key_of
from imagesmith.urls import bare

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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

# Of one project: its versions, and of each the files that are not yanked, and the others: their
# names, and for sources the URL and sha256 ("" where the index does not say) after it.
Files = dict[str, dict[str, list[list[str]]]]


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
    import httpx

    places = [*indexes.extra, indexes.default or PUBLIC]
    asked = sorted(wanted)
    limits = httpx.Limits(max_connections=_AT_A_TIME)
    with (
        httpx.Client(follow_redirects=True, timeout=_TIMEOUT, limits=limits) as http,
        ThreadPoolExecutor(_AT_A_TIME) as pool,
    ):
        desk = _Desk(http, indexes, store)

        def look(one: tuple[str, str]) -> Available:
            name, version = one
            files: Files = {}
            for place in places:
                for key, by_kind in desk.files(place, name).items():
                    kept = files.setdefault(key, {"files": [], "yanked": []})
                    for kind, names in by_kind.items():
                        kept[kind] += names
            return _judge(files, version, target)

        return dict(zip((name for name, _ in asked), pool.map(look, asked), strict=True))


def _judge(files: Files, version: str, target: Target) -> Available:
    kinds = files.get(_canonical(version), {"files": [], "yanked": []})
    if _fits(kinds["files"], target):
        return Available(Status.WHEEL, ())
    fitting = tuple(v for v, others in files.items() if _fits(others["files"], target))
    sources = [file for file in kinds["files"] if not file[0].endswith(".whl")]
    hashed = ((url, f"sha256:{digest}") for _, url, digest in sources if digest)
    return Available(_without_wheel(files, kinds, bool(sources)), fitting, next(hashed, None))


def _without_wheel(files: Files, kinds: Mapping[str, list[list[str]]], has_source: bool) -> Status:
    if not files:
        return Status.MISSING
    if has_source:
        return Status.SDIST_ONLY
    if kinds["files"]:
        return Status.NO_LINUX_WHEEL
    return Status.YANKED if kinds["yanked"] else Status.VERSION_MISSING


def _fits(files: Iterable[list[str]], target: Target) -> bool:
    wheels = (file[0] for file in files if file[0].endswith(".whl"))
    return any(target.rank(name) is not None for name in wheels)


class _Desk:
    """Asks indexes for projects' pages."""

    def __init__(self, http: httpx.Client, indexes: Indexes, store: Store) -> None:
        self._http = http
        self._indexes = indexes
        self._store = store

    def files(self, index: str, name: str) -> Files:
        """Give the files of a project; none where the index has not heard of it."""
        url = f"{bare(index).rstrip('/')}/{name}/"
        if url.startswith("file:"):
            return _on_disk(url, name)
        key = key_of(url)
        known = self._store.recall(_KIND, key) or {}
        headers = {"Accept": _ACCEPT}
        if "etag" in known:
            headers["If-None-Match"] = known["etag"]
        answer = self._get(url, headers)
        if answer.status_code == 304:
            remembered: Files = known["files"]
            return remembered
        if answer.status_code == 404:
            return {}
        if not answer.is_success:
            raise ImagesmithError(_unreachable(url, f"it answers {answer.status_code}"))
        files = _grouped(_read(answer), name, str(answer.url))
        if etag := answer.headers.get("ETag"):
            self._store.remember(_KIND, key, {"etag": etag, "files": files})
        return files

    def _get(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        import httpx

        login = self._indexes.credentials(url, os.environ)
        try:
            return self._http.get(url, headers=headers, auth=login)
        except (httpx.HTTPError, httpx.InvalidURL) as reason:
            text = str(reason) or type(reason).__name__
            raise ImagesmithError(_unreachable(url, text)) from reason


def _read(answer: httpx.Response) -> list[_Link]:
    """Read the files of a project's page."""
    import orjson

    if "json" not in answer.headers.get("Content-Type", ""):
        return _links(answer.text)
    try:
        data: Any = orjson.loads(answer.content)
        return [
            _Link(
                f["filename"],
                f["url"],
                f.get("hashes", {}).get("sha256", ""),
                bool(f.get("yanked")),
            )
            for f in data["files"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as reason:
        raise ImagesmithError(
            _unreachable(str(answer.url), f"it is no simple index: {reason}")
        ) from reason


class _Link(NamedTuple):
    """A file on a project's page; its URL may be relative, its sha256 is "" if it is not told."""

    filename: str
    url: str
    sha256: str
    yanked: bool


def _links(page: str) -> list[_Link]:
    """Read the links of an HTML page; a parser takes ten times as long for a page of thousands."""
    found = []
    for tag in _TAG.findall(page):
        if href := _HREF.search(tag):
            url, _, fragment = unescape(href[1] or href[2]).partition("#")
            sha256 = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
            name = unquote(url.partition("?")[0].rpartition("/")[2])
            found.append(_Link(name, url, sha256, "data-yanked" in tag))
    return found


def _on_disk(url: str, name: str) -> Files:
    folder = url2pathname(urlsplit(url).path)
    try:
        with open(os.path.join(folder, "index.html"), encoding="utf-8") as page:  # noqa: PTH118, PTH123
            return _grouped(_links(page.read()), name, url)
    except OSError:
        found = os.listdir(folder) if os.path.isdir(folder) else []  # noqa: PTH112, PTH208
        return _grouped([_Link(file, file, "", False) for file in found], name, url)


def _grouped(links: Iterable[_Link], project: str, page: str) -> Files:
    """Group files by version."""
    files: Files = {}
    for link in links:
        version = _version(link.filename, project)
        if version is not None:
            kinds = files.setdefault(version, {"files": [], "yanked": []})
            file = [link.filename]
            if not link.filename.endswith(".whl"):
                file += [bare(urljoin(page, link.url)), link.sha256]
            kinds["yanked" if link.yanked else "files"].append(file)
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
