"""Clearing the store, by age and by size: what nobody has used for longest goes first.

Images that have a name stay, and all that they consist of, unless names are given up as well; so
does what a container runs from. Whatever goes can be made or fetched again, to the same digests.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesmith.cache.survey import Item, Kind, Named, Survey, survey
from imagesmith.image import layout
from imagesmith.partial import held_folder
from imagesmith.presence import alone

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imagesmith.store import Store


@dataclass(frozen=True)
class Wish:
    """What is to go: all that was not used since a time (seconds since the epoch), and what is more
    than so many bytes; ``images``: names as well."""

    since: float | None = None
    max_size: int | None = None
    images: bool = False


@dataclass(frozen=True)
class Pruned:
    """What goes: items, and images that lose their names; ``left`` bytes stay."""

    items: tuple[Item, ...]
    images: tuple[Named, ...]
    left: int

    @property
    def size(self) -> int:
        """The bytes that go."""
        return sum(item.size for item in self.items)


def prune(store: Store, wish: Wish, wait: Callable[[], None], *, dry_run: bool = False) -> Pruned:
    """Clear a store once nobody uses it, and give what went (or would go).

    ``wait`` is called where somebody does. Raises ImagesmithError: build.damaged, build.store.
    """
    try:
        with alone(store.root, wait):
            store.sweep()
            found = chosen(survey(store), wish)
            if not dry_run:
                _carry_out(found, store)
    except OSError as bad:
        raise store.failure(bad) from bad
    return found


def chosen(found: Survey, wish: Wish) -> Pruned:
    """Choose what goes."""
    choice = _Choice(found)
    if wish.since is not None:
        for named in found.images:
            if wish.images and named.used < wish.since:
                choice.give_up(named)
        for item in choice.free():
            if item.used < wish.since:
                choice.remove(item)
    if wish.max_size is not None:
        choice.shrink(wish.max_size)
        for named in sorted(choice.images, key=lambda one: one.used) if wish.images else ():
            if choice.left > wish.max_size:
                choice.give_up(named)
                choice.shrink(wish.max_size)
    return choice.made()


class _Choice:
    """What goes, while it is being chosen."""

    def __init__(self, found: Survey) -> None:
        self._found = found
        self._gone: dict[Path, Item] = {}
        self._dropped: list[Named] = []
        self.images = list(found.images)
        self.left = found.size

    def give_up(self, named: Named) -> None:
        """Let an image lose its name, and what it alone consists of be removed."""
        self.images.remove(named)
        self._dropped.append(named)

    def free(self) -> list[Item]:
        """Give what may go, that first which nobody has used for longest."""
        held = self._found.held(self.images)
        free = (i for i in self._found.items if i.path not in held and i.path not in self._gone)
        return sorted(free, key=lambda item: (item.used, item.path))

    def remove(self, item: Item) -> None:
        """Have an item go."""
        self._gone[item.path] = item
        self.left -= item.size

    def shrink(self, size: int) -> None:
        """Have items go until no more than so many bytes are left, or nothing may.

        Records are worth more than the few bytes that they have.
        """
        for item in self.free():
            if self.left <= size:
                return
            if item.kind is not Kind.RECORDS:
                self.remove(item)

    def made(self) -> Pruned:
        """Give what goes, with the records that say something of what is not there."""
        there = {item.path for item in self._found.items} - self._gone.keys()
        for item in self.free():
            if item.kind is Kind.RECORDS and not there.issuperset(item.about):
                self.remove(item)
        return Pruned(tuple(self._gone.values()), tuple(self._dropped), self.left)


def _carry_out(found: Pruned, store: Store) -> None:
    """Remove names first, then records, then what these are about: nothing is ever half there."""
    for named in found.images:
        layout.drop(store.root, named.image)
    for item in sorted(found.items, key=lambda item: item.kind is not Kind.RECORDS):
        _remove(item.path)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # Out of sight first, and whole: half a tree under its name would be taken for all of it.
    with held_folder(path.parent, f".{path.name}") as beside:
        path.rename(beside / path.name)
        shutil.rmtree(beside)
