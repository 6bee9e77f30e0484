"""Containers on a Docker engine: what they are kept from, how they live, and how they end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from engines import own_engine

from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image import oci
from imagesmith.image.layer import write_layer
from imagesmith.image.tar import file_member
from imagesmith.progress import Silent
from imagesmith.publish.engine import EnginePublisher
from imagesmith.run import docker
from imagesmith.run.docker import DockerRunner
from imagesmith.run.runner import Network

pytestmark = [pytest.mark.engine, pytest.mark.apt]

CREATED = "1970-01-01T00:00:00Z"
SLEEP = ("busybox", "sleep", "1000")
STATUS = """
import json
print(json.dumps(dict(line.rstrip().partition(":\\t")[::2] for line in open("/proc/self/status"))))
"""


def runner_on(host, store):
    return DockerRunner(EnginePublisher(store, Silent(), host), host)


@pytest.fixture
def runner(engine, store):
    return runner_on(engine.host, store)


@pytest.fixture
def image_of(store, base):
    """Give a function that makes an image of the base whose command is the one given."""

    def make(*argv, members=(), **config):
        layers = base.layers
        if members:
            layers = (*layers, write_layer(store, members, "a test's files"))
        config = replace(base.config, **{"entrypoint": argv, "user": "1000:1000", **config})
        return oci.assemble(store, "runner-test:1", layers, config, CREATED)

    return make


@pytest.fixture
def start(runner, image_of):
    """Give a function that starts a container of the base; all are stopped after the test."""
    started = []

    def start(*argv, env=(), network=Network.NONE, read_only=False, on=runner, **image):
        image = image_of(*(argv or SLEEP), **image)
        container = on.start(image, env=dict(env), network=network, read_only=read_only)
        started.append(container)
        return container

    yield start
    for container in started:
        container.stop(grace=0)


def run(container, *argv, stdin=b"", timeout=20):
    return container.execute(argv, stdin, timeout)


def python(container, code):
    done = run(container, "python", "-c", code)
    assert done.status == 0, done.stderr.decode()
    return json.loads(done.stdout)


def inspected(engine, container):
    return json.loads(engine.run("inspect", f"imagesmith-{container.id}").stdout)[0]


def test_nothing_of_the_host_is_bound_or_mounted(start, engine):
    facts = inspected(engine, start(read_only=True))
    assert facts["Mounts"] == []
    host = facts["HostConfig"]
    assert not host["Binds"]
    assert not host["Devices"]
    assert not host["VolumesFrom"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"]
    assert not host["Privileged"]


def test_the_command_runs_as_the_images_user_without_capabilities(start, wait_until):
    printed = start("python", "-c", STATUS)
    wait_until(lambda: printed.status() is not None)
    for status in (json.loads(printed.log()), python(start(), STATUS)):
        assert status["Uid"].split() == status["Gid"].split() == ["1000"] * 4
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[capabilities], 16) == 0
        assert status["NoNewPrivs"] == "1"


def test_the_environment_is_the_images_and_the_given_one(start, base, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    container = start(env={"CLIPPER_IP": "127.0.0.1"})
    environment = python(container, "import json, os; print(json.dumps(dict(os.environ)))")
    assert environment["CLIPPER_IP"] == "127.0.0.1"
    assert base.config.env.items() <= environment.items()
    assert "SECRET_OF_THE_HOST" not in environment


def test_a_read_only_root_refuses_writes_but_shared_memory_takes_them(start):
    container = start(read_only=True)
    assert run(container, "sh", "-c", "echo x > /tmp/x").status != 0
    assert run(container, "sh", "-c", "echo x > /dev/shm/x && cat /dev/shm/x").stdout == b"x\n"


def test_without_a_network_there_is_only_a_loopback_that_works(start):
    code = """
