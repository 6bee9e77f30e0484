"""A container's conversation with its frontend, over real sockets."""

import signal
import time

import pytest
import zmq
from rpc_peers import Frontend, until

from imagesmith.runtime.wire import Heartbeat, Hello, InputType, Predict, Response

DOUBLES = InputType.DOUBLES
ONE = b"\0" * 8


@pytest.fixture
def counting(serve):
    return lambda **options: serve(lambda inputs: [len(inputs)] * len(inputs), **options)


class TestHello:
    def test_the_container_is_ready_once_its_hello_is_acknowledged(self, counting, frontend):
        container = counting(heartbeat=30.0)  # so every message below is an answer, not a timer's
        assert frontend.receive() == Heartbeat()
        frontend.ask_who()
        assert frontend.receive() == Hello("m", "v1", DOUBLES)
        assert frontend.receive() == Heartbeat()
        assert not container.ready_file.exists()
        frontend.keep_alive()
        until(container.ready_file.exists)
        assert frontend.ask(DOUBLES, ONE, ONE) == [b"2", b"2"]

    def test_a_request_acknowledges_the_hello_too(self, counting, frontend):
        container = counting(heartbeat=30.0)
        frontend.receive()
        frontend.ask_who()
        frontend.receive()
        frontend.receive()
        frontend.send(Predict(1, DOUBLES, [ONE]))
        assert frontend.receive() == Response(1, [b"1"])
        assert container.ready_file.exists()

    def test_a_lost_heartbeat_is_sent_again(self, counting, frontend):
        counting()
        assert [frontend.receive() for _ in range(3)] == [Heartbeat()] * 3
        frontend.ask_who()
        assert isinstance(frontend.receive(), Hello)

    def test_a_ready_file_of_an_earlier_life_is_removed(self, counting, frontend, tmp_path):
        (tmp_path / "ready").touch()
        container = counting()
        frontend.receive()
        assert not container.ready_file.exists()

    def test_a_ready_file_that_is_a_link_stays_one(self, counting, frontend, tmp_path):
        (tmp_path / "ready").symlink_to(tmp_path / "memory")
        container = counting()
        frontend.meet()
        until((tmp_path / "memory").exists)
        container.process.terminate()
        container.exit_status()
        assert not (tmp_path / "memory").exists()
        assert container.ready_file.is_symlink()

    def test_a_refused_hello_is_told_and_tried_again_without_a_race(self, counting, frontend):
        container = counting(heartbeat=0.3)
        begin = time.monotonic()
        hellos = 0
        while hellos < 3:
            if isinstance(frontend.receive(), Hello):
                hellos += 1
            else:
                frontend.ask_who()
        assert time.monotonic() - begin >= 2 * 0.3
        container.wait_for_line("Clipper does not take this container's hello (RPC version 3)")
        assert not container.ready_file.exists()

    def test_the_log_reads_as_clippers_users_know_it(self, counting, frontend):
        container = counting(heartbeat=30.0, CLIPPER_IP=None)
        frontend.meet()
        until(container.ready_file.exists)
        assert container.lines == [
            "Starting PythonContainer container",
            "Connecting to Clipper on localhost",
            "Initializing Python function container",
            "Serving predictions for doubles input type.",
            "Sent heartbeat!",
            "Received heartbeat!",
            "Sent container metadata!",
            "Sent heartbeat!",
            "Received heartbeat!",
        ]


class TestKeepingInTouch:
    def test_an_idle_container_sends_heartbeats(self, counting, frontend):
        counting()
        frontend.meet()
        assert [frontend.receive() for _ in range(3)] == [Heartbeat()] * 3

    def test_a_frontend_that_comes_back_is_served_again(self, counting, frontend):
        container = counting(silence=1.0)
        frontend.meet()
        until(container.ready_file.exists)
        frontend.socket.close()
        container.wait_for_line("Connection timed out, reconnecting...")
        assert not container.ready_file.exists()
        with zmq.Context() as context:
            back = Frontend(context, frontend.port)
            back.meet()
            until(container.ready_file.exists)
            assert back.ask(DOUBLES, ONE) == [b"1"]

    def test_a_frontend_that_forgot_the_container_is_told_again(self, counting, frontend):
        container = counting()
        frontend.meet()
        until(container.ready_file.exists)
        assert frontend.receive() == Heartbeat()
        frontend.ask_who()
        frontend.expect(Hello)
        assert not container.ready_file.exists()
        frontend.expect(Heartbeat)
        frontend.keep_alive()
        until(container.ready_file.exists)
        assert frontend.ask(DOUBLES, ONE) == [b"1"]

    def test_a_long_prediction_does_not_lose_the_connection(self, serve, frontend, tmp_path):
        def slow(inputs):
            time.sleep(1.0)
            return ["done"] * len(inputs)

        container = serve(slow, silence=0.6)
        frontend.meet()
        assert frontend.ask(DOUBLES, ONE) == [b"done"]
        frontend.expect(Heartbeat)
        assert "Connection timed out, reconnecting..." not in container.lines


