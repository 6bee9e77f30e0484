"""A plan carried out by a real engine: what comes of it, and what is said when nothing does."""

import json
import os
import tarfile
import threading

import pytest
from build_plan import add_wheel, make_plan, store_with
from engines import own_engine

from imagesmith.build import docker as stage
from imagesmith.build.docker import DockerBuilder
from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image.layout import find, put
from imagesmith.inspect.contents import contents
from imagesmith.progress import Silent
from imagesmith.publish.engine import EnginePublisher
from imagesmith.resolve.lock import Lock
from imagesmith.resolve.platform import Target
from imagesmith.store import sha256_file

pytestmark = [pytest.mark.engine, pytest.mark.apt]

OWN = '{% extends "Dockerfile.j2" %}{% block model %}{{ super() }}\n'
END = "{% endblock %}\n"


class Heard(Silent):
    """Remembers what it was told."""

    def __init__(self):
        self.lines = []

    def say(self, stage, text):
        self.lines.append(text)


@pytest.fixture
def shop(base, tmp_path):
    """Give a store of the test's own that has the base."""
    return store_with(base, tmp_path / "store")


@pytest.fixture
def plan(shop, base, tmp_path):
    return make_plan(shop, base, [add_wheel(shop, tmp_path, "leaf")], tmp_path)


@pytest.fixture(params=["buildkit", "classic"])
def way(request, monkeypatch):
    """Have the engine build by BuildKit, or by what is left where no command speaks it."""
    if request.param == "classic":
        monkeypatch.setattr(stage, "buildkit_command", lambda: None)
    return request.param


@pytest.fixture
def template(tmp_path):
    """Give a function that writes a template whose model's block ends with these lines."""

    def write(*lines):
        path = tmp_path / "own.j2"
        path.write_text(OWN + "\n".join(lines) + END)
        return path

    return write


@pytest.fixture
def build(shop, plan, engine):
    """Give a function that has an engine build the plan."""

    def build(template=None, progress=None, host=engine.host):
        lock = Lock(Target("3.11", "2.36"), ())
        return DockerBuilder(shop, progress or Silent(), lock, template, host).build(plan)

    return build


def refused(build, *arguments, **options):
    with pytest.raises(ImagesmithError) as stopped:
        build(*arguments, **options)
    return stopped.value


def left_over(store):
    return [path for path in store.root.rglob("*") if ".partial-" in path.name]


def test_the_image_is_what_the_plan_says(build, plan, shop, way):
    image = build()
    assert image.reference == plan.reference
    assert image.config == plan.config
    for layer in image.layers:
        assert sha256_file(image.blob(layer.blob.digest)) == layer.blob.digest
    assert left_over(shop) == []


def test_it_is_kept_and_found_again_by_its_digest(build, shop):
    image = build()
    put(shop.root, image)
    assert find(shop.root, image.pinned) == image


def test_what_the_engine_has_cached_gives_the_same_digest_again(build, way):
    assert build().manifest == build().manifest


def test_a_users_run_line_is_in_the_image_with_its_owners_and_modes(build, template, way):
    image = build(template("USER 0", "RUN echo mine > /opt/mine && busybox chmod 4711 /opt/mine"))
    found = {}
    for layer in image.layers:
        with tarfile.open(image.blob(layer.blob.digest)) as tar:
            found.update({member.name: member for member in tar})
    assert (found["opt/mine"].mode & 0o7777, found["opt/mine"].uid) == (0o4711, 0)


def test_inspect_says_what_is_in_it_a_users_run_line_included(build, template, shop, way):
    found = contents(
        build(template("USER 0", "RUN busybox head -c 99999 /dev/zero > /opt/mine")), shop
    )
    owners = {str(part.owner) for one in found for part in one.parts}
    assert {"leaf 1.0", "base", "lock", "runtime", "model"} <= owners
    assert any(99_999 < one.size < 150_000 for one in found)


def test_its_steps_are_told_as_they_are_made(build, template, way):
    heard = Heard()
    build(template("RUN true"), heard)
    assert any("ADD layers/00-base.tar" in line for line in heard.lines)
    assert any(line.endswith("RUN true") for line in heard.lines)


def test_loading_it_back_sends_no_layer(build, engine, shop):
    heard = Heard()
    image = build()
    EnginePublisher(shop, heard, engine.host).publish(image)
    assert not any(line.startswith(f"{len(image.layers)} layers") for line in heard.lines)
    shown = json.loads(engine.run("inspect", image.reference).stdout)[0]
    assert shown["Id"] == image.config_blob.digest
    engine.run("rmi", image.reference)


def test_a_step_that_fails_is_named_with_what_it_printed(build, template, shop, way):
    failure = refused(build, template("USER 0", 'RUN ["sh", "-c", "echo so-it-is >&2; exit 3"]'))
    (finding,) = failure.findings
    assert finding.code == "build.engine"
    assert failure.exit_code is ExitCode.BUILD
    assert "so-it-is >&2; exit 3" in finding.message
    assert "3" in finding.message.rpartition(":")[2]
    assert "so-it-is\n" in failure.log
    assert "base.tar" not in failure.log
    assert left_over(shop) == []


def test_an_instruction_that_is_none_is_said_in_the_engines_words(build, template, way):
    (finding,) = refused(build, template("FETCH something")).findings
    assert finding.code == "build.engine"
    assert "unknown instruction: FETCH" in finding.message


def test_no_engine_is_a_finding(build, tmp_path):
    failure = refused(build, host=f"unix://{tmp_path}/none.sock")
    assert [finding.code for finding in failure.findings] == ["reach.engine"]
    assert failure.exit_code is ExitCode.UNREACHABLE


def test_an_engine_that_dies_while_it_builds_is_a_finding(build, template, shop, way):
    with own_engine() as doomed:

        class Killer(Silent):
            def say(self, stage, text):
                if "RUN" in text and "sleep" in text:
                    threading.Thread(target=doomed.kill).start()

        own = template('RUN ["busybox", "sleep", "99"]')
        failure = refused(build, own, Killer(), host=doomed.host)
    assert [finding.code for finding in failure.findings] == ["reach.engine"]
    assert left_over(shop) == []


def test_a_full_disk_on_the_engines_side_is_said(build, shop, way):
    with own_engine(size="48m") as small:
        (finding,) = refused(build, host=small.host).findings
    assert finding.code == "build.engine"
    assert "no space left on device" in finding.message
    assert "engine's disk" in finding.remedy
    assert left_over(shop) == []


def test_a_remote_engine_builds_what_only_this_machine_has(build, plan, way):
    with own_engine(by_tcp=True) as remote:
        assert build(host=remote.host).config == plan.config


def test_a_command_without_buildkit_is_passed_over(tmp_path, monkeypatch):
    lacking = tmp_path / "docker"
    lacking.write_text("#!/bin/sh\necho 'the buildx component is missing'\nexit 1\n")
    lacking.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    stage.buildkit_command.cache_clear()
    assert stage.buildkit_command() not in (None, str(lacking))
    monkeypatch.setenv("PATH", str(tmp_path))
    stage.buildkit_command.cache_clear()
    assert stage.buildkit_command() is None
    stage.buildkit_command.cache_clear()
