"""An image that was pushed is pulled and serves, wherever, with no right that it does not need."""

import json
from uuid import uuid4

import pytest

from imagesmith.progress import Silent
from imagesmith.registry.pull import pull
from imagesmith.registry.reference import parse
from imagesmith.run.rootfs import RootfsRunner
from imagesmith.run.runner import Network
from imagesmith.store import Store

pytestmark = [pytest.mark.registry, pytest.mark.apt, pytest.mark.index]

PYTHON = "/opt/env/bin/python"
PROBE = (PYTHON, "-m", "imagesmith.runtime.probe")
QUESTION = json.dumps(
    {
        "input_type": "doubles",
        "batches": [[[1.0, 2.0], [3.0, 4.0]], [[5.0]]],
        "imports": ["numpy", "zmq"],
        "port": 7000,
        "timeout": 60,
    }
)
ANSWERS = [["3.0", "7.0"], ["5.0"]]
# What a cautious cluster grants: the image's own user comes with the image.
HARDENED = (
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--pids-limit", "32", "--shm-size", "64k"),
)
# What process 1 may do, and what it can write to: each folder that it can make a file in.
CONFINED = """
import json, os
status = dict(line.rstrip().partition(":\\t")[::2] for line in open("/proc/1/status"))
names = ["Uid", "Gid", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs"]
writable, taken = [], ("/proc", "/sys")
for folder, below, _ in os.walk("/"):
    below[:] = [name for name in below if os.path.join(folder, name) not in taken]
    name = os.path.join(folder, ".written-by-a-test")
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.unlink(name)
        writable.append(folder)
    except OSError:
        pass
print(json.dumps([{name: status[name].split() for name in names}, writable]))
"""
# Clipper's frontend, in a container of its own: it asks whoever has said hello, once.
FRONTEND = """
import json, zmq
from imagesmith.runtime import batch
from imagesmith.runtime.wire import *
socket = zmq.Context().socket(zmq.ROUTER)
socket.bind("tcp://*:7000")
known = set()
while True:
    peer, *frames = socket.recv_multipart()
    message = decode_from_container(frames)
    reply = None
    if isinstance(message, Hello):
        known.add(peer)
        reply = Predict(1, message.input_type, batch.frames_of([[1.0, 2.0], [3.0]], "doubles"))
    elif isinstance(message, Heartbeat):
        reply = HeartbeatReply(HeartbeatType(0 if peer in known else 1))
    else:
        print(json.dumps([output.decode() for output in message.outputs]), flush=True)
    if reply is not None:
        socket.send_multipart([peer, *encode(reply)])
"""


@pytest.fixture
def pushed(build, imagesmith, registry):
    """Give the reference, with its digest, under which a registry has an image."""
    done, place = build("fixtures/functions/echo.py:sums", "--version", "1", "--no-verify")
    assert done.returncode == 0, done.stderr
    done = imagesmith("push", f"oci:{place}", f"{registry.address}/pulled/{uuid4().hex}:1")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def pulled(pushed, engine):
    engine.run("pull", "--quiet", pushed)
    yield pushed
    engine.run("rmi", "--force", pushed)


@pytest.fixture
def network(engine):
    """Give a network that leads nowhere else."""
    name = f"imagesmith-test-{uuid4().hex}"
    engine.run("network", "create", "--internal", name)
    yield name
    engine.run("network", "rm", name)


@pytest.fixture
def start():
    """Give a function that starts a container, which is removed after the test."""
    started = []

    def start(ship, image, *options, command=()):
        name = f"imagesmith-test-{uuid4().hex}"
        started.append((ship, name))
        ship.run("run", "--detach", "--name", name, *options, image, *command)
        return name

    yield start
    for ship, name in reversed(started):
        ship.run("rm", "--force", name)


def asked(ship, name):
    report = json.loads(ship.run("exec", "--interactive", name, *PROBE, input=QUESTION).stdout)
    assert report["imports"] == {}
    return report["answers"]


def health(engine, name):
    return engine.run("inspect", "--format", "{{.State.Health.Status}}", name).stdout.strip()


