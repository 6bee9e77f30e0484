"""What was pushed is signed by the user's own command, by digest, after the push is whole."""

import sys
import uuid

import httpx
import pytest
from tiny_image import make_image

from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.progress import Silent
from imagesmith.publish.registry import RegistryPublisher
from imagesmith.publish.sign import Signer
from imagesmith.registry.reference import parse

NOTE = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + chr(10)); print('signed')"


class Hearing(Silent):
    """Keeps what was said."""

    def __init__(self):
        self.lines = []

    def say(self, stage, text):
        self.lines.append((stage, text))


def signer(script, *words):
    return Signer((sys.executable, "-c", script, *map(str, words)))


@pytest.mark.parametrize(
    "command",
    ["", "cosign sign", "cosign 'sign {reference}", "{reference}", "no-such-program {reference}"],
)
def test_a_command_that_cannot_sign_is_refused_before_anything_is_built(command):
    with pytest.raises(ImagesmithError) as refused:
        Signer.parse(command)
    (found,) = refused.value.findings
    assert (found.code, refused.value.exit_code) == ("usage.sign", ExitCode.USAGE)


def test_the_command_is_words_and_no_shell_reads_them(tmp_path):
    words = Signer.parse("printf '%s|' 'a b' \"$HOME; x\" --image={reference}").words
    assert words == ("printf", "%s|", "a b", "$HOME; x", "--image={reference}")
    hearing = Hearing()
    Signer(words).sign("host/m@sha256:0", hearing)
    assert hearing.lines == [("sign", "a b|$HOME; x|--image=host/m@sha256:0|")]


def test_what_the_command_prints_is_told_and_never_on_stdout(capfd):
    hearing = Hearing()
    signer("import sys; print('one'); print('two', file=sys.stderr)").sign("m@sha256:0", hearing)
    assert sorted(hearing.lines) == [("sign", "one"), ("sign", "two")]
    assert capfd.readouterr().out == ""


def test_a_command_that_fails_is_told_with_its_last_lines():
    script = "print(*range(100), sep=chr(10)); raise SystemExit(3)"
    with pytest.raises(ImagesmithError) as failed:
        signer(script).sign("host/m@sha256:0", Silent())
    (found,) = failed.value.findings
    assert (found.code, failed.value.exit_code) == ("publish.sign", ExitCode.PUBLISH)
    assert "status 3" in found.message
    assert failed.value.log.splitlines() == [str(number) for number in range(80, 100)]


def test_a_command_that_is_gone_by_then_is_told(tmp_path):
    with pytest.raises(ImagesmithError) as failed:
        Signer((str(tmp_path / "gone"), "{reference}")).sign("m@sha256:0", Silent())
    assert failed.value.findings[0].code == "publish.sign"


@pytest.fixture
def place(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return parse(f"{registry.address}/tests/{uuid.uuid4().hex}:1")


def tagged(place):
    url = f"http://{place.host}/v2/{place.repository}/manifests/{place.tag}"
    accept = "application/vnd.oci.image.manifest.v1+json"
    return httpx.head(url, headers={"Accept": accept}).headers.get("Docker-Content-Digest")


@pytest.mark.registry
def test_it_gets_the_repository_and_the_digest_that_was_pushed(store, place, tmp_path):
    image, notes = make_image(store, text=uuid.uuid4().bytes), tmp_path / "notes"
    publisher = RegistryPublisher(place, store, Silent(), signer(NOTE, notes, "{reference}"))
    publisher.publish(image)
    signed = f"{place.host}/{place.repository}@{image.manifest.digest}\n"
    assert notes.read_text() == signed
    publisher.publish(image)
    assert notes.read_text() == signed  # nothing was pushed, and it is signed already


@pytest.mark.registry
def test_an_image_that_could_not_be_signed_stays_and_is_signed_the_next_time(
    store, place, tmp_path
):
    image, notes = make_image(store, text=uuid.uuid4().bytes), tmp_path / "notes"
    failing = signer("raise SystemExit(1)", "{reference}")
    with pytest.raises(ImagesmithError) as failed:
        RegistryPublisher(place, store, Silent(), failing).publish(image)
    assert failed.value.exit_code is ExitCode.PUBLISH
    assert tagged(place) == image.manifest.digest
    mended = signer(NOTE, notes, "{reference}")
    RegistryPublisher(place, store, Silent(), mended).publish(image)
    assert notes.read_text().endswith(f"@{image.manifest.digest}\n")


@pytest.mark.registry
def test_nothing_is_signed_that_was_not_pushed(store, place, tmp_path):
    image, notes = make_image(store, text=uuid.uuid4().bytes), tmp_path / "notes"
    image.blob(image.layers[0].blob.digest).write_bytes(b"spoilt")
    publisher = RegistryPublisher(place, store, Silent(), signer(NOTE, notes, "{reference}"))
    with pytest.raises(ImagesmithError):
        publisher.publish(image)
    assert not notes.exists()
