"""References are read as docker reads them, and what is none is said to be none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.registry.reference import is_loopback, names_registry, parse

DIGEST = "sha256:" + "a" * 64
COMPONENT = st.from_regex(r"[a-z0-9]{1,9}((\.|_|__|-{1,2})[a-z0-9]{1,9}){0,2}", fullmatch=True)
HOST = st.from_regex(r"[a-z0-9]{1,9}(\.[a-z0-9]{1,9}){1,2}(:[1-9][0-9]{0,3})?", fullmatch=True)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "digest"),
    [
        ("python", "docker.io", "library/python", "latest", None),
        ("team/app:1", "docker.io", "team/app", "1", None),
        ("docker.io/python:3.11-slim", "docker.io", "library/python", "3.11-slim", None),
        ("index.docker.io/team/app", "docker.io", "team/app", "latest", None),
        ("localhost/app", "localhost", "app", "latest", None),
        ("localhost:5000/a/b:1", "localhost:5000", "a/b", "1", None),
        ("[::1]:5000/app", "[::1]:5000", "app", "latest", None),
        ("reg.example/app@" + DIGEST, "reg.example", "app", None, DIGEST),
        ("reg.example:80/app:1@" + DIGEST, "reg.example:80", "app", "1", DIGEST),
        ("UPPER/app", "UPPER", "app", "latest", None),
    ],
)
def test_a_reference_names_host_repository_tag_and_digest(text, host, repository, tag, digest):
    found = parse(text)
    assert (found.host, found.repository, found.tag, found.digest) == (
        host,
        repository,
        tag,
        digest,
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", ":1", "@", "/app", "app/", "a//b", "App", "a b", "app:", "app:ta g", "app@", "-a"),
        *("host.example/", "host.example:x/app", "host.example:99999/app", "host.example:0/app"),
        *("https://host.example/app", "app@sha256:abc", "app@md5:" + "a" * 32, "[::g]:1/app"),
        *("a" * 64, "host.example/" + "a" * 256, "app:" + "t" * 129, "app:é", "a___b", "a..b"),
        *("-host.example/app", "host.example/../app", "user:pass@host.example/app", "app\n"),
    ],
)
def test_what_is_no_reference_is_a_usage_error(text):
    with pytest.raises(ImagesmithError) as stopped:
        parse(text)
    assert stopped.value.findings[0].code == "usage.reference"
    assert stopped.value.exit_code is ExitCode.USAGE


@given(HOST, st.lists(COMPONENT, min_size=1, max_size=3), TAG)
def test_every_name_of_the_grammar_is_read_and_written_alike(host, path, tag):
    text = f"{host}/{'/'.join(path)}:{tag}"
    assert str(parse(text)) == text
    assert parse(f"{text}@{DIGEST}") == parse(text).at(DIGEST)


@given(st.text())
def test_any_text_is_a_reference_or_a_usage_error(text):
    try:
        assert parse(str(parse(text))) == parse(text)
    except ImagesmithError as refused:
        assert refused.exit_code is ExitCode.USAGE


def test_only_this_machine_is_a_loopback():
    for address in ("localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"):
        assert is_loopback(address)
    for address in (
        "reg.example",
        "127.0.0.1.example:5000",
        "10.0.0.1:5000",
        "[::2]",
        "localhost.x",
    ):
        assert not is_loopback(address)


def test_a_base_is_asked_of_a_registry_only_where_it_names_one():
    for text in ("reg.example/base", "localhost/base:3.11", "127.0.0.1:5000/a/b@" + DIGEST):
        assert names_registry(text)
    for text in ("3.11", "closure-base:3.11", "team/base", "oci:/srv/x.y/z", DIGEST):
        assert not names_registry(text)
