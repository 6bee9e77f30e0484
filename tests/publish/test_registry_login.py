"""Logins come from where `docker login` puts them, go to the registry alone, and are never told."""

import base64
import json
import os
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from faulty_proxy import faulty_proxy

from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.progress import Silent
from imagesmith.publish.registry import RegistryPublisher
from imagesmith.registry import client
from imagesmith.registry.auth import login
from imagesmith.registry.reference import parse

USER, SECRET, TOKEN = "ada", "s3cret-never-told", "t0ken-never-told"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(client, "_PAUSES", (0.01,))


@pytest.fixture
def docker_config(tmp_path, monkeypatch):
    """Give a function that writes docker's configuration."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return lambda data: (folder / "config.json").write_text(json.dumps(data))


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """Give a function that makes a credential helper of a name, which runs a shell script."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name, script):
        path = folder / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


def basic(user=USER, secret=SECRET):
    return base64.b64encode(f"{user}:{secret}".encode()).decode()


class Guard(BaseHTTPRequestHandler):
    """A registry that takes one login (``basic``, ``bearer``), and who gives its tokens out."""

    kind = "basic"
    asked: list

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        wanted = {"basic": f"Basic {basic()}", "bearer": f"Bearer {TOKEN}"}[self.kind]
        given = self.headers.get("Authorization")
        self.asked.append(given)
        if given == wanted:
            self.answer(404)
            return
        host = self.headers["Host"]
        challenge = {
            "basic": 'Basic realm="here"',
            "bearer": f'Bearer realm="http://{host}/token",service="reg, the one",scope="x:y:z"',
        }[self.kind]
        self.answer(401, challenge)

    def do_GET(self):
        self.query = parse_qs(urlsplit(self.path).query)
        self.asked.append(self.query)
        known = self.headers.get("Authorization") == f"Basic {basic()}"
        self.answer(200 if known else 401, data={"token": TOKEN} if known else {})

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.asked.append(form)
        known = form.get("refresh_token") == [SECRET]
        self.answer(200 if known else 401, data={"access_token": TOKEN} if known else {})

    def answer(self, status, challenge=None, data=None):
        body = json.dumps(data).encode() if data is not None else b""
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def guarded(kind):
    handler = type("Handler", (Guard,), {"kind": kind, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield "{}:{}".format(*server.server_address), handler.asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def check(address, store):
    RegistryPublisher(parse(f"{address}/team/app:1"), store, Silent()).check()


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_user_and_password_of_the_configuration_open_a_registry(kind, store, docker_config):
    with guarded(kind) as (address, asked):
        docker_config({"auths": {address: {"auth": basic()}}})
        check(address, store)
    assert len(asked) == {"basic": 2, "bearer": 3}[kind]


def test_a_token_is_asked_for_with_scope_and_service(store, docker_config):
    with guarded("bearer") as (address, asked):
        docker_config({"auths": {address: {"auth": basic()}}})
        check(address, store)
    assert asked[1] == {
        "service": ["reg, the one"],
        "scope": ["repository:team/app:pull,push", "x:y:z"],
    }


@pytest.mark.parametrize("config", [{"credsStore": "mine"}, "credHelpers"])
def test_credential_helpers_open_a_registry(config, store, docker_config, helper):
    helper("mine", f'read host; echo \'{{"Username": "{USER}", "Secret": "{SECRET}"}}\'')
    with guarded("basic") as (address, _):
        docker_config({config: {address: "mine"}} if config == "credHelpers" else config)
        check(address, store)


def test_an_identity_token_is_changed_for_a_token(store, docker_config, helper):
    helper("mine", f'read host; echo \'{{"Username": "<token>", "Secret": "{SECRET}"}}\'')
    docker_config({"credsStore": "mine"})
    with guarded("bearer") as (address, asked):
        check(address, store)
    assert asked[1]["grant_type"] == ["refresh_token"]


@pytest.mark.parametrize("kind", ["basic", "bearer"])
@pytest.mark.parametrize("secret", [None, "wrong-" + SECRET])
def test_a_login_that_is_refused_is_a_finding_without_it(kind, secret, store, docker_config):
    with guarded(kind) as (address, _):
        auths = {address: {"auth": basic(USER, secret)}} if secret else {}
        docker_config({"auths": auths})
        with pytest.raises(ImagesmithError) as stopped:
            check(address, store)
    (found,) = stopped.value.findings
    assert found.code == "publish.denied"
    assert f"docker login {address}" in found.remedy
    assert_not_told(stopped.value)


@pytest.mark.parametrize("script", ["exit 1", f"echo {SECRET}", f"echo {SECRET}; exit 1", None])
def test_a_helper_that_does_not_work_is_a_finding_without_what_it_said(
    script, store, docker_config, helper
):
    if script:
        helper("mine", script)
    docker_config({"credsStore": "mine"})
    with pytest.raises(ImagesmithError) as stopped:
        login("reg.example")
    assert stopped.value.findings[0].code == "usage.login"
    assert stopped.value.exit_code is ExitCode.USAGE
    assert_not_told(stopped.value)


@pytest.mark.parametrize("auth", ["%%%", "bm9jb2xvbg==", 5, {"a": 1}])
def test_a_configuration_that_is_none_is_a_finding(auth, docker_config):
    docker_config({"auths": {"reg.example": {"auth": auth}}})
    with pytest.raises(ImagesmithError) as stopped:
        login("reg.example")
    assert stopped.value.findings[0].code == "usage.login"


def test_nobody_is_logged_in_without_a_configuration(docker_config):
    assert login("reg.example") is None


def test_a_login_shows_nothing_of_itself(docker_config):
    docker_config({"auths": {"reg.example": {"auth": basic()}}})
    found = login("reg.example")
    assert found.basic == f"Basic {basic()}"
    assert SECRET not in repr(found)


@pytest.mark.registry
def test_a_login_goes_to_the_registry_alone(image, store, registry, docker_config):
    """An upload's URL may name another host, which then gets no Authorization."""
    with faulty_proxy(registry.address) as proxy:
        docker_config({"auths": {proxy.address: {"auth": basic()}}})
        with client.opened(parse(f"{proxy.address}/team/app"), "pull") as repository:
            repository._access.header = f"Basic {basic()}"
            with faulty_proxy(registry.address) as other:
                repository.send("GET", f"http://{other.address}/v2/")
                assert other.logins == [None]
            repository.send("GET", f"http://{proxy.address}/v2/")
            assert proxy.logins == [f"Basic {basic()}"]


def test_a_realm_without_tls_elsewhere_gets_no_login(store, docker_config, monkeypatch):
    challenge = 'Bearer realm="http://tokens.example/token"'
    monkeypatch.setattr(Guard, "answer", challenging(challenge))
    with guarded("bearer") as (address, _):
        docker_config({"auths": {address: {"auth": basic()}}})
        with pytest.raises(ImagesmithError, match="not https"):
            check(address, store)


def challenging(challenge):
    def answer(self, status, *_, **__):
        self.send_response(401)
        self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", "0")
        self.end_headers()

    return answer


@pytest.mark.registry
def test_a_companys_certificate_is_trusted_where_ssl_cert_file_names_it(
    image, store, registry, certificate, monkeypatch, docker_config
):
    with faulty_proxy(registry.address, certificate) as proxy:
        publisher = RegistryPublisher(parse(f"{proxy.address}/tls/app:1"), store, Silent())
        with pytest.raises(ImagesmithError) as stopped:
            publisher.publish(image)
        (found,) = stopped.value.findings
        assert found.code == "reach.registry"
        assert "SSL_CERT_FILE" in found.remedy
        assert proxy.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        # The registry behind takes itself to be on plain HTTP, and says so in its URLs.
        publisher.publish(image)


@pytest.fixture
def certificate(tmp_path):
    """Make a certificate of 127.0.0.1 that nobody knows; key and certificate in one file."""
    path = tmp_path / "own.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", path, "-out", tmp_path / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    with path.open("a") as file:
        file.write((tmp_path / "cert.pem").read_text())
    return path


def assert_not_told(problem):
    while problem is not None:
        assert SECRET not in f"{problem!r} {getattr(problem, 'findings', '')}"
        problem = problem.__cause__
