"""``clipper up``, ``status`` and ``down``: one Clipper in the background, and nothing left over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from imagesmith.clipper import daemon
from imagesmith.clipper.client import Clipper
from imagesmith.clipper.endpoints import Endpoints
from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.run.rootfs import Process

FREE = Endpoints(query=0, management=0, rpc=0)


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "clipper"
    daemon.down(tmp_path / "clipper", grace=0.1)


def test_up_answers_status_finds_it_and_down_ends_it(folder):
    running = daemon.up(FREE, folder)
    with Clipper.at(running.endpoints) as clipper:
        clipper.ping()
    assert daemon.status(folder) == running
    assert (
        os.getsid(running.process.pid) == running.process.pid
    )  # it outlives the terminal it came from
    assert daemon.down(folder) is True
    assert daemon.status(folder) is None
    assert daemon.down(folder) is False
    assert not (folder / "clipper.json").exists()


def test_a_second_up_says_that_it_is_up_already(folder):
    running = daemon.up(FREE, folder)
    with pytest.raises(ImagesmithError) as raised:
        daemon.up(FREE, folder)
    [finding] = raised.value.findings
    assert finding.code == "register.already-up"
    assert str(running.process.pid) in finding.message
    assert daemon.status(folder) == running


def test_every_busy_port_is_named_with_its_option_before_anything_starts(folder):
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        query, rpc = first.getsockname()[1], second.getsockname()[1]
        with pytest.raises(ImagesmithError) as raised:
            daemon.up(Endpoints(query=query, management=0, rpc=rpc), folder)
    findings = raised.value.findings
    assert [f.code for f in findings] == ["register.port-in-use"] * 2
    assert [f.subject for f in findings] == [f"127.0.0.1:{query}", f"127.0.0.1:{rpc}"]
    assert ["--query-port" in findings[0].remedy, "--rpc-port" in findings[1].remedy] == [True] * 2
    assert raised.value.exit_code is ExitCode.REGISTER
    assert not (folder / "clipper.log").exists()


def test_one_port_cannot_serve_two_sides(folder):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ImagesmithError) as raised:
        daemon.up(Endpoints(query=port, management=port, rpc=0), folder)
    assert "--management-port" in raised.value.findings[0].remedy


def test_a_server_that_dies_at_its_start_is_told_with_its_log(folder, monkeypatch):
    monkeypatch.setattr(daemon.sys, "executable", "/bin/false")
    with pytest.raises(ImagesmithError) as raised:
        daemon.up(FREE, folder)
    assert raised.value.findings[0].code == "register.clipper"
    assert "status 1" in raised.value.findings[0].message
    assert daemon.status(folder) is None


def test_the_record_of_a_dead_process_is_cleaned_away(folder):
    running = daemon.up(FREE, folder)
    os.kill(running.process.pid, signal.SIGKILL)
    os.waitpid(running.process.pid, 0)
    assert daemon.status(folder) is None
    assert not (folder / "clipper.json").exists()


@pytest.mark.parametrize("record", ["", "{", "[]", '{"pid": 1}', '{"process": 1, "endpoints": {}}'])
def test_a_record_that_is_none_of_ours_is_no_clipper(folder, record):
    folder.mkdir()
    (folder / "clipper.json").write_text(record)
    assert daemon.status(folder) is None
    daemon.up(FREE, folder)


def test_another_process_of_the_same_id_is_left_alone(folder):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        record = daemon.Running(Process(other.pid, started=1), FREE).to_json()
        folder.mkdir()
        (folder / "clipper.json").write_bytes(record)
        assert daemon.status(folder) is None
        (folder / "clipper.json").write_bytes(record)
        assert daemon.down(folder) is False
        assert other.poll() is None
        other.stdin.close()


def test_one_that_does_not_end_is_killed(folder):
    running = daemon.up(FREE, folder)
    os.kill(running.process.pid, signal.SIGSTOP)
    assert daemon.down(folder, grace=0.2) is True
    assert daemon.status(folder) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_with_status_0_when_it_is_asked_to(number):
    arguments = ["--query-port", "0", "--management-port", "0", "--rpc-port", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "imagesmith.clipper.server", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as server:
        running = daemon.Running.from_json(server.stdout.readline())
        assert running.process.pid == server.pid
        with Clipper.at(running.endpoints) as clipper:
            clipper.ping()
            server.send_signal(number)
            assert server.wait(10) == 0
        assert server.stderr.read() == b""
