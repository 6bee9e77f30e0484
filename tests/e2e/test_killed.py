"""Kill -9 at any moment, then again: the same digest, nothing damaged, nothing left over."""

import pytest
from engines import docker_registry
from killing import Desk, damaged, images, moments, trees

from imagesmith.image import layout
from imagesmith.progress import Silent
from imagesmith.registry.pull import pull
from imagesmith.registry.reference import parse

pytestmark = [pytest.mark.root, pytest.mark.apt, pytest.mark.index]

MANY = pytest.mark.long


def build_of(desk, *options):
    target = ("fixtures/functions/echo.py:sums", "--name", "sums", "--version", "1")
    return ("build", *target, *options, "--output", f"oci:{desk.root}/out")


@pytest.fixture(scope="module")
def built(base, tmp_path_factory):
    """Give a function that builds undisturbed, and gives desk, reference and seconds."""
    kept = {}

    def make(*options):
        if options not in kept:
            desk = Desk.make(tmp_path_factory.mktemp("built") / "desk", base)
            kept[options] = desk, *desk.run(*build_of(desk, *options))
        return kept[options]

    return make


def is_whole(desk, wait_until):
    """See that a killed command, or a good one, has left nothing wrong and nothing running."""
    assert damaged(desk.store.root) == damaged(desk.root / "out") == []
    wait_until(lambda: not desk.processes())
    assert desk.mounts() == []


@pytest.mark.parametrize(
    ("options", "number"),
    [
        pytest.param(("--no-verify",), 3, id="few"),
        pytest.param(("--no-verify",), 20, id="many", marks=MANY),
        pytest.param((), 20, id="many-verified", marks=MANY),
    ],
)
def test_a_build_that_was_killed_gives_the_same_image_when_it_is_run_again(
    built, base, tmp_path, wait_until, options, number
):
    undisturbed, reference, duration = built(*options)
    digest = reference.partition("@")[2]
    for moment in moments(number, duration):
        desk = Desk.make(tmp_path / "desk", base)
        desk.kill(moment, *build_of(desk, *options))
        is_whole(desk, wait_until)
        assert images(desk.root / "out") in ([], [digest])
        assert desk.run(*build_of(desk, *options))[0] == reference
        is_whole(desk, wait_until)
        assert images(desk.root / "out") == [digest]
        assert trees(desk.store) == trees(undisturbed.store)
        assert desk.left_over() == []
        desk.remove()


@pytest.mark.registry
@pytest.mark.parametrize("number", [3, pytest.param(20, marks=MANY)])
def test_a_push_that_was_killed_is_whole_when_it_is_run_again(
    built, base, tmp_path, wait_until, number
):
    undisturbed, reference, _ = built("--no-verify")
    digest = reference.partition("@")[2]
    image = f"oci:{undisturbed.root}/out"
    with docker_registry(tmp_path / "first") as registry:
        _, duration = undisturbed.run("push", image, f"{registry.address}/first:1")
    for moment in moments(number, duration):
        desk = Desk.make(tmp_path / "desk")
        with docker_registry(tmp_path / "desk" / "registry") as registry:
            push = ("push", image, f"{registry.address}/sums:1")
            desk.kill(moment, *push)
            is_whole(desk, wait_until)
            assert desk.run(*push)[0] == f"{registry.address}/sums:1@{digest}"
            pulled = pull(parse(f"{registry.address}/sums:1"), desk.store, Silent())
        assert pulled.manifest.digest == digest
        is_whole(desk, wait_until)
        assert desk.left_over() == []
        desk.remove()


@pytest.mark.registry
@pytest.mark.long
def test_after_twenty_killed_builds_and_twenty_killed_pushes_the_image_is_pulled_and_serves(
    built, base, tmp_path, wait_until
):
    """One store and one registry, through all of it."""
    _, reference, duration = built()
    desk = Desk.make(tmp_path / "desk", base)
    for moment in moments(20, duration):
        desk.kill(moment, *build_of(desk))
        is_whole(desk, wait_until)
    assert desk.run(*build_of(desk))[0] == reference
    with docker_registry(tmp_path / "registry") as registry:
        push = ("push", f"oci:{desk.root}/out", f"{registry.address}/sums:1")
        for moment in moments(20, 2.0):
            desk.kill(moment, *push)
        digest = reference.partition("@")[2]
        assert desk.run(*push)[0] == f"{registry.address}/sums:1@{digest}"
        other = Desk.make(tmp_path / "other")
        pulled = pull(parse(f"{registry.address}/sums:1"), other.store, Silent())
    layout.put(other.store.root, pulled)
    other.run("verify", pulled.reference)
    for each in (desk, other):
        is_whole(each, wait_until)
        assert each.left_over() == []


@pytest.mark.long
def test_a_base_whose_making_was_killed_is_the_same_when_it_is_made_again(
    base, tmp_path, wait_until
):
    first = Desk.make(tmp_path / "first")
    make = ("base", "build", "--python", "3.11")
    reference, duration = first.run(*make)
    for moment in moments(3, duration):
        desk = Desk.make(tmp_path / "desk")
        desk.kill(moment, *make)
        is_whole(desk, wait_until)
        assert desk.run(*make)[0] == reference
        is_whole(desk, wait_until)
        assert desk.left_over() == []
        desk.remove()
