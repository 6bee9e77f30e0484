"""Containers without an engine: what they are kept from, how they live, and how they end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from imagesmith.findings import ImagesmithError
from imagesmith.image import oci
from imagesmith.image.layer import write_layer
from imagesmith.image.tar import file_member, link_member
from imagesmith.run.rootfs import Privilege, Process, RootfsRunner
from imagesmith.run.runner import Network

pytestmark = pytest.mark.root

CREATED = "1970-01-01T00:00:00Z"
SLEEP = ("busybox", "sleep", "1000")
STATUS = """
import json
print(json.dumps(dict(line.rstrip().partition(":\\t")[::2] for line in open("/proc/self/status"))))
"""


@pytest.fixture(params=["native", "user-namespace"])
def runner(request, store):
    runner = RootfsRunner(store)
    if request.param == "user-namespace":
        runner.privilege = Privilege.SINGLE
    return runner


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

    def start(*argv, env=(), network=Network.NONE, read_only=False, **image):
        image = image_of(*(argv or SLEEP), **image)
        container = runner.start(image, env=dict(env), network=network, read_only=read_only)
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


def log_of(container, wait_until):
    wait_until(lambda: container.status() is not None)
    return container.log()


def test_the_command_runs_as_the_images_user_without_capabilities(start, wait_until):
    container = start("python", "-c", STATUS)
    for status in (json.loads(log_of(container, wait_until)), python(start(), STATUS)):
        assert status["Uid"].split() == status["Gid"].split() == ["1000"] * 4
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[capabilities], 16) == 0
        assert status["NoNewPrivs"] == "1"


def test_root_in_the_image_has_no_capability_and_cannot_set_the_kernel(start):
    container = start(user="")
    status = python(container, STATUS)
    assert status["Uid"].split()[0] == "0"
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert run(container, "sh", "-c", "echo x > /proc/sys/kernel/domainname").status != 0


def test_a_user_by_name_has_its_uid_and_home(start):
    container = start(user="model")
    assert run(container, "busybox", "id", "-u").stdout == b"1000\n"
    assert run(container, "sh", "-c", "echo $HOME").stdout == b"/model\n"


def test_the_environment_is_the_images_and_the_given_one_alone(start, base, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    container = start(env={"CLIPPER_IP": "127.0.0.1"})
    environment = python(container, "import json, os; print(json.dumps(dict(os.environ)))")
    environment.pop("LC_CTYPE", None)  # Python's own (PEP 538)
    assert environment == {**base.config.env, "CLIPPER_IP": "127.0.0.1", "HOME": "/model"}


def test_a_read_only_root_refuses_writes_but_shared_memory_takes_them(start):
    container = start(read_only=True)
    assert run(container, "sh", "-c", "echo x > /tmp/x").status != 0
    assert run(container, "sh", "-c", "echo x > /dev/shm/x && cat /dev/shm/x").stdout == b"x\n"


def test_what_a_container_writes_is_its_own(start):
    first, second = start(), start()
    assert run(first, "sh", "-c", "echo x > /tmp/x; umask").stdout == b"0022\n"
    assert run(first, "cat", "/tmp/x").stdout == b"x\n"
    assert run(second, "test", "-e", "/tmp/x").status == 1


def test_later_layers_cover_earlier_ones(start):
    container = start(members=[file_member("etc/debian_version", b"mine\n")])
    assert run(container, "cat", "/etc/debian_version").stdout == b"mine\n"


def test_without_a_network_there_is_only_a_loopback_that_works(start):
    code = """