class TestAnswers:
    def test_batch_after_batch_is_answered(self, counting, frontend):
        counting()
        frontend.meet()
        for n in range(1, 50):
            answers = frontend.ask(DOUBLES, *[ONE] * n, message_id=n)
            assert answers == [str(n).encode()] * n

    @pytest.mark.parametrize(
        ("message", "line"),
        [
            (
                Predict(1, InputType.STRINGS, [b"a"]),
                "Received incorrect input. Expected doubles, received strings",
            ),
            (Predict(1, DOUBLES, []), "Ignored a request without inputs: an answer without"),
            (Predict(1, DOUBLES, [b"abc"]), "Ignored a request: an input of 3 bytes is no whole"),
            (Heartbeat(), "Ignored a message that Clipper's RPC does not have: "),
        ],
    )
    def test_what_cannot_be_answered_is_told_and_harms_nobody(
        self, counting, frontend, message, line
    ):
        container = counting()
        frontend.meet()
        frontend.send(message)
        assert frontend.ask(DOUBLES, ONE, message_id=2) == [b"1"]
        assert sum(text.startswith(line) for text in container.lines) == 1

    def test_garbage_is_told_and_harms_nobody(self, counting, frontend):
        container = counting()
        frontend.meet()
        garbage = [[b""], [b"", b""], [b"x"], [b"", b"\xff" * 4], [b""] * 9, [b"\3\0\0\0"] * 9]
        for frames in garbage:
            frontend.socket.send_multipart([frontend.peer, *frames])
        assert frontend.ask(DOUBLES, ONE) == [b"1"]
        assert sum(line.startswith("Ignored a message") for line in container.lines) == len(garbage)

    def test_another_rpc_version_is_told(self, counting, frontend):
        container = counting()
        frontend.meet()
        frontend.send(Predict(1, DOUBLES, [ONE], rpc_version=4))
        frontend.expect(Response)
        assert (
            "ERROR: Received an RPC message with version: 4 "
            "that does not match container version: 3" in container.lines
        )

    def test_text_without_utf8_becomes_text_with(self, serve, frontend):
        serve(lambda inputs: ["a\ud800"] * len(inputs))
        frontend.meet()
        assert frontend.ask(DOUBLES, ONE) == [b"a?"]


class TestFailures:
    @pytest.mark.parametrize(
        ("answers", "line"),
        [
            ("[1]", "OutputError: the function returned 1 answers for 2 inputs"),
            ("[]", "OutputError: the function returned 0 answers for 2 inputs"),
            ("'ab'", "OutputError: the function returned a string; it must return a list with one"),
            ("1 / 0", "ZeroDivisionError: division by zero"),
            ("exit('two\\nlines')", "SystemExit: two lines"),
        ],
    )
    def test_a_failing_function_ends_the_container_with_a_reason(
        self, serve, frontend, answers, line
    ):
        container = serve(eval(f"lambda inputs: {answers}"))
        frontend.meet()
        frontend.send(Predict(1, DOUBLES, [ONE, ONE]))
        assert container.exit_status() == 1
        assert "Traceback (most recent call last):" in container.lines
        assert container.lines[-1].startswith(f"Prediction failed: {line}")
        assert not container.ready_file.exists()

    @pytest.mark.parametrize(
        ("variable", "value", "line"),
        [
            ("CLIPPER_MODEL_NAME", None, "CLIPPER_MODEL_NAME environment variable must be set"),
            (
                "CLIPPER_MODEL_VERSION",
                None,
                "CLIPPER_MODEL_VERSION environment variable must be set",
            ),
            ("CLIPPER_MODEL_PATH", None, "CLIPPER_MODEL_PATH environment variable must be set"),
            ("CLIPPER_PORT", "x", "CLIPPER_PORT is 'x', which is no port"),
            ("CLIPPER_INPUT_TYPE", "x", "CLIPPER_INPUT_TYPE is not an input type of Clipper: 'x'"),
        ],
    )
    def test_a_bad_environment_is_told(self, counting, variable, value, line):
        container = counting(**{variable: value})
        assert container.exit_status() == 1
        assert container.lines[-1] == f"ERROR: {line}"

    def test_a_host_without_an_address_is_told(self, counting):
        container = counting(CLIPPER_IP="nowhere..invalid")
        assert container.exit_status() == 1
        assert container.lines[-1].startswith("Error resolving nowhere..invalid: ")

    def test_a_ready_file_that_cannot_be_written_is_told(self, counting, frontend, tmp_path):
        container = counting(CLIPPER_READY_FILE=str(tmp_path / "nowhere" / "ready"))
        frontend.meet()
        assert frontend.ask(DOUBLES, ONE) == [b"1"]
        container.wait_for_line("Cannot show readiness: ")


class TestTermination:
    def test_an_idle_container_ends_at_once(self, counting, frontend):
        container = counting(heartbeat=30.0)
        frontend.meet()
        until(container.ready_file.exists)
        container.process.terminate()
        assert container.exit_status() == 0
        assert not container.ready_file.exists()

    def test_a_container_without_a_frontend_ends_too(self, counting, frontend):
        frontend.socket.close()
        container = counting(heartbeat=30.0)
        container.wait_for_line("Sent heartbeat!")
        container.process.terminate()
        assert container.exit_status() == 0

    def test_the_batch_in_hand_is_finished_first(self, serve, frontend, tmp_path):
        begun, go = tmp_path / "begun", tmp_path / "go"

        def waiting(inputs):
            begun.touch()
            while not go.exists():
                time.sleep(0.01)
            return ["finished"] * len(inputs)

        container = serve(waiting)
        frontend.meet()
        frontend.send(Predict(1, DOUBLES, [ONE]))
        until(begun.exists)
        container.process.send_signal(signal.SIGTERM)
        go.touch()
        assert frontend.expect(Response) == Response(1, [b"finished"])
        assert container.exit_status() == 0

    def test_loading_can_be_ended(self, serve, tmp_path):
        source = f"""
import pathlib, time
pathlib.Path({str(tmp_path / "begun")!r}).touch()
time.sleep(60)
"""

        class Slow:
            def __reduce__(self):
                return (__import__, ("slow_module",))

        container = serve(Slow(), modules={"slow_module": source})
        until((tmp_path / "begun").exists)
        container.process.terminate()
        assert container.exit_status() == 0
