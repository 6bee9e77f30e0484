"""Why pins do not fit together, and the fewest of them that must give way.

A solver explains the first dead end that it meets, which often names one side alone. What is asked
here is which pins contradict each other, whoever solves, and which versions they could have
instead: every answer has been proved by solving with it.

Source: U. Junker, "QuickXplain: preferred explanations and relaxations for over-constrained
problems", AAAI 2004.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Its version wrote the pickle: another one can only come from another capture.
_FIXED = frozenset({"cloudpickle"})
_COMBINATIONS = 24  # ways of choosing one pin of each conflict that are tried
_SHOWN = 3  # relaxations that a user can still weigh against each other


@dataclass(frozen=True, order=True)
class Pin:
    """A package that must have a version: ``1.2.3``, a range (``1.2.*``, ``>=1,<2``), or any."""

    name: str
    version: str | None

    @property
    def is_exact(self) -> bool:
        """Whether it is one whole version."""
        return bool(self.version) and not set(self.version or "") & set("*<>=!~,| ")


@dataclass(frozen=True)
class Move:
    """A package that gets another version than was wanted."""

    name: str
    wanted: str
    got: str


@dataclass(frozen=True)
class Conflict:
    """What cannot be had together.

    Each of ``cores`` is a smallest set of pins without a solution. ``relaxations``, the least
    change first, have each been solved with.
    """

    cores: tuple[tuple[Pin, ...], ...]
    relaxations: tuple[tuple[Move, ...], ...]


class Solve(Protocol):
    """Solves for pins: the version of every package chosen, or None where there is no solution."""

    def __call__(self, pins: Sequence[Pin]) -> Mapping[str, str] | None:
        """Solve."""


def explain(pins: Sequence[Pin], solve: Solve) -> Conflict:
    """Find all that contradicts itself among pins that have no solution together.

    No cores means that there is no solution even without any of the pins.
    """
    cores = tuple(_cores(pins, solve))
    return Conflict(cores, tuple(_relaxations(pins, cores, solve)))


def _cores(pins: Sequence[Pin], solve: Solve) -> Iterator[tuple[Pin, ...]]:
    """Give conflicts that share no pin, one after another."""
    if solve([]) is None:
        return
    rest = list(pins)
    while solve(rest) is None:
        core = _core([], rest, solve, grown=False)
        yield tuple(sorted(core))
        rest = [pin for pin in rest if pin not in core]


def _core(background: list[Pin], pins: list[Pin], solve: Solve, *, grown: bool) -> list[Pin]:
    """Give a smallest part of the pins that has no solution beside the background."""
    if grown and solve(background) is None:
        return []
    if len(pins) == 1:
        return pins
    left, right = pins[: len(pins) // 2], pins[len(pins) // 2 :]
    of_right = _core([*background, *left], right, solve, grown=bool(left))
    of_left = _core([*background, *of_right], left, solve, grown=bool(of_right))
    return [*of_left, *of_right]


def _relaxations(
    pins: Sequence[Pin], cores: Sequence[tuple[Pin, ...]], solve: Solve
) -> list[tuple[Move, ...]]:
    """Let one pin of each conflict move, and keep what then has a solution."""
    if not cores:
        return []
    movable = ([pin for pin in core if pin.name not in _FIXED] for core in cores)
    ways = islice(product(*movable), _COMBINATIONS)
    found = [moves for way in ways if (moves := _moved(pins, way, solve))]
    return sorted(found, key=lambda moves: [distance(move) for move in moves])[:_SHOWN]


def _moved(pins: Sequence[Pin], way: Sequence[Pin], solve: Solve) -> tuple[Move, ...] | None:
    """Solve with some pins loosened, as little as can be: in the patch, the minor, altogether."""
    kept = [pin for pin in pins if pin not in way]
    for parts in (2, 1, 0):
        loose = [Pin(pin.name, _series(pin.version or "", parts)) for pin in way]
        chosen = solve([*kept, *loose])
        if chosen is not None:
            return tuple(
                Move(pin.name, pin.version or "", chosen[pin.name])
                for pin in way
                if chosen.get(pin.name, pin.version) != pin.version
            )
    return None


def _series(version: str, parts: int) -> str | None:
    numbers = re.sub(r"[^0-9.].*", "", version).split(".")
    parts = min(parts, len(numbers) - 1)
    return ".".join([*numbers[:parts], "*"]) if parts > 0 else None


def distance(move: Move) -> tuple[int, int, bool, str]:
    """Say how far a move goes: the first part that differs, by how much, and whether back."""
    wanted, got = _numbers(move.wanted), _numbers(move.got)
    pairs = zip(wanted, got, strict=False)
    where, by = next(((i, b - a) for i, (a, b) in enumerate(pairs) if a != b), (len(wanted), 0))
    return -where, abs(by), by < 0, move.name


def _numbers(version: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", version)]