import json, socket
server = socket.create_server(("localhost", 0))
socket.create_connection(server.getsockname())
socket.gethostbyname(socket.gethostname())
print(json.dumps([name for _, name in socket.if_nameindex()]))
"""
    assert python(start(), code) == ["lo"]


def test_with_the_hosts_network_its_loopback_is_shared(start):
    container = start(network=Network.HOST)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        assert run(container, "python", "-c", code).status == 0


def test_the_hosts_processes_and_files_are_out_of_sight(start, tmp_path):
    container = start()
    code = (
        "import json, os; print(json.dumps([int(p) for p in os.listdir('/proc') if p.isdigit()]))"
    )
    assert len(python(container, code)) == 2  # process 1 and the one that asks
    assert run(container, "test", "-e", str(tmp_path)).status == 1
    assert run(container, "test", "-e", "/etc/shadow").status == 1


def test_the_devices_are_the_harmless_ones(start):
    names = python(start(), "import json, os; print(json.dumps(os.listdir('/dev')))")
    links, devices = {"fd", "stdin", "stdout", "stderr"}, {"null", "zero", "full", "tty"}
    assert set(names) == links | devices | {"random", "urandom", "shm"}


def test_execute_gives_input_output_and_status(start):
    done = run(start(), "sh", "-c", "cat; echo bad >&2; exit 7", stdin=b"in\x00\xff")
    assert (done.status, done.stdout, done.stderr) == (7, b"in\x00\xff", b"bad\n")


def test_execute_of_what_is_not_there_ends_with_127(start):
    done = run(start(), "no-such-program")
    assert done.status == 127
    assert b"No such file" in done.stderr


def test_a_command_that_takes_too_long_is_killed(start, wait_until):
    container = start()
    with pytest.raises(TimeoutError):
        run(container, "sh", "-c", "busybox sleep 999 & busybox sleep 999", timeout=0.3)
    wait_until(lambda: b"sleep 999" not in run(container, "busybox", "ps").stdout)


def test_the_end_of_process_1_ends_a_command(start, wait_until):
    container = start()
    ended = []
    thread = threading.Thread(target=lambda: ended.append(run(container, "busybox", "sleep", "99")))
    thread.start()
    wait_until(lambda: b"sleep 99\n" in run(container, "busybox", "ps", "-o", "args").stdout)
    container.main.send(signal.SIGKILL)
    thread.join(10)
    assert [done.status for done in ended] == [137]
    assert run(container, "cat").status == 137


def test_the_exit_status_is_told(start, wait_until):
    container = start("sh", "-c", "exit 5")
    wait_until(lambda: container.status() is not None)
    assert container.status() == 5


def test_a_signals_number_is_told_as_128_and_more(start, wait_until):
    container = start()
    assert container.status() is None
    container.main.send(signal.SIGKILL)
    wait_until(lambda: container.status() is not None)
    assert container.status() == 137


def test_the_log_holds_both_streams_and_outlasts_the_command(start, wait_until):
    container = start("sh", "-c", "echo out; echo err >&2; echo again > /dev/stdout")
    assert log_of(container, wait_until) == "out\nerr\nagain\n"


def test_stop_lets_a_command_end_that_listens(start, wait_until):
    container = start("sh", "-c", "trap exit TERM; echo up; while :; do busybox sleep 0.01; done")
    wait_until(lambda: "up" in container.log())
    began = time.monotonic()
    container.stop(grace=60)
    assert time.monotonic() - began < 30


def test_stop_kills_what_does_not_listen(start):
    container = start()  # a process 1 without a handler never sees the signal
    container.stop(grace=0.1)
    assert container.main.wait(0)


def test_stop_leaves_no_process_mount_or_folder(start, runner):
    container = start()
    seconds = str(int(container.id, 16))  # a sleep that can be told from every other
    run(container, "sh", "-c", f"busybox sleep {seconds} > /dev/null 2>&1 &")
    assert any(seconds in process for process in processes())
    container.stop(grace=0)
    assert not [p for p in processes() if container.id in p or seconds in p]
    assert container.id not in Path("/proc/self/mountinfo").read_text()
    assert not container.folder.exists()
    assert runner.attach(container.id) is None


def processes():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_another_process_attaches_to_a_container_and_stops_it(start, store):
    container = start()
    code = """
