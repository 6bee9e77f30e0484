"""The management frontend says what ucbrise/clipper 0.4's says, text by text (contract D.1)."""

from __future__ import annotations

import asyncio

import httpx
import orjson
import pytest

from imagesmith.clipper.management import CALLS, management_frontend
from imagesmith.clipper.state import State
from imagesmith.runtime.wire import InputType

APP = {"name": "a", "input_type": "doubles", "default_output": "-1", "latency_slo_micros": 100000}
MODEL = {
    "model_name": "m",
    "model_version": "1",
    "labels": [],
    "input_type": "doubles",
    "container_name": "m:1",
    "model_data_path": "DEPRECATED",
    "batch_size": -1,
}
LINK = {"app_name": "a", "model_names": ["m"]}
VERSION = {"model_name": "m", "model_version": "1"}
HAVE_APP = [("add_app", APP)]
HAVE_MODEL = [("add_model", MODEL)]
HAVE_BOTH = HAVE_APP + HAVE_MODEL
HAVE_LINK = [*HAVE_BOTH, ("add_model_links", LINK)]
INTS = {"input_type": "ints"}
KINDS = ("applications", "models", "containers")


@pytest.fixture
def state():
    return State()


@pytest.fixture
def http(state):
    """Send one request, (method, path, body), to the frontend."""
    transport = httpx.ASGITransport(management_frontend(state))

    async def send(method, path, content):
        async with httpx.AsyncClient(transport=transport, base_url="http://clipper") as client:
            return await client.request(method, path, content=content)

    return lambda *request: asyncio.run(send(*request))


def call(http, name, fields):
    return http("POST", f"/admin/{name}", orjson.dumps(fields))


def given(http, steps):
    for name, fields in steps:
        assert call(http, name, fields).status_code == 200


