"""Queries over real sockets: what goes in, what comes out, and when it is the default."""

from __future__ import annotations

import struct
import threading

import httpx
import pytest
from clipper_peers import PATIENCE, embedded_clipper, wait_until

from imagesmith.clipper.client import Clipper
from imagesmith.runtime import wire

HALF_A_MINUTE = 30_000_000
NO_MODEL = "No connected models found for query"
TOO_LATE = "Failed to retrieve a prediction response within the specified latency SLO"


def deploy(clipper, input_type="doubles", slo_micros=HALF_A_MINUTE, batch_size=-1, default="-1"):
    clipper.add_app("a", input_type, default, slo_micros)
    clipper.add_model("m", "1", input_type, batch_size=batch_size)
    clipper.add_model_links("a", "m")


@pytest.mark.parametrize(
    ("input_type", "value", "raw"),
    [
        ("doubles", [1.5, -2.0, 1e3], struct.pack("<3d", 1.5, -2.0, 1e3)),
        ("floats", [1.5, 0.25], struct.pack("<2f", 1.5, 0.25)),
        ("integers", [1, -2], struct.pack("<2i", 1, -2)),
        ("strings", "naïve", "naïve".encode()),
        ("bytes", "AAH/", b"\x00\x01\xff"),
    ],
)
def test_each_input_type_reaches_the_replica_as_its_raw_bytes(
    clipper, endpoints, connect, input_type, value, raw
):
    deploy(clipper, input_type)
    hello = wire.Hello("m", "1", wire.parse_input_type(input_type))
    container = connect(endpoints, hello=hello)
    answer = clipper.predict("a", value)
    assert answer == {"query_id": 0, "output": f"{len(raw)} bytes", "default": False}
    assert container.batches == [[raw]]


@pytest.mark.parametrize(
    ("text", "output"),
    [
        (b"1.0", 1.0),
        (b'{"a": [1, null]}', {"a": [1, None]}),
        (b"null", None),
        (b'"quoted"', "quoted"),
        (b"plain", "plain"),
        (b"NaN", "NaN"),
        (b"Infinity", "Infinity"),
        (b"0123", "0123"),
        (b"1e400", "1e400"),
        (b"", ""),
        (b"1 2", "1 2"),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"[" * 500 + b"]" * 500, None),
        (b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_an_output_is_json_if_it_parses_and_else_a_string(
    clipper, endpoints, connect, query, text, output
):
    deploy(clipper)
    connect(endpoints, lambda inputs: [text for _ in inputs])
    answer = query("a", '{"input": [1.0]}')
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["default"] is False
    if output is None:
        assert f'"output":{text.decode()},' in answer.text
    else:
        assert answer.json()["output"] == output


def test_a_batch_is_answered_in_order_and_with_ids_of_its_own(clipper, endpoints, connect):
    deploy(clipper)
    container = connect(endpoints)
    answers = clipper.predict_batch("a", [[1.0], [1.0, 2.0], [3.0]])["batch_predictions"]
    assert [answer["output"] for answer in answers] == ["8 bytes", "16 bytes", "8 bytes"]
    assert [answer["query_id"] for answer in answers] == [0, 1, 2]
    assert [len(batch) for batch in container.batches] == [3]


def test_a_batch_of_one_is_answered_like_a_single_query(clipper, endpoints, connect):
    deploy(clipper)
    connect(endpoints)
    assert clipper.predict_batch("a", [[1.0]])["output"] == "8 bytes"


def test_an_empty_batch_has_an_empty_answer(clipper):
    deploy(clipper)
    assert clipper.predict_batch("a", []) == {"batch_predictions": []}


def test_input_wins_over_input_batch(clipper, endpoints, connect, query):
    deploy(clipper)
    connect(endpoints)
    answer = query("a", '{"input_batch": [[1.0], [2.0]], "input": [1.0, 2.0]}')
    assert answer.json()["output"] == "16 bytes"


def test_a_trailing_slash_makes_no_difference(clipper, endpoints, connect, query):
    deploy(clipper)
    connect(endpoints)
    url = f"http://{endpoints.host}:{endpoints.query}/a/predict/"
    answer = httpx.post(url, content='{"input": [1.0]}', trust_env=False)
    assert answer.json()["output"] == "8 bytes"


def test_an_application_may_have_any_name(clipper):
    clipper.add_app("a b/ü?", "doubles", "-1", HALF_A_MINUTE)
    assert clipper.predict("a b/ü?", [1.0])["default_explanation"] == NO_MODEL


def test_a_version_can_be_asked_for(clipper, endpoints, connect):
    deploy(clipper)
    clipper.add_model("m", "2", "doubles")
    connect(endpoints, lambda inputs: [b"one" for _ in inputs])
    connect(
        endpoints,
        lambda inputs: [b"two" for _ in inputs],
        wire.Hello("m", "2", wire.InputType.DOUBLES),
    )
    assert clipper.predict("a", [1.0])["output"] == "two"
    assert clipper.predict("a", [1.0], version="1")["output"] == "one"
    clipper.set_model_version("m", "1")
    assert clipper.predict("a", [1.0])["output"] == "one"


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("[]", "JSON schema invalid"),
        ("{}", "JSON object does not have required keys input or input_batch"),
        ('{"input": [1]}', "input 0: item 0 is 1, an integer: write 1.0 instead of 1"),
        ('{"input": "text"}', "input 0: 'text' is no array"),
        ('{"input": []}', "input 0: the array is empty, which Clipper cannot serve"),
        ('{"input_batch": [[1.0], [2]]}', "input 1: item 0 is 2, an integer: write 2.0"),
        ('{"input_batch": 1}', "JSON key input_batch expected type Arraybut found type Number"),
        ('{"input": [1.0], "version": 1}', "JSON key version expected type Stringbut found"),
        ('{"input": [', "Error parsing JSON: JSON parse error: "),
    ],
)
def test_a_bad_query_is_a_json_error_that_says_why(clipper, query, body, cause):
    deploy(clipper)
    answer = query("a", body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"] == "Json error"
    assert cause in answer.json()["cause"]


def test_broken_json_is_refused_with_the_schema(clipper, query):
    deploy(clipper)
    cause = query("a", "{").json()["cause"]
    assert cause.endswith(
        '. Expected JSON schema: \n  {\n   "input" := '
        "[double] | [int] | [string] | [byte] | [float],\n  }\n"
    )


def test_a_version_that_was_never_registered_is_a_query_processing_error(clipper, query):
    deploy(clipper)
    answer = query("a", '{"input": [1.0], "version": "9"}')
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "Query processing error",
        "cause": "Requested version: 9 does not exist for model: m",
    }