import sys
from pathlib import Path
from imagesmith.run.rootfs import RootfsRunner
from imagesmith.store import Store
container = RootfsRunner(Store(Path(sys.argv[1]))).attach(sys.argv[2])
assert container.status() is None
sys.stdout.write(container.execute(["busybox", "id", "-u"], b"", 20).stdout.decode())
container.stop(grace=0)
"""
    command = [sys.executable, "-c", code, str(store.root), container.id]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"1000\n"
    assert not container.folder.exists()


@pytest.fixture
def abandon(runner, image_of, store):
    """Give a function that has a container started by a process that is killed then."""

    def abandon(network):
        image = image_of(*SLEEP)
        facts = [image.manifest.digest, image.manifest.size, runner.privilege, network]
        command = [sys.executable, "-c", ABANDON, store.root, *facts]
        started = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE)
        assert started.returncode == -signal.SIGKILL
        return runner.attach(started.stdout.decode().strip())

    return abandon


ABANDON = """
import os, signal, sys
from pathlib import Path
from imagesmith.image import oci
from imagesmith.run.rootfs import Privilege, RootfsRunner
from imagesmith.run.runner import Network
from imagesmith.store import Store
store = Store(Path(sys.argv[1]))
image = oci.load(store.blobs, oci.Descriptor(oci.MANIFEST, sys.argv[2], int(sys.argv[3])), "x")
runner = RootfsRunner(store)
runner.privilege = Privilege(sys.argv[4])
print(runner.start(image, env={}, network=Network(sys.argv[5])).id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_on_the_hosts_network_a_container_outlives_its_starter(abandon, runner):
    container = abandon(Network.HOST)
    runner.sweep()
    assert container.status() is None
    assert run(container, "test", "-e", "/proc/1").status == 0
    container.stop(grace=0)


def test_without_a_network_a_container_ends_with_its_starter_also_one_that_was_killed(
    abandon, wait_until
):
    container = abandon(Network.NONE)
    wait_until(lambda: container.main.wait(0) and container.keeper.wait(0))
    assert container.status() == 137


def test_without_a_network_a_container_whose_starter_was_killed_is_swept(abandon, start):
    container = abandon(Network.NONE)
    start()
    assert not container.folder.exists()
    assert container.main.wait(0)


def test_a_container_does_not_outlive_its_keeper(start, wait_until):
    container = start()
    container.keeper.send(signal.SIGKILL)
    wait_until(lambda: container.main.wait(0))
    assert container.status() == 137


def test_what_an_interrupted_start_left_is_swept(start, store):
    left = store.root / "run" / ".old.partial-x.d"
    (left / "lower").mkdir(parents=True)
    left.with_suffix("").touch()
    start()
    assert not left.exists()


def test_the_log_of_a_container_that_ended_is_kept_for_a_day(abandon, runner, wait_until):
    container = abandon(Network.HOST)
    container.main.send(signal.SIGKILL)
    wait_until(lambda: container.status() is not None)
    runner.sweep()
    assert container.folder.exists()
    for path in (container.folder, container.folder / "log"):
        os.utime(path, (0, 0))
    runner.sweep()
    # Another worker's build may be the one that sweeps it, at this very moment.
    wait_until(lambda: not container.folder.exists())


def test_a_start_that_was_killed_before_there_was_a_log_is_swept(abandon, runner, store):
    container = abandon(Network.HOST)
    starter = json.loads((container.folder / "spec.json").read_bytes())["starter"]
    container.stop(grace=0)
    container.folder.mkdir()
    (container.folder / "spec.json").write_text(json.dumps({"starter": starter, "network": "host"}))
    os.utime(container.folder, (0, 0))
    runner.sweep()
    assert not container.folder.exists()


def test_a_container_that_has_ended_is_its_starters_as_long_as_that_lives(start, runner):
    container = start("test")
    assert container.main.wait(10)
    for path in (container.folder, container.folder / "log"):
        os.utime(path, (0, 0))
    runner.sweep()
    assert container.folder.exists()


def test_an_entrypoint_that_is_not_there_is_a_finding_and_leaves_nothing(start, store):
    with pytest.raises(ImagesmithError, match="no-such-program") as refused:
        start("no-such-program")
    assert refused.value.findings[0].code == "build.runner"
    specs = [path.read_text() for path in (store.root / "run").glob("*/spec.json")]
    assert not any("no-such-program" in spec for spec in specs)


def test_an_image_without_a_command_is_a_finding(runner, base):
    with pytest.raises(ImagesmithError, match="neither an entrypoint nor a command"):
        runner.start(base, env={}, network=Network.NONE)


def test_a_user_that_the_image_lacks_is_a_finding(start):
    with pytest.raises(ImagesmithError, match="no user 'nobody'"):
        start(user="nobody")


def test_a_link_in_the_place_of_a_mount_point_is_refused(start):
    with pytest.raises(ImagesmithError, match="is a link"):
        start(members=[link_member("etc/hosts", "/../../../../etc/hosts")])


def test_many_layers_fit(runner, store, base):
    layers = [write_layer(store, [file_member(f"opt/{n}", b"x")], "one") for n in range(100)]
    config = replace(base.config, entrypoint=SLEEP, user="1000")
    image = oci.assemble(store, "runner-test:many", (*base.layers, *layers), config, CREATED)
    container = runner.start(image, env={}, network=Network.NONE)
    try:
        assert run(container, "test", "-e", "/opt/0", "-a", "-e", "/opt/99").status == 0
    finally:
        container.stop(grace=0)


def test_no_way_to_make_namespaces_is_a_finding(store, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImagesmithError, match="cannot be started here") as refused:
        assert RootfsRunner(store).privilege
    assert refused.value.findings[0].code == "build.runner"


def test_a_pid_that_is_used_again_is_another_process():
    this = Process.of_this()
    assert not this.wait(0)
    assert Process(os.getpid(), this.started - 1).wait(0)


def test_a_user_number_beyond_all_is_a_finding(start):
    with pytest.raises(ImagesmithError, match="did not start"):
        start(user="99999999999999999999")