@pytest.mark.parametrize(
    ("before", "name", "fields", "text"),
    [
        ([], "add_app", APP, "Successfully added application with name 'a'"),
        ([], "add_app", APP | {"name": ""}, "Successfully added application with name ''"),
        (
            [],
            "add_app",
            APP | {"latency_slo_micros": -5, "input_type": "d"},
            "Successfully added application with name 'a'",
        ),
        (HAVE_APP, "delete_app", {"name": "a"}, "Successfully deleted application with name 'a'"),
        (
            [],
            "add_model",
            MODEL | INTS,
            "Successfully added model with name 'm' and input type 'integers'",
        ),
        (
            HAVE_BOTH,
            "add_model_links",
            LINK,
            "Successfully linked model with name 'm' to application 'a'",
        ),
        (HAVE_LINK, "delete_model_links", LINK, "Success!"),
        (
            HAVE_MODEL,
            "set_model_version",
            VERSION,
            "Successfully set model with name 'm' to version '1'",
        ),
        (
            HAVE_MODEL,
            "delete_versioned_model",
            VERSION,
            "Successfully deleted model with name 'm' and version '1'",
        ),
    ],
)
def test_a_change_is_confirmed_in_clippers_words(http, before, name, fields, text):
    given(http, before)
    answer = call(http, name, fields)
    assert (answer.status_code, answer.text) == (200, text)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("before", "name", "fields", "text"),
    [
        (HAVE_APP, "add_app", APP, "application 'a' already exists"),
        ([], "delete_app", {"name": "a"}, "Application 'a' does not exist"),
        ([], "add_model_links", LINK, "No app with name 'a' exists."),
        (HAVE_APP, "add_model_links", LINK, "No model with name 'm' exists."),
        (
            [*HAVE_APP, ("add_model", MODEL | INTS)],
            "add_model_links",
            LINK,
            "Model with name 'm' has incompatible input_type 'integers'. "
            "Requested app to link to has input_type 'doubles'.",
        ),
        (
            HAVE_APP,
            "add_model_links",
            LINK | {"model_names": []},
            "Please provide the name of the model that you want to link to the application 'a'",
        ),
        (
            HAVE_BOTH,
            "add_model_links",
            LINK | {"model_names": ["m", "m"]},
            "Applications must be linked with at most one model. "
            "Attempted to add links to 2 models.",
        ),
        (
            HAVE_LINK,
            "add_model_links",
            LINK,
            "The model with name 'm' is already linked to 'a'",
        ),
        (
            [*HAVE_LINK, ("add_model", MODEL | {"model_name": "other"})],
            "add_model_links",
            LINK | {"model_names": ["other"]},
            "A model with name m is already linked to 'a'.",
        ),
        ([], "delete_model_links", LINK, "No app with name a exists."),
        (
            HAVE_BOTH,
            "delete_model_links",
            LINK,
            "Cannot remove nonexistent link between app a and model m",
        ),
        (
            [],
            "add_model",
            MODEL | {"batch_size": 0},
            "The batch size must be positive or DEFAULT_BATCH_SIZE, which is -1",
        ),
        (
            [],
            "add_model",
            MODEL | {"model_name": "m:m"},
            "Invalid model name supplied: m:m. Contains one of: ',', ':'",
        ),
        (
            [],
            "add_model",
            MODEL | {"model_version": "1,2"},
            "Invalid model version supplied: 1,2. Contains one of: ',', ':'",
        ),
        (
            [],
            "add_model",
            MODEL | {"labels": ["good", "a:b"]},
            "Invalid label supplied: a:b. Contains one of: ',', ':'",
        ),
        (
            HAVE_MODEL,
            "add_model",
            MODEL,
            "model with name 'm' and version '1' already exists",
        ),
        (
            HAVE_LINK,
            "add_model",
            MODEL | INTS | {"model_version": "2"},
            "Model with name 'm' is already linked to app 'a' using input type 'doubles'. "
            "The input type you provided for a new version of the model, 'integers', "
            "is not compatible.",
        ),
        (
            [],
            "delete_versioned_model",
            VERSION,
            "model with name 'm' and version '1' does not exist",
        ),
        ([], "set_model_version", VERSION, "Cannot set version for nonexistent model 'm'"),
        (
            HAVE_MODEL,
            "set_model_version",
            VERSION | {"model_version": "2"},
            "Cannot set non-existent version '2' for model with name 'm'",
        ),
        ([], "get_linked_models", {"app_name": "a"}, "No application with name 'a' exists."),
    ],
)
def test_a_refusal_is_in_clippers_words_and_changes_nothing(http, before, name, fields, text):
    given(http, before)
    known = [call(http, f"get_all_{what}", {"verbose": True}).json() for what in KINDS]
    answer = call(http, name, fields)
    assert (answer.status_code, answer.text) == (400, text)
    assert known == [call(http, f"get_all_{what}", {"verbose": True}).json() for what in KINDS]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[]", "Can only get key-value pair from an object"),
        (b"{}", "JSON object does not have required key: name"),
        (
            b'{"name": 1}',
            "Type mismatch! JSON key name expected type Stringbut found type Number",
        ),
        (
            b'{"name": null}',
            "Type mismatch! JSON key name expected type Stringbut found type Null",
        ),
        (
            b'{"name": {}}',
            "Type mismatch! JSON key name expected type Stringbut found type Object",
        ),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_its_schema(http, body, reason):
    answer = http("POST", "/admin/delete_app", body)
    schema = '\n  {\n   "name" := string\n  }\n'
    assert answer.status_code == 400
    assert answer.text == f"Error parsing JSON: {reason}. Expected JSON schema: {schema}"


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("get_all_models", {"verbose": 1}, "key verbose expected type bool but found type Number"),
        ("add_model_links", LINK | {"model_names": "m"}, "expected type Arraybut found type Str"),
        (
            "add_model_links",
            LINK | {"model_names": [False]},
            "Array input of type False is not of type string",
        ),
        (
            "add_app",
            APP | {"latency_slo_micros": 0.5},
            "PredictionData of type Number is not of type int",
        ),
        (
            "add_app",
            APP | {"latency_slo_micros": 2**31},
            "PredictionData of type Number is not of type int",
        ),
        ("add_app", APP | {"latency_slo_micros": "1"}, "expected type Numberbut found type Str"),
        ("add_app", APP | {"input_type": "images"}, "not an input type of Clipper: 'images'"),
    ],
)
def test_each_field_is_checked_by_its_type(http, name, fields, reason):
    answer = call(http, name, fields)
    assert answer.status_code == 400
    assert answer.text.startswith("Error parsing JSON: ")
    assert reason in answer.text
    assert all(f'"{field}" := ' in answer.text for field in CALLS[name])


