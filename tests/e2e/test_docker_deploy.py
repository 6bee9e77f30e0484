"""Deploying onto a Docker engine, beside a Clipper that runs there or on its host."""

import json

import httpx
import pytest

pytestmark = [pytest.mark.engine, pytest.mark.root, pytest.mark.apt, pytest.mark.index]

# A frontend of the tests' own, in a container: it acknowledges whoever says hello.
FRONTEND = """
import zmq
from imagesmith.runtime.wire import *
socket = zmq.Context().socket(zmq.ROUTER)
socket.bind("tcp://*:7000")
known = set()
while True:
    peer, *frames = socket.recv_multipart()
    message = decode_from_container(frames)
    if isinstance(message, Hello):
        known.add(peer)
        print("hello of", message.name, message.version, flush=True)
    elif isinstance(message, Heartbeat):
        kind = HeartbeatType(0 if peer in known else 1)
        socket.send_multipart([peer, *encode(HeartbeatReply(kind))])
"""


@pytest.fixture
def command(imagesmith, engine, tmp_path, base, store):
    """Give a function that runs a command on a cache of the test's own, with the engine."""
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("blobs", "folders", "records", "index.json", "oci-layout"):
        (cache / name).symlink_to(store.root / name)

    def run(*arguments, status=0):
        done = imagesmith(*arguments, IMAGESMITH_CACHE=str(cache), DOCKER_HOST=engine.host)
        assert done.returncode == status, done.stderr
        return done

    return run


@pytest.fixture
def sums(command, tmp_path):
    place = f"oci:{tmp_path}/sums"
    target = "fixtures/functions/echo.py:sums"
    command("build", target, "--name", "sums", "--version", "1", "--no-verify", "--output", place)
    return place


@pytest.fixture
def clipper(command):
    """Bring an embedded Clipper up, and down again."""
    ports = ("--query-port", "0", "--management-port", "0", "--rpc-port", "0")
    up = json.loads(command("clipper", "up", *ports, "--json").stdout)
    yield up
    command("clipper", "down")


@pytest.fixture(autouse=True)
def nothing_left(engine):
    yield
    left = engine.run("ps", "-aq", "--filter", "label=ai.clipper.container.label").stdout.split()
    if left:
        engine.run("rm", "-f", *left)


def replicas(engine):
    listed = engine.run("ps", "-q", "--filter", "label=ai.clipper.model_container.label").stdout
    return [json.loads(engine.run("inspect", one).stdout)[0] for one in listed.split()]


def test_a_model_on_the_engine_answers_a_clipper_of_its_host(command, clipper, engine, sums):
    done = command(
        *("deploy", sums, "--manager", "docker", "--network", "host", "--rpc", clipper["rpc"])
    )
    assert done.stdout == "sums\n"
    answer = httpx.post(
        f"{clipper['query']}/sums/predict", json={"input": [1.5, 2.0]}, trust_env=False
    )
    assert (answer.json()["output"], answer.json()["default"]) == (3.5, False)
    (replica,) = replicas(engine)
    assert replica["Name"].startswith("/sums_1-")
    labels = replica["Config"]["Labels"]
    assert labels["ai.clipper.container.label"] == "default-cluster"
    assert labels["ai.clipper.model_container.label"] == "sums_1"
    assert replica["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")
    assert replica["Mounts"] == []


def test_a_replica_finds_the_query_frontend_by_its_name_in_the_network(
    command, clipper, engine, sums, tmp_path
):
    command("deploy", sums, "--manager", "docker", "--network", "host", "--rpc", clipper["rpc"])
    (first,) = replicas(engine)
    engine.run("network", "create", "clipper_test")
    try:
        frontend = (
            *("run", "-d", "--name", "query_frontend-7", "--network", "clipper_test"),
            *("--label", "ai.clipper.container.label=default-cluster"),
            *("--label", "ai.clipper.query_frontend.label="),
            *("--entrypoint", "python", first["Image"], "-c", FRONTEND),
        )
        name = engine.run(*frontend).stdout.strip()
        sizes = f"oci:{tmp_path}/sizes"
        target = "fixtures/functions/echo.py:sizes"
        named = ("--name", "sizes", "--version", "2")
        command("build", target, *named, "--no-verify", "--output", sizes)
        command("deploy", sizes, "--manager", "docker", "--network", "clipper_test")
        assert engine.run("logs", name).stdout == "hello of sizes 2\n"
        found = [r for r in replicas(engine) if r["Name"].startswith("/sizes_2-")]
        assert "CLIPPER_IP=query_frontend-7" in found[0]["Config"]["Env"]
    finally:
        nothing = engine.run("ps", "-aq", "--filter", "network=clipper_test").stdout.split()
        if nothing:
            engine.run("rm", "-f", *nothing)
        engine.run("network", "rm", "clipper_test")


def test_without_a_frontend_on_the_engine_nothing_is_left(command, clipper, engine, sums):
    done = command("deploy", sums, "--manager", "docker", "--network", "host", status=9)
    assert "[register.no-frontend]" in done.stderr
    assert replicas(engine) == []


def test_a_network_that_is_not_there_is_named(command, clipper, engine, sums):
    rpc = ("--rpc", "127.0.0.1:9")
    done = command("deploy", sums, "--manager", "docker", "--network", "nowhere", *rpc, status=9)
    assert "[register.network]" in done.stderr
    assert engine.run("ps", "-aq", "--filter", "label=ai.clipper.container.label").stdout == ""
