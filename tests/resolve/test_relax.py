"""What contradicts itself is found whole and no larger than it is, and what mends it is proved."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from imagesmith.resolve.relax import Move, Pin, distance, explain

VERSIONS = ("1.0", "1.1", "1.2", "2.0")


class World:
    """Packages whose versions may forbid versions of others; solved by trying."""

    def __init__(self, names, forbidden):
        self.names = names
        self.forbidden = forbidden  # pairs ((name, version), (name, version))

    def solve(self, pins):
        wanted = {pin.name: pin.version for pin in pins}
        return self._extend({}, list(self.names), wanted)

    def _extend(self, chosen, rest, wanted):
        if not rest:
            return chosen
        name, *others = rest
        for version in reversed(VERSIONS):
            if not fits(version, wanted.get(name)):
                continue
            clash = any(
                {(name, version), (other, v)} in self.forbidden for other, v in chosen.items()
            )
            found = None if clash else self._extend({**chosen, name: version}, others, wanted)
            if found is not None:
                return found
        return None


def fits(version, wanted):
    if wanted is None:
        return True
    return version.startswith(wanted[:-1]) if wanted.endswith("*") else version == wanted


def world(*pairs, names="abcd"):
    return World(names, [{one, other} for one, other in pairs])


def test_both_sides_are_named_and_nobody_else():
    clash = world((("a", "1.0"), ("b", "1.0")))
    pins = [Pin(name, "1.0") for name in "abcd"]
    found = explain(pins, clash.solve)
    assert found.cores == ((Pin("a", "1.0"), Pin("b", "1.0")),)


def test_the_least_change_comes_first():
    clash = world(
        (("a", "1.0"), ("b", "1.0")), (("a", "1.0"), ("b", "1.1")), (("a", "1.0"), ("b", "1.2"))
    )
    found = explain([Pin("a", "1.0"), Pin("b", "1.0")], clash.solve)
    assert found.relaxations == ((Move("a", "1.0", "1.2"),), (Move("b", "1.0", "2.0"),))


def test_of_two_conflicts_both_are_found_and_mended_together():
    clash = world((("a", "1.0"), ("b", "1.0")), (("c", "1.0"), ("d", "1.0")))
    found = explain([Pin(name, "1.0") for name in "abcd"], clash.solve)
    assert {frozenset(pin.name for pin in core) for core in found.cores} == {
        frozenset("ab"),
        frozenset("cd"),
    }
    assert all(len(moves) == 2 for moves in found.relaxations)


def test_the_version_that_pickled_the_function_is_never_moved():
    clash = world((("a", "1.0"), ("cloudpickle", "1.0")), names=("a", "cloudpickle"))
    found = explain([Pin("a", "1.0"), Pin("cloudpickle", "1.0")], clash.solve)
    assert [[move.name for move in moves] for moves in found.relaxations] == [["a"]]


def test_without_any_solution_at_all_nothing_is_blamed():
    found = explain([Pin("a", "1.0")], lambda pins: None)
    assert found == type(found)((), ())


def test_nearer_versions_are_nearer():
    moves = [Move("a", "1.5.2", got) for got in ("2.0", "1.5.3", "1.6.0", "1.5.1", "1.4.9")]
    assert [m.got for m in sorted(moves, key=distance)] == [
        "1.5.3",
        "1.5.1",
        "1.6.0",
        "1.4.9",
        "2.0",
    ]


pairs = st.tuples(st.sampled_from("abcd"), st.sampled_from(VERSIONS))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(pairs, pairs), max_size=12), st.lists(pairs, max_size=4))
def test_whatever_the_world_cores_are_minimal_and_relaxations_hold(forbidden, wanted):
    clash = world(*(pair for pair in forbidden if pair[0][0] != pair[1][0]))
    pins = [Pin(name, version) for name, version in dict(wanted).items()]
    if clash.solve(pins) is not None:
        return
    found = explain(pins, clash.solve)
    for core in found.cores:
        assert clash.solve(core) is None
        for pin in core:
            assert clash.solve([other for other in core if other != pin]) is not None
    for moves in found.relaxations:
        moved = {move.name: move.got for move in moves}
        assert clash.solve([Pin(p.name, moved.get(p.name, p.version)) for p in pins]) is not None
