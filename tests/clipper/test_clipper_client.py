"""The client: what Clipper says no to, and what is no Clipper, becomes a finding."""

from __future__ import annotations

import socket
import threading

import pytest

from imagesmith.clipper.client import Clipper
from imagesmith.clipper.endpoints import Endpoints
from imagesmith.findings import ExitCode, ImagesmithError


def test_what_is_registered_can_be_read_back(clipper):
    clipper.ping()
    clipper.add_app("a", "doubles", "-1", 1000)
    clipper.add_model("m", "1", "doubles", "m:1@sha256:abc", ["gpu", "blue"], 32)
    clipper.add_model("n", "1", "doubles")
    clipper.add_model_links("a", "m")
    assert clipper.get_application("a")["linked_models"] == ["m"]
    assert clipper.get_linked_models("a") == ["m"]
    assert clipper.get_model("m", "1")["container_name"] == "m:1@sha256:abc"
    assert clipper.get_model("m", "1")["labels"] == ["gpu", "blue"]
    assert clipper.get_model("n", "1")["container_name"] == "NO_CONTAINER"
    assert clipper.get_all_applications(verbose=False) == ["a"]
    assert clipper.get_all_models(verbose=False) == ["m:1", "n:1"]
    assert clipper.get_all_containers(verbose=False) == []


def test_what_is_not_registered_is_none(clipper):
    assert clipper.get_application("a") is None
    assert clipper.get_model("m", "1") is None


def test_everything_registered_can_be_taken_back(clipper):
    clipper.add_app("a", "doubles", "-1", 1000)
    clipper.add_model("m", "1", "doubles")
    clipper.add_model_links("a", "m")
    clipper.delete_model_links("a", "m")
    clipper.delete_versioned_model("m", "1")
    clipper.delete_app("a")
    assert clipper.get_all_applications() == []
    assert clipper.get_all_models() == []


def test_a_refusal_carries_clippers_own_words(clipper):
    with pytest.raises(ImagesmithError) as raised:
        clipper.delete_app("a")
    [finding] = raised.value.findings
    assert finding.code == "register.refused"
    assert "Application 'a' does not exist" in finding.message
    assert raised.value.exit_code is ExitCode.REGISTER


def test_an_unknown_application_is_refused(clipper):
    with pytest.raises(ImagesmithError) as raised:
        clipper.predict("nobody", [1.0])
    assert raised.value.findings[0].code == "register.refused"


def test_where_nothing_listens_clipper_is_unreachable():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, so nobody else's, and not listening
        place = Endpoints(management=bound.getsockname()[1])
        with Clipper.at(place) as client, pytest.raises(ImagesmithError) as raised:
            client.ping()
    [finding] = raised.value.findings
    assert finding.code == "reach.clipper"
    assert str(place.management) in finding.subject
    assert "imagesmith clipper up" in finding.remedy
    assert raised.value.exit_code is ExitCode.UNREACHABLE


@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"], ids=["closed", "other"]
)
@pytest.mark.parametrize("call", [Clipper.ping, Clipper.get_all_models])
def test_what_does_not_answer_like_clipper_is_not_taken_for_it(reply, call):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_once():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(reply)

        thread = threading.Thread(target=answer_once)
        thread.start()
        place = Endpoints(management=server.getsockname()[1])
        with Clipper.at(place) as client, pytest.raises(ImagesmithError) as raised:
            call(client)
        thread.join()
    assert raised.value.findings[0].code == "reach.clipper"


def test_a_proxy_of_the_environment_is_not_asked(endpoints, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    with Clipper.at(endpoints) as client:
        client.ping()


def test_a_query_frontend_not_given_is_port_1337_of_the_same_host(monkeypatch):
    asked = []
    with Clipper("http://clipper.invalid:1338/") as client:
        monkeypatch.setattr(client, "_request", lambda _m, url, *_: asked.append(url) or "{}")
        client.predict("a", [1.0])
    assert asked == ["http://clipper.invalid:1337/a/predict"]


def test_management_and_query_may_stand_on_different_hosts(endpoints, clipper):
    clipper.add_app("a", "doubles", "-1", 1000)
    query = f"http://{endpoints.host}:{endpoints.query}/"
    with Clipper(f"http://localhost:{endpoints.management}/", query) as client:
        client.ping()
        assert client.predict("a", [1.0])["default"] is True