def assert_confined(told):
    """See that a container's process 1 is nobody who may anything, and writes to memory alone."""
    status, writable = json.loads(told)
    assert status.pop("Uid") == status.pop("Gid") == ["1000"] * 4
    assert status.pop("NoNewPrivs") == ["1"]
    assert {int(value, 16) for (value,) in status.values()} == {0}
    assert set(writable) <= {"/dev/shm", "/dev/mqueue"}
    assert "/dev/shm" in writable


@pytest.mark.engine
def test_on_a_docker_engine_it_answers_read_only_without_network_or_privilege(
    engine, pulled, start, wait_until
):
    name = start(engine, pulled, *HARDENED, "--network", "none", "--env", "CLIPPER_IP=127.0.0.1")
    assert health(engine, name) == "starting"
    assert asked(engine, name) == ANSWERS
    assert_confined(engine.run("exec", name, PYTHON, "-c", CONFINED).stdout)
    wait_until(lambda: health(engine, name) == "healthy", seconds=30)


@pytest.mark.engine
@pytest.mark.long
def test_on_a_docker_engine_it_serves_with_no_network_but_clippers(
    engine, pulled, network, start, wait_until
):
    place = ("--network", network)
    frontend = start(*(engine, pulled, *place, "--entrypoint", PYTHON), command=("-c", FRONTEND))
    name = start(engine, pulled, *HARDENED, *place, "--env", f"CLIPPER_IP={frontend}")
    wait_until(lambda: engine.run("logs", frontend).stdout, seconds=30)
    assert engine.run("logs", frontend).stdout == '["3.0", "3.0"]\n'
    (facts,) = json.loads(engine.run("inspect", name).stdout)
    assert list(facts["NetworkSettings"]["Networks"]) == [network]
    assert_confined(engine.run("exec", name, PYTHON, "-c", CONFINED).stdout)
    wait_until(lambda: health(engine, name) == "healthy", seconds=30)


@pytest.mark.engine
@pytest.mark.long
def test_where_it_could_write_to_its_root_it_does_not(engine, pulled, start):
    """Not even as root, whom no mode keeps from it."""
    place = ("--network", "none", "--env", "CLIPPER_IP=127.0.0.1", "--user", "0:0")
    name = start(engine, pulled, *place)
    assert asked(engine, name) == ANSWERS
    assert engine.run("diff", name).stdout == ""


@pytest.mark.podman
@pytest.mark.long
def test_on_podman_it_answers_read_only_without_network_or_privilege(podman, pushed, start):
    """Podman takes no health check from an image in OCI's format, so it is asked by hand."""
    podman.run("pull", "--quiet", "--tls-verify=false", pushed)
    place = ("--network", "none", "--env", "CLIPPER_IP=127.0.0.1", "--read-only-tmpfs=false")
    name = start(podman, pushed, *HARDENED, *place)
    check = ("exec", name, "test", "-f", "/model_is_ready.check")
    assert podman.run(*check, check=False).returncode == 1
    assert asked(podman, name) == ANSWERS
    assert_confined(podman.run("exec", name, PYTHON, "-c", CONFINED).stdout)
    assert podman.run(*check).returncode == 0


@pytest.mark.root
@pytest.mark.long
def test_in_the_rootfs_runner_it_answers_read_only_without_network_or_privilege(pushed, tmp_path):
    store = Store(tmp_path / "elsewhere")
    image = pull(parse(pushed), store, Silent())
    container = RootfsRunner(store).start(
        image, env={"CLIPPER_IP": "127.0.0.1"}, network=Network.NONE, read_only=True
    )
    check = image.config.healthcheck["Test"][1:]
    try:
        assert container.execute(check, b"", 30).status != 0
        report = container.execute(PROBE, QUESTION.encode(), 120)
        assert json.loads(report.stdout)["answers"] == ANSWERS
        assert container.execute(check, b"", 30).status == 0
        assert_confined(container.execute([PYTHON, "-c", CONFINED], b"", 60).stdout)
    finally:
        container.stop(grace=0)
