"""An image serves: on a Clipper of its own, deployed to one that runs, and nothing is left over."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from imagesmith.clipper.client import Clipper
from imagesmith.clipper.deploy import Wish, deploy
from imagesmith.clipper.endpoints import Endpoints
from imagesmith.clipper.manager import LocalManager
from imagesmith.findings import ImagesmithError
from imagesmith.image.find import find_model
from imagesmith.progress import Silent
from imagesmith.run.rootfs import RootfsRunner
from imagesmith.run.runner import Network
from imagesmith.store import Store

pytestmark = [
    pytest.mark.root,
    pytest.mark.apt,
    pytest.mark.index,
]

COMMAND = Path(sys.executable).with_name("imagesmith")
ANY_PORTS = ("--query-port", "0", "--management-port", "0", "--rpc-port", "0")

# Loads where the file is, and never, or not at all, where it is not: in the image.
HANGS = "import os, time\nwhile not os.path.exists({path!r}):\n    time.sleep(0.1)\n"
DIES = "text = open({path!r}).read()\n"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Give a cache that is not the user's, with a Clipper and replicas of its own."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def image(imagesmith, base, tmp_path_factory):
    """Give a function that builds a target, once for the same options, and gives its layout."""
    built = {}
    folder = tmp_path_factory.mktemp("images")

    def make(target, name, version="1", input_type="doubles"):
        key = (target, name, version, input_type)
        if key not in built:
            built[key] = f"oci:{folder}/{len(built)}"
            done = imagesmith(
                *("build", target, "--name", name, "--version", version, "--no-verify"),
                *("--input-type", input_type, "--output", built[key]),
            )
            assert done.returncode == 0, done.stderr
        return built[key]

    return make


@pytest.fixture(scope="module")
def sums(image):
    return image("fixtures/functions/echo.py:sums", "sums")


@pytest.fixture
def faulty(image, tmp_path):
    """Give a function that builds an image whose function is not loaded there."""

    def make(source):
        weights = tmp_path / "weights"
        weights.touch()
        (tmp_path / "faulty_weights.py").write_text(source.format(path=str(weights)))
        (tmp_path / "model.py").write_text(
            "import faulty_weights\n"
            "def predict(xs):\n    return [faulty_weights.__name__ for _ in xs]\n"
        )
        return image(f"{tmp_path}/model.py:predict", "faulty")

    return make


@pytest.fixture
def command(imagesmith, cache):
    """Give a function that runs a command on the cache of these tests, and its text on stdout."""

    def run(*arguments, status=0):
        done = imagesmith(*arguments, IMAGESMITH_CACHE=str(cache))
        assert done.returncode == status, done.stderr
        return done

    return run


@pytest.fixture
def clipper(command):
    """Bring an embedded Clipper up, and down again with all its replicas."""
    up = json.loads(command("clipper", "up", *ANY_PORTS, "--json").stdout)
    yield up
    command("clipper", "down")


@pytest.fixture
def registered(clipper):
    """Give a function that gives all that Clipper knows."""

    def read():
        with Clipper(clipper["management"]) as client:
            apps = client.get_all_applications()
            return apps, client.get_all_models(), client.get_all_containers()

    return read


@pytest.fixture
def containers(cache):
    """Give a function that gives the containers that are there."""
    runner = RootfsRunner(Store(cache))

    def read():
        return [
            container
            for folder in (cache / "run").glob("[!.]*")
            if (container := runner.attach(folder.name)) is not None
        ]

    return read


@pytest.fixture(autouse=True)
def nothing_left(cache, wait_until):
    yield
    wait_until(lambda: not any((cache / "run").glob("*")))  # those that lost their frontend too
    assert not any((cache / "records" / "replicas").glob("*"))
    assert not (cache / "clipper" / "clipper.json").exists()


@contextmanager
def running(layout, cache):
    """Start ``imagesmith run`` and give its process, which the block ends."""
    with subprocess.Popen(
        [COMMAND, "run", layout, *ANY_PORTS],
        env={**os.environ, "IMAGESMITH_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def ask(url, question):
    answer = httpx.post(url, json=question, timeout=30, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def in_use(url):
    place = httpx.URL(url)
    with socket.socket() as probe:
        return probe.connect_ex((place.host, place.port)) == 0


class TestRun:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_its_one_line_is_a_question_and_a_signal_ends_all_of_it(
        self, sums, cache, containers, number
    ):
        with running(sums, cache) as process:
            line = shlex.split(process.stdout.readline())
            assert line[:3] == ["curl", "-X", "POST"]
            url, question = line[-1], json.loads(line[line.index("-d") + 1])
            answer = ask(url, question)
            assert (answer["output"], answer["default"]) == (3.0, False)
            (container,) = containers()
            process.send_signal(number)
            assert process.wait(30) == 130
            assert process.stdout.read() == ""
            assert "Traceback" not in process.stderr.read()
        assert container.keeper.wait(0)
        assert container.main.wait(0)
        assert not in_use(url)

    def test_its_question_is_one_that_the_image_was_seen_to_answer(
        self, image, cache, command, tmp_path
    ):
        sizes = image("fixtures/functions/echo.py:sizes", "sizes")
        samples = tmp_path / "samples.json"
        samples.write_text("[[1.5, 2.5, 3.5], [0.5]]")
        command("verify", sizes, "--samples", samples)
        with running(sizes, cache) as process:
            line = shlex.split(process.stdout.readline())
            assert line[line.index("-d") + 1] == '{"input":[1.5,2.5,3.5]}'
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130

    def test_a_project_with_packages_relative_imports_and_data_files_is_served_right(
        self, imagesmith, base, cache, tmp_path
    ):
        samples, layout = Path("fixtures/reviews/samples.json"), f"oci:{tmp_path}/reviews"
        done = imagesmith(
            *("build", "fixtures/reviews/model.py:predict", "--name", "reviews"),
            *("--input-type", "strings", "--samples", samples, "--output", layout),
        )
        assert done.returncode == 0, done.stderr
        assert "8 answers, 8 as the function's own" in done.stderr
        known = json.loads(samples.read_bytes())
        with running(layout, cache) as process:
            url = shlex.split(process.stdout.readline())[-1]
            answers = [ask(url, {"input": text})["output"] for text in known["inputs"]]
            assert answers == known["answers"]["single"]  # worked out by hand
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130

    def test_a_signal_while_the_model_loads_ends_all_of_it(
        self, faulty, cache, containers, wait_until
    ):
        with running(faulty(HANGS), cache) as process:
            wait_until(containers, 60)
            (container,) = containers()
            wait_until(lambda: "Initializing" in container.log())
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert process.stdout.read() == ""
        assert container.main.wait(0)

    def test_it_ends_with_the_replica_and_shows_its_log(self, sums, cache, containers):
        with running(sums, cache) as process:
            process.stdout.readline()
            (container,) = containers()
            container.main.send(signal.SIGKILL)
            assert process.wait(30) == 9
            errors = process.stderr.read()
        assert "[register.replica-died]" in errors
        assert "status 137" in errors
        assert "Serving predictions for doubles input type." in errors

    def test_what_a_killed_run_leaves_is_stopped_by_the_next_command(
        self, sums, cache, containers, command
    ):
        with running(sums, cache) as process:
            process.stdout.readline()
            (container,) = containers()
            process.kill()
            process.wait()
        assert container.status() is None
        command("clipper", "down")
        assert container.main.wait(0)


class TestDeploy:
    def test_up_deploy_ask_status_down(self, sums, command, containers):
        up = json.loads(command("clipper", "up", *ANY_PORTS, "--json").stdout)
        assert command("deploy", sums).stdout == "sums\n"
        answer = ask(f"{up['query']}/sums/predict", {"input_batch": [[1.0, 2.0], [4.5]]})
        assert [one["output"] for one in answer["batch_predictions"]] == [3.0, 4.5]
        assert [one["default"] for one in answer["batch_predictions"]] == [False, False]
        status = json.loads(command("clipper", "status", "--json").stdout)
        assert {**status, "exit": None} == {**up, "exit": None}
        (container,) = containers()
        assert command("clipper", "down").stdout == "down\n"
        assert container.main.wait(0)
        assert not any(in_use(place) for place in (up["query"], up["management"]))
        assert command("clipper", "status").stdout == "it is not running\n"

    def test_two_models_answer_beside_each_other(self, sums, image, clipper, command):
        upper = image("fixtures/functions/echo.py:upper", "upper", input_type="strings")
        command("deploy", sums)
        command("deploy", upper, "--app", "shout")
        assert ask(f"{clipper['query']}/sums/predict", {"input": [1.0, 2.0]})["output"] == 3.0
        assert ask(f"{clipper['query']}/shout/predict", {"input": "ä"})["output"] == "Ä"

    def test_the_same_version_again_changes_nothing(
        self, sums, clipper, command, registered, containers
    ):
        command("deploy", sums)
        before, replicas = registered(), containers()
        done = command("deploy", sums, status=9)
        assert "[register.exists]" in done.stderr
        assert (registered(), containers()) == (before, replicas)

    def test_an_application_of_another_input_type(self, sums, clipper, command, registered):
        with Clipper(clipper["management"]) as client:
            client.add_app("sums", "strings", "-", 1000)
        before = registered()
        assert "[register.input-type]" in command("deploy", sums, status=9).stderr
        assert registered() == before

    def test_a_replica_that_dies_at_load(self, faulty, clipper, command, registered, containers):
        errors = command("deploy", faulty(DIES), status=9).stderr
        assert "[register.replica-died]" in errors
        assert "Starting PythonContainer container" in errors  # its log
        (reason,) = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert "FileNotFoundError" in reason
        assert (registered(), containers()) == (([], [], []), [])

    def test_what_clipper_refuses_late_is_undone(
        self, sums, image, clipper, command, registered, containers
    ):
        """Version 2 fits its own application, but not the other one that asks the model."""
        command("deploy", sums)
        apps, models, _ = registered()
        replicas = containers()
        other = image("fixtures/functions/echo.py:sums", "sums", "2", "integers")
        errors = command("deploy", other, "--app", "counts", status=9).stderr
        assert "[register.refused]" in errors
        assert "is not compatible" in errors
        assert registered()[:2] == (apps, models)
        assert containers() == replicas

    def test_no_hello(self, sums, clipper, cache, registered, containers):
        store = Store(cache)
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))  # bound, so nobody else's, and not listening
            manager = LocalManager(
                RootfsRunner(store), store, bound.getsockname(), clipper=None, patience=2.0
            )
            with Clipper(clipper["management"]) as client, pytest.raises(ImagesmithError) as raised:
                deploy(find_model(sums, store), Wish("sums"), client, manager, Silent())
        (finding,) = raised.value.findings
        assert finding.code == "register.no-hello"
        assert str(manager.rpc[1]) in finding.message
        assert "Sent heartbeat!" in raised.value.log
        assert (registered(), containers()) == (([], [], []), [])

    def test_two_replicas_share_the_work(self, image, clipper, command, tmp_path):
        (tmp_path / "model.py").write_text(
            "import os, time\n"
            "def predict(xs):\n"
            "    time.sleep(0.1)\n"
            "    return [os.readlink('/proc/self/ns/pid') for _ in xs]\n"
        )
        place = image(f"{tmp_path}/model.py:predict", "who")
        command("deploy", place, "--replicas", "2", "--batch-size", "1")
        url = f"{clipper['query']}/who/predict"
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda n: ask(url, {"input": [float(n)]}), range(8)))
        assert not any(answer["default"] for answer in answers)
        outputs = [answer["output"] for answer in answers]
        assert sorted(map(outputs.count, set(outputs))) == [4, 4]

    def test_down_stops_the_replicas_of_a_clipper_that_died(self, sums, clipper, command, cache):
        command("deploy", sums)
        record = json.loads((cache / "clipper" / "clipper.json").read_bytes())
        os.kill(record["process"]["pid"], signal.SIGKILL)
        assert command("clipper", "down").stdout == "it was not running\n"

    def test_up_stops_the_replicas_of_a_clipper_that_died(
        self, sums, clipper, command, cache, containers
    ):
        command("deploy", sums)
        record = json.loads((cache / "clipper" / "clipper.json").read_bytes())
        os.kill(record["process"]["pid"], signal.SIGKILL)
        rpc = str(Endpoints(**record["endpoints"]).rpc)
        command("clipper", "up", *ANY_PORTS, "--rpc-port", rpc)
        assert containers() == []

    def test_without_a_clipper_it_asks_nobody_elses(self, sums, command):
        assert "[reach.clipper]" in command("deploy", sums, status=10).stderr


def test_a_model_serves_as_its_own_user_read_only_and_without_a_privilege(sums, cache):
    image = find_model(sums, Store(cache))
    question = {
        "input_type": "doubles",
        "batches": [[[1.0, 2.0]]],
        "imports": [],
        "port": 7000,
        "timeout": 60.0,
    }
    container = RootfsRunner(Store(cache)).start(
        image, env={"CLIPPER_IP": "127.0.0.1"}, network=Network.NONE, read_only=True
    )
    try:
        probe = [image.config.entrypoint[0], "-m", "imagesmith.runtime.probe"]
        asked = container.execute(probe, json.dumps(question).encode(), timeout=120)
        status = container.execute(["cat", "/proc/1/status"], b"", timeout=30)
        written = container.execute(["sh", "-c", "echo > /model/file"], b"", timeout=30)
    finally:
        container.stop(grace=1.0)
    assert json.loads(asked.stdout)["answers"] == [["3.0"]]
    assert b"Read-only file system" in written.stderr
    lines = (line.partition(":") for line in status.stdout.decode().splitlines())
    of_main = {name: value.split() for name, _, value in lines}
    assert of_main["Uid"] == of_main["Gid"] == ["1000"] * 4
    assert of_main["Groups"] == []
    for capabilities in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
        assert of_main[capabilities] == ["0" * 16]
    assert of_main["NoNewPrivs"] == ["1"]
