"""The probe asks a real container from inside, and says in one document what came of it."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest
from rpc_peers import PATIENCE, ROOT, free_port


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def probe(tmp_path, port):
    """Run the probe with a request; give its exit status and its document."""

    def probe(batches=(), *, stdin=None, **fields):
        request = {
            "input_type": "doubles",
            "batches": batches,
            "imports": [],
            "port": port,
            "timeout": PATIENCE,
            **fields,
        }
        done = subprocess.run(
            [sys.executable, "-m", "imagesmith.runtime.probe"],
            input=stdin if stdin is not None else json.dumps(request),
            env={
                "PYTHONPATH": str(ROOT),
                "PATH": os.environ["PATH"],
                "CLIPPER_READY_FILE": str(tmp_path / "ready"),
                "CLIPPER_MODEL_PATH": str(tmp_path / "model"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    return probe


def test_a_container_is_asked_batch_by_batch(serve, probe, port):
    serve(lambda inputs: [len(inputs)] * len(inputs), CLIPPER_PORT=str(port))
    status, report = probe([[[1.5], [2.5]], [[1.5]], [[2.5]]])
    assert status == 0
    assert len(report.pop("milliseconds")) == 3
    assert report == {
        "hello": {"name": "m", "version": "v1", "input_type": "doubles"},
        "imports": {},
        "ready": True,
        "answers": [["2", "2"], ["1"], ["1"]],
    }


def test_a_container_can_be_asked_again(serve, probe, port):
    serve(lambda inputs: ["a"] * len(inputs), CLIPPER_PORT=str(port))
    assert probe([[[1.5]]])[0] == 0
    status, report = probe([[[1.5]]])
    assert (status, report["answers"]) == (0, [["a"]])


def test_without_batches_hello_and_readiness_are_proved(serve, probe, port):
    serve(print, CLIPPER_PORT=str(port))
    status, report = probe()
    assert (status, report["ready"], report["answers"]) == (0, True, [])


def test_imports_that_fail_are_told_with_their_reasons(serve, probe, port):
    serve(print, CLIPPER_PORT=str(port), modules={"local": "print('noise')", "bad": "1 / 0"})
    status, report = probe(imports=["json", "local", "bad", "not_there"])
    assert status == 0
    assert report["imports"] == {
        "bad": "ZeroDivisionError: division by zero",
        "not_there": "ModuleNotFoundError: No module named 'not_there'",
    }


def test_a_container_that_fails_leaves_what_is_known(serve, probe, port):
    container = serve(lambda inputs: [1 / inputs[0][0]], CLIPPER_PORT=str(port))
    status, report = probe([[[2.0]], [[2.0], [4.0]]], timeout=3.0)
    assert container.exit_status() == 1
    assert status == 1
    assert report["error"] == "no answer to batch 1 in time"
    assert report["answers"] == [["0.5"]]


def test_the_timeout_is_for_each_batch(serve, probe, port):
    def slow(inputs):
        time.sleep(0.8)
        return inputs

    serve(slow, CLIPPER_PORT=str(port))
    status, report = probe([[[1.5]]] * 5, timeout=3.0)
    assert (status, len(report["answers"])) == (0, 5)


def test_a_bad_sample_is_told_before_anything_is_asked(probe):
    status, report = probe([[[2.0]], ["x"]])
    assert (status, report["error"]) == (1, "batch 1: input 0: 'x' is no array")


def test_a_container_of_another_type_is_told(serve, probe, port):
    serve(print, "strings", CLIPPER_PORT=str(port))
    status, report = probe([[[1.5]]])
    assert (status, report["error"]) == (1, "the container takes strings, not doubles")
    assert report["hello"]["input_type"] == "strings"


def test_a_container_that_never_comes_is_told(probe):
    assert probe(timeout=0.5) == (
        1,
        {"imports": {}, "error": "no container has said hello in time"},
    )


def test_a_port_in_use_is_told(probe, port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        status, report = probe()
    assert status == 1
    assert report["error"].startswith(f"cannot bind 127.0.0.1:{port}: ")


@pytest.mark.parametrize("document", ["", "[]", "{}", '{"input_type": "images"}', '{"batches": 1}'])
def test_what_is_no_request_is_told(probe, document):
    status, report = probe(stdin=document)
    assert status == 1
    assert report["error"].startswith("not a request: ")