def test_broken_json_is_refused_with_the_place_of_the_fault(http):
    answer = http("POST", "/admin/add_app", b'{"name": tru}')
    assert answer.status_code == 400
    assert answer.text.startswith("Error parsing JSON: JSON parse error: ")
    assert "(offset 9)\n. Expected JSON schema: " in answer.text


def test_ping_is_answered(http):
    answer = http("GET", "/admin/ping", b"")
    assert (answer.status_code, answer.text) == (200, "PONG")


def test_an_application_is_given_with_its_links(http):
    given(http, HAVE_LINK)
    expected = APP | {"linked_models": ["m"]}
    assert call(http, "get_application", {"name": "a"}).json() == expected
    assert call(http, "get_application", {"name": "b"}).json() == {}
    assert call(http, "get_all_applications", {"verbose": False}).json() == ["a"]
    assert call(http, "get_all_applications", {"verbose": True}).json() == [expected]
    assert call(http, "get_linked_models", {"app_name": "a"}).json() == ["m"]


def test_a_model_is_given_without_its_batch_size_and_with_clippers_empty_label(http):
    given(http, HAVE_MODEL)
    expected = {
        "model_name": "m",
        "model_version": "1",
        "labels": [""],
        "input_type": "doubles",
        "container_name": "m:1",
        "model_data_path": "DEPRECATED",
        "is_current_version": True,
    }
    assert call(http, "get_model", VERSION).json() == expected
    assert call(http, "get_model", VERSION | {"model_version": "2"}).json() == {}
    assert call(http, "get_all_models", {"verbose": False}).json() == ["m:1"]
    assert call(http, "get_all_models", {"verbose": True}).json() == [expected]


def test_a_new_version_is_the_current_one_at_once(http):
    given(http, [*HAVE_MODEL, ("add_model", MODEL | {"model_version": "2"})])
    models = call(http, "get_all_models", {"verbose": True}).json()
    assert [model["is_current_version"] for model in models] == [False, True]


def test_a_replicas_number_is_never_used_twice(state, http):
    first = state.connect("m", "1", InputType.DOUBLES)
    state.disconnect(first)
    state.connect("m", "1", InputType.DOUBLES)
    assert call(http, "get_all_containers", {"verbose": False}).json() == ["m:1:1"]
    expected = {
        "model_id": "m:1",
        "model_name": "m",
        "model_version": "1",
        "model_replica_id": 1,
        "input_type": "doubles",
    }
    assert call(http, "get_all_containers", {"verbose": True}).json() == [expected]
    assert call(http, "get_container", VERSION | {"replica_id": 1}).json() == expected
    assert call(http, "get_container", VERSION | {"replica_id": 0}).json() == {}


def test_a_deleted_application_leaves_no_link_behind(http):
    given(http, [*HAVE_LINK, ("delete_app", {"name": "a"}), ("add_app", APP | INTS)])
    assert call(http, "get_linked_models", {"app_name": "a"}).json() == []


def test_a_link_outlives_its_model(http):
    given(http, [*HAVE_LINK, ("delete_versioned_model", VERSION)])
    assert call(http, "get_linked_models", {"app_name": "a"}).json() == ["m"]


def test_an_unknown_path_is_not_found(http):
    assert http("POST", "/admin/metrics", b"{}").status_code == 404