import json, socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname())
print(json.dumps([name for _, name in socket.if_nameindex()]))
"""
    assert python(start(), code) == ["lo"]


def test_execute_gives_input_output_and_status(start):
    done = run(start(), "sh", "-c", "cat; echo bad >&2; exit 7", stdin=b"in\x00\xff")
    assert (done.status, done.stdout, done.stderr) == (7, b"in\x00\xff", b"bad\n")


def test_much_goes_in_while_much_comes_out(start):
    much = os.urandom(1 << 20) * 8
    assert run(start(), "cat", stdin=much).stdout == much


def test_what_a_quick_command_prints_is_never_lost(start):
    container = start()
    assert [run(container, "busybox", "echo", "x").stdout for _ in range(20)] == [b"x\n"] * 20


def test_a_command_need_not_read_what_it_is_told(start):
    assert run(start(), "busybox", "echo", "x", stdin=b"y" * (8 << 20)).stdout == b"x\n"


def test_execute_of_what_is_not_there_ends_with_127(start):
    done = run(start(), "no-such-program")
    assert done.status == 127
    assert b"no-such-program" in done.stderr


def test_a_command_that_takes_too_long_is_killed(start, wait_until):
    container = start()
    with pytest.raises(TimeoutError):
        run(container, "sh", "-c", "busybox sleep 999 & busybox sleep 999", timeout=1)
    wait_until(lambda: b"sleep 999" not in run(container, "busybox", "ps").stdout)


def test_the_end_of_process_1_ends_a_command(start, engine, wait_until):
    container = start()
    ended = []
    thread = threading.Thread(target=lambda: ended.append(run(container, "busybox", "sleep", "99")))
    thread.start()
    wait_until(lambda: b"sleep 99\n" in run(container, "busybox", "ps", "-o", "args").stdout)
    engine.run("kill", f"imagesmith-{container.id}")
    thread.join(20)
    assert [done.status for done in ended] == [137]
    assert run(container, "cat").status == 137


def test_the_exit_status_is_told(start, wait_until):
    container = start("sh", "-c", "exit 5")
    wait_until(lambda: container.status() is not None)
    assert container.status() == 5


def test_a_container_that_somebody_removed_was_killed(start, engine):
    container = start()
    assert container.status() is None
    engine.run("rm", "--force", f"imagesmith-{container.id}")
    assert container.status() == 137
    assert run(container, "cat").status == 137
    assert container.log() == ""


def test_the_log_holds_both_streams_and_outlasts_the_command(start, wait_until):
    container = start("sh", "-c", "echo out; echo err >&2")
    wait_until(lambda: container.status() is not None)
    assert sorted(container.log().splitlines()) == ["err", "out"]


def test_stop_lets_a_command_end_that_listens(start, wait_until):
    container = start("sh", "-c", "trap exit TERM; echo up; while :; do busybox sleep 0.01; done")
    wait_until(lambda: "up" in container.log())
    began = time.monotonic()
    container.stop(grace=60)
    assert time.monotonic() - began < 30


def test_stop_leaves_no_container(start, engine, runner):
    container = start()
    container.stop(grace=0)
    label = f"label=io.imagesmith.container={container.id}"
    assert engine.run("ps", "--all", "--quiet", "--filter", label).stdout == ""
    assert runner.attach(container.id) is None
    container.stop(grace=0)


def test_a_container_of_somebody_else_is_not_attached_to(start, engine, runner):
    container = start()
    name = engine.run("inspect", "--format", "{{.Image}}", f"imagesmith-{container.id}").stdout
    other = engine.run("run", "--detach", "--network", "none", name.strip()).stdout.strip()
    try:
        assert runner.attach(other) is None
        assert runner.attach(other[:12]) is None
        assert runner.attach(container.id) == container
    finally:
        engine.run("rm", "--force", other)


@pytest.fixture
def abandon(runner, image_of, store):
    """Give a function that has a container started by a process that is killed then."""

    def abandon(network):
        image = image_of(*SLEEP)
        facts = [image.manifest.digest, image.manifest.size, runner.host, network]
        command = [sys.executable, "-c", ABANDON, store.root, *facts]
        started = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE)
        assert started.returncode == -signal.SIGKILL
        return runner.attach(started.stdout.decode().strip())

    return abandon


ABANDON = """
import os, signal, sys
from pathlib import Path
from imagesmith.image import oci
from imagesmith.progress import Silent
from imagesmith.publish.engine import EnginePublisher
from imagesmith.run.docker import DockerRunner
from imagesmith.run.runner import Network
from imagesmith.store import Store
store = Store(Path(sys.argv[1]))
image = oci.load(store.blobs, oci.Descriptor(oci.MANIFEST, sys.argv[2], int(sys.argv[3])), "x:1")
runner = DockerRunner(EnginePublisher(store, Silent(), sys.argv[4]), sys.argv[4])
print(runner.start(image, env={}, network=Network(sys.argv[5])).id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_without_a_network_a_container_whose_starter_was_killed_is_swept(abandon, start):
    container = abandon(Network.NONE)
    assert container.status() is None
    start()
    assert container.status() == 137


def test_on_the_hosts_network_a_container_outlives_its_starter(abandon, start):
    container = abandon(Network.HOST)
    start()
    assert container.status() is None
    container.stop(grace=0)


def test_an_image_that_is_only_tried_does_not_get_its_models_name(start, engine):
    start()
    names = engine.run("images", "--format", "{{.Repository}}").stdout.split()
    assert "imagesmith-run" in names
    assert "runner-test" not in names


def test_an_entrypoint_that_is_not_there_is_a_finding_and_leaves_nothing(start, engine):
    with pytest.raises(ImagesmithError, match="no-such-program") as refused:
        start("no-such-program")
    assert refused.value.findings[0].code == "build.runner"
    assert "no-such-program" not in engine.run("ps", "--all", "--no-trunc").stdout


def test_no_engine_is_a_finding(store, image_of, tmp_path):
    with pytest.raises(ImagesmithError) as lost:
        runner_on(f"unix://{tmp_path}/none.sock", store).start(
            image_of(*SLEEP), env={}, network=Network.NONE
        )
    assert lost.value.findings[0].code == "reach.engine"
    assert lost.value.exit_code is ExitCode.UNREACHABLE


@pytest.fixture
def away():
    """Give an engine of the test's own, reached by TCP as one on another machine is."""
    with own_engine(by_tcp=True) as remote:
        yield remote


def test_a_remote_engine_runs_what_this_machine_has(away, store, start):
    assert away.host.startswith("tcp://")
    container = start("sh", "-c", "echo up; exec busybox sleep 99", on=runner_on(away.host, store))
    assert run(container, "cat", stdin=b"in").stdout == b"in"
    facts = inspected(away, container)
    assert facts["Mounts"] == []
    assert not facts["HostConfig"]["Binds"]
    container.stop(grace=0)
    assert away.run("ps", "--all", "--quiet").stdout == ""


def test_an_engine_that_dies_is_a_finding_whatever_is_asked(away, store, image_of):
    runner = runner_on(away.host, store)
    container = runner.start(image_of(*SLEEP), env={}, network=Network.NONE)
    problems = []

    def execute():
        try:
            run(container, "sh", "-c", "exec busybox sleep 99", timeout=90)
        except ImagesmithError as problem:
            problems.append(problem)

    thread = threading.Thread(target=execute)
    thread.start()
    while b"sleep 99\n" not in run(container, "busybox", "ps", "-o", "args").stdout:
        time.sleep(0.05)
    away.kill()
    thread.join(30)
    for ask in (
        container.status,
        container.log,
        container.stop,
        lambda: runner.attach(container.id),
    ):
        with pytest.raises(ImagesmithError) as lost:
            ask()
        problems.append(lost.value)
    assert [problem.findings[0].code for problem in problems] == ["reach.engine"] * 5


def test_the_name_of_an_image_that_was_tried_long_ago_goes(away, store, image_of, monkeypatch):
    runner = runner_on(away.host, store)

    def names_after(*members):
        image = image_of(*SLEEP, members=members)
        runner.start(image, env={}, network=Network.NONE).stop(grace=0)
        return away.run("images", "--format", "{{.Tag}}", "imagesmith-run").stdout.split()

    (old,) = names_after(file_member("opt/old", b"x"))
    assert old in names_after()
    monkeypatch.setattr(docker, "_KEPT", timedelta(0))
    assert old not in names_after()
