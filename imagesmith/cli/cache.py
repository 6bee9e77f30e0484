"""The store as commands: what is in it, and clearing it."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagesmith.cli.app import cache_app
from imagesmith.cli.command import LogFormat, Result, command
from imagesmith.cli.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagesmith.cache.prune import Pruned
    from imagesmith.cache.survey import Item, Survey

_AGE = "30d"  # of what goes where nothing is said of it


@command(cache_app, "list")
def cache_list_command(console: Console) -> Result:  # noqa: ARG001
    """Say how big the store is, and what is in it."""
    from imagesmith.cache.survey import survey
    from imagesmith.store import Store

    store = Store.default()
    found = survey(store)
    images = [{"image": n.image.pinned, "size": n.size, "used": n.used} for n in found.images]
    data = {"store": str(store.root), "size": found.size, "kinds": _by_kind(found.items)}
    return Result(_shown(found, str(store.root)), {**data, "images": images})


@command(cache_app, "prune", holds=False)
def cache_prune_command(
    console: Console,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="AGE", help=f"Not used for so long; else {_AGE}."),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="What the store may have, as 10GB."),
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Let go of images that have a name, too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> Result:
    """Remove what was not used for long, and the longest unused of what is too much."""
    from imagesmith.cache.age import parse_age
    from imagesmith.cache.prune import Wish, prune
    from imagesmith.sizes import parse_size
    from imagesmith.store import Store

    age = older_than or (None if max_size else _AGE)
    since = time.time() - parse_age(age) if age else None
    wish = Wish(since, parse_size(max_size) if max_size else None, images)

    def wait() -> None:
        console.say("cache", "waiting until no command uses the store any more")

    found = prune(Store.default(), wish, wait, dry_run=dry_run)
    data = {"removed": found.size, "left": found.left, "dry_run": dry_run}
    names = [named.image.pinned for named in found.images]
    return Result(
        _told(found, wish.max_size, dry_run=dry_run),
        {**data, "kinds": _by_kind(found.items), "images": names},
    )


@cache_app.callback(invoke_without_command=True)
def cache_root(context: typer.Context) -> None:
    """What imagesmith keeps on this machine, and clearing it."""
    if context.invoked_subcommand is None:
        cache_list_command(as_json=False, log_format=LogFormat.TEXT, debug=False)


def _by_kind(items: Iterable[Item]) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = defaultdict(lambda: {"number": 0, "size": 0, "used": 0.0})
    for item in items:
        one = kinds[str(item.kind)]
        one["number"] += 1
        one["size"] += item.size
        one["used"] = max(one["used"], item.used)
    return dict(sorted(kinds.items(), key=lambda pair: -pair[1]["size"]))


def _shown(found: Survey, place: str) -> str:
    from imagesmith.cache.age import in_days
    from imagesmith.cli.columns import columns
    from imagesmith.sizes import in_words

    now = time.time()
    rows = [(place, "number", "size", "last used")]
    for kind, one in _by_kind(found.items).items():
        sizes = str(one["number"]), in_words(one["size"])
        rows.append((kind, *sizes, in_days(now - one["used"])))
    rows.append(("all", str(len(found.items)), in_words(found.size), ""))
    lines = list(columns(rows, numbers={1, 2}))
    if found.images:
        names = [
            (named.image.pinned, in_words(named.size), in_days(now - named.used))
            for named in found.images
        ]
        lines += ["", *columns([("images by name", "size", "last used"), *names], numbers={1})]
    return "\n".join(lines)


def _told(found: Pruned, most: int | None, *, dry_run: bool) -> str:
    from imagesmith.cli.columns import columns
    from imagesmith.sizes import in_words

    kinds = _by_kind(found.items).items()
    rows = [(kind, str(one["number"]), in_words(one["size"])) for kind, one in kinds]
    rows.append(("would go" if dry_run else "gone", str(len(found.items)), in_words(found.size)))
    lines = list(columns(rows, numbers={1, 2}))
    lines += [f"image {named.image.pinned}" for named in found.images]
    lines.append(f"{in_words(found.left)} left")
    if most is not None and found.left > most:
        lines[-1] += ", since images by name and what runs have it (--images lets go of those)"
    return "\n".join(lines)