def test_the_default_is_given_at_once_without_a_linked_model(clipper):
    clipper.add_app("a", "doubles", '{"sorry": true}', HALF_A_MINUTE)
    assert clipper.predict("a", [1.0], version="1") == {
        "query_id": 0,
        "output": {"sorry": True},
        "default": True,
        "default_explanation": NO_MODEL,
    }


def test_the_default_is_given_at_once_without_a_replica(clipper):
    deploy(clipper, default="none yet")
    answer = clipper.predict("a", [1.0])
    assert (answer["output"], answer["default_explanation"]) == ("none yet", NO_MODEL)


def test_the_default_is_given_when_the_current_version_is_deleted(clipper, endpoints, connect):
    deploy(clipper)
    connect(endpoints)
    clipper.delete_versioned_model("m", "1")
    assert clipper.predict("a", [1.0])["default_explanation"] == NO_MODEL


def test_the_default_is_given_when_the_slo_has_passed(clipper, endpoints, connect):
    deploy(clipper, slo_micros=50_000)
    connect(endpoints, lambda _inputs: None)
    answer = clipper.predict("a", [1.0])
    assert answer == {
        "query_id": 0,
        "output": -1,
        "default": True,
        "default_explanation": TOO_LATE,
    }


def test_a_dead_replica_swallows_one_batch_and_is_dropped(connect):
    with (
        embedded_clipper(silence=0.3, check_every=0.05) as endpoints,
        Clipper.at(endpoints) as clipper,
    ):
        deploy(clipper, slo_micros=100_000)
        container = connect(endpoints, lambda _inputs: None)
        assert clipper.predict("a", [1.0])["default_explanation"] == TOO_LATE
        container.stop()
        wait_until(lambda: not clipper.get_all_containers())
        assert clipper.predict("a", [1.0])["default_explanation"] == NO_MODEL


def test_two_replicas_share_the_work(clipper, endpoints, connect):
    deploy(clipper, batch_size=1)
    both_busy = threading.Barrier(2)

    def answer(inputs):
        both_busy.wait(PATIENCE)  # passes only if the other replica works at the same time
        return [b"1" for _ in inputs]

    containers = [connect(endpoints, answer), connect(endpoints, answer)]
    answers = clipper.predict_batch("a", [[1.0]] * 12)["batch_predictions"]
    assert not any(prediction["default"] for prediction in answers)
    assert [len(container.batches) for container in containers] == [6, 6]


def test_a_container_of_another_rpc_version_is_asked_who_it_is_for_ever(
    clipper, endpoints, connect
):
    hello = wire.Hello("m", "1", wire.InputType.DOUBLES, rpc_version=2)
    container = connect(endpoints, hello=hello)
    wait_until(lambda: len(container.replies) == 3)
    assert set(container.replies) == {wire.HeartbeatType.REQUEST_CONTAINER_METADATA}
    assert clipper.get_all_containers() == []


def test_a_deleted_application_is_served_no_longer(clipper, endpoints, connect, query):
    deploy(clipper)
    connect(endpoints)
    clipper.delete_app("a")
    assert query("a", '{"input": [1.0]}').status_code == 404
    clipper.add_app("a", "doubles", "0", HALF_A_MINUTE)
    clipper.add_model_links("a", "m")
    assert clipper.predict("a", [1.0])["output"] == "8 bytes"


def test_an_unknown_path_is_not_found(endpoints):
    url = f"http://{endpoints.host}:{endpoints.query}/nowhere"
    assert httpx.get(url, trust_env=False).status_code == 404
