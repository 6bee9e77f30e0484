"""Whether an image is within a size, and if not, what would bring it there.

What a suggestion saves is what the image would lose by it, on top of what those before it save: the
bytes of a distribution together with those of all that is there for its sake alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, ImagesmithError, error, note
from imagesmith.image.layer import plain_size
from imagesmith.inspect.contents import contents, gathered
from imagesmith.resolve.needed import FUNCTION
from imagesmith.sizes import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from imagesmith.image.oci import Image
    from imagesmith.inspect.contents import Part
    from imagesmith.store import Store

_BIGGEST = 5  # that are named with who needs them
_NAMED = 3  # of what goes along with a distribution
_MOST = 10  # suggestions


@dataclass(frozen=True)
class Users:
    """Who needs what of an environment, by name, and what is there though nothing needs it.

    What neither names is there for the target's sake, and stays.
    """

    needed_by: Mapping[str, tuple[str, ...]]
    idle: frozenset[str] = frozenset()

    def kept(self, without: Collection[str]) -> set[str]:
        """Give what is needed still if the function does without some distributions."""
        below: dict[str, list[str]] = {}
        for name, by in self.needed_by.items():
            for user in by:
                if user != FUNCTION or name not in without:
                    below.setdefault(user, []).append(name)
        # The function, the runtime, and whatever else nobody has to need.
        waiting = [user for user in below if user not in self.needed_by]
        kept: set[str] = set()
        while waiting:
            for name in below.get(waiting.pop(), ()):
                if name not in kept:
                    kept.add(name)
                    waiting.append(name)
        return kept

    def gone(self, without: Collection[str]) -> frozenset[str]:
        """Give what is needed no longer then."""
        return frozenset(self.kept(()) - self.kept(without))


@dataclass(frozen=True)
class Suggestion:
    """Something that makes an image smaller by ``saves`` bytes, and how it is done."""

    subject: str
    message: str
    remedy: str
    saves: int


def check(image: Image, limit: int, store: Store, users: Callable[[], Users]) -> None:
    """Raise ImagesmithError (build.too-large) for an image of more than so many bytes.

    It is the tars of its layers that count, as an engine unpacks them. ``users`` is asked only
    then. Raises what ``contents`` raises.
    """
    sizes = (plain_size(store, one, image.blob(one.blob.digest)) for one in image.layers)
    size = sum(sizes)
    if size > limit:
        parts = gathered(part for one in contents(image, store) for part in one.parts)
        raise ImagesmithError(*findings(image.reference, size, limit, parts, users()))


def findings(
    reference: str, size: int, limit: int, parts: Sequence[Part], users: Users
) -> Iterator[Finding]:
    """Say that an image is too large, what of it is, and what would bring it under the limit."""
    over = size - limit
    offers = list(suggestions(parts, users, over))
    saved = sum(offer.saves for offer in offers)
    byte_code = in_words(sum(part.byte_code for part in parts))
    enough = "which is enough" if saved >= over else f"{in_words(over - saved)} too little"
    yield error(
        "build.too-large",
        reference,
        f"the image has {in_words(size)} uncompressed, {in_words(over)} more than"
        f" {in_words(limit)}; {byte_code} of it are byte code, the biggest are"
        f" {'; '.join(_biggest(parts, users))}",
        f"what is suggested below saves {in_words(saved)} in all, {enough}; or raise --max-size"
        if offers
        else "nothing of it can be left out: take a smaller --base, or raise --max-size",
    )
    for offer in offers:
        yield note("build.smaller", offer.subject, offer.message, offer.remedy)


def suggestions(parts: Sequence[Part], users: Users, over: int) -> Iterator[Suggestion]:
    """Give what saves bytes, what costs nothing first, until so many are saved."""
    sizes = {part.owner.name: part.size for part in parts if part.owner.name}
    if idle := users.idle & sizes.keys():
        saves = sum(sizes[name] for name in idle)
        yield Suggestion(
            "--deps all",
            f"nothing needs {_listed(idle, sizes)}",
            f"leave --deps all out: saves {in_words(saves)}",
            saves,
        )
        over -= saves
    without: set[str] = set()
    for _ in range(_MOST):
        best = _best(without, users, sizes)
        if over <= 0 or best is None:
            return
        name, along, saves = best
        yield _without(name, along, saves, sizes)
        without.add(name)
        over -= saves


def _best(
    without: set[str], users: Users, sizes: Mapping[str, int]
) -> tuple[str, frozenset[str], int] | None:
    """Give what the function needs itself that frees the most, what goes along, and the bytes."""
    before = users.gone(without)
    found = []
    for name, by in users.needed_by.items():
        if FUNCTION in by and name not in without and name in sizes:
            along = users.gone({*without, name}) - before
            saves = sum(sizes.get(one, 0) for one in along)
            if name in along and saves:
                found.append((saves, name, along - {name}))
    if not found:
        return None
    saves, name, along = max(found, key=lambda one: (one[0], one[1]))
    return name, along, saves


def _without(name: str, along: frozenset[str], saves: int, sizes: Mapping[str, int]) -> Suggestion:
    also = along & sizes.keys()
    brings = f" and is why {_listed(also, sizes)} are there" if also else ""
    return Suggestion(
        name,
        f"the function needs {name}, which has {in_words(sizes[name])}{brings}",
        f"if the function can do without it, --allow-missing {name}: saves {in_words(saves)}",
        saves,
    )


def _biggest(parts: Sequence[Part], users: Users) -> Iterator[str]:
    for part in parts[:_BIGGEST]:
        by = ", ".join(users.needed_by.get(part.owner.name, ()))
        yield f"{part.owner} with {in_words(part.size)}" + (f" (for {by})" if by else "")


def _listed(names: Collection[str], sizes: Mapping[str, int]) -> str:
    ordered = sorted(names, key=lambda name: (-sizes[name], name))
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return ", ".join(f"{name} ({in_words(sizes[name])})" for name in ordered[:_NAMED]) + more
